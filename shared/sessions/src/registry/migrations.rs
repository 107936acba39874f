//! The schema of the agents service as migration files, in order (agents.md 13). They are applied after those of the sync
//! server, into the same database.

use database::{Database, DbError, Migration, migrations};

macro_rules! migration {
    ($name:literal) => {
        Migration { name: $name, sql: include_str!(concat!("../../../../migrations/agents/", $name)) }
    };
}

/// All migrations of the agents service.
pub const MIGRATIONS: &[Migration] = &[
    migration!("0004_add_agent_runners.sql"),
    migration!("0005_add_sandbox_checkpoints.sql"),
    migration!("0006_add_managed_auth.sql"),
    migration!("0007_add_agent_sessions.sql"),
    migration!("0008_add_sandbox_intents.sql"),
    migration!("0009_add_runner_workspace_dir.sql"),
    migration!("0010_add_runner_signing_key.sql"),
    migration!("0011_add_checkpoint_owner.sql"),
    migration!("0012_add_transcripts.sql"),
    migration!("0013_add_usage_daily.sql"),
    migration!("0014_add_session_archive.sql"),
    migration!("0015_add_webhooks.sql"),
    migration!("0016_add_session_pulls.sql"),
    migration!("0017_add_workspace_bundles.sql"),
    migration!("0018_add_operator_view.sql"),
    migration!("0019_add_runner_transport.sql"),
    migration!("0020_add_runner_key.sql"),
    migration!("0021_add_runner_instance.sql"),
    migration!("0022_add_runner_epoch.sql"),
    migration!("0023_add_runner_key_index.sql"),
    migration!("0024_add_pg_sync.sql"),
    migration!("0025_add_pg_sync_streams.sql"),
    migration!("0026_add_pg_sync_stream_index.sql"),
];

/// The names of the migrations that the operator has yet to apply. Empty: the schema is up to date.
pub async fn missing(db: &impl Database) -> Result<Vec<&'static str>, DbError> {
    migrations::missing(db, MIGRATIONS).await
}
