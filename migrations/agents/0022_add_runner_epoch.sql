-- Counts the registrations of a runner that calls us.
ALTER TABLE agent_runners ADD COLUMN runner_epoch INTEGER;
