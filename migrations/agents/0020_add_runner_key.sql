-- Names the object that knows the rest of a runner that calls us.
ALTER TABLE agent_runners ADD COLUMN runner_key TEXT;
