-- sync.md 8.2: graphs and who may use them. Times are milliseconds since the Unix epoch.
CREATE TABLE IF NOT EXISTS graphs (
  graph_id TEXT PRIMARY KEY,
  graph_name TEXT,
  user_id TEXT,
  schema_version TEXT,
  created_at INTEGER,
  updated_at INTEGER
);

CREATE TABLE IF NOT EXISTS users (
  id TEXT PRIMARY KEY,
  email TEXT,
  email_verified INTEGER,
  username TEXT
);

CREATE TABLE IF NOT EXISTS user_rsa_keys (
  user_id TEXT PRIMARY KEY,
  public_key TEXT,
  encrypted_private_key TEXT,
  created_at INTEGER,
  updated_at INTEGER
);

CREATE TABLE IF NOT EXISTS graph_members (
  user_id TEXT,
  graph_id TEXT,
  role TEXT CHECK (role IN ('manager', 'member')),
  invited_by TEXT,
  created_at INTEGER,
  PRIMARY KEY (user_id, graph_id)
);

CREATE TABLE IF NOT EXISTS graph_aes_keys (
  graph_id TEXT,
  user_id TEXT,
  encrypted_aes_key TEXT,
  created_at INTEGER,
  updated_at INTEGER,
  PRIMARY KEY (graph_id, user_id)
);
