-- 0 between the creation of a graph and the end of its first upload.
ALTER TABLE graphs ADD COLUMN graph_ready_for_use INTEGER DEFAULT 1;
