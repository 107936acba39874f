-- The machine of a runner that calls us.
ALTER TABLE agent_runners ADD COLUMN instance_id TEXT;
