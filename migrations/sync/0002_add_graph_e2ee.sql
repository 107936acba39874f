-- 1: the graph's content is encrypted end to end.
ALTER TABLE graphs ADD COLUMN graph_e2ee INTEGER DEFAULT 1;
