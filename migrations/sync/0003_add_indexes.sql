CREATE INDEX IF NOT EXISTS idx_graph_members_graph_id_created_at ON graph_members (graph_id, created_at);
CREATE INDEX IF NOT EXISTS idx_graphs_user_id_updated_at ON graphs (user_id, updated_at DESC);
CREATE INDEX IF NOT EXISTS idx_users_email ON users (email);
