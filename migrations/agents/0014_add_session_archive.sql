-- agents.md 20.5: sessions that were put away are not listed by themselves. The row of a deleted one is kept for 30 days.
ALTER TABLE agent_sessions ADD COLUMN archived INTEGER NOT NULL DEFAULT 0;
