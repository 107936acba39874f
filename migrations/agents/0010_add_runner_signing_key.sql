-- agents.md 7.5: the key of signed requests to a runner, sealed.
ALTER TABLE agent_runners ADD COLUMN signing_key TEXT;
