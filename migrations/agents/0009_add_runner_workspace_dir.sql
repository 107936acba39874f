-- agents.md 5.4: the directory of a runner under which sessions work.
ALTER TABLE agent_runners ADD COLUMN workspace_dir TEXT;
