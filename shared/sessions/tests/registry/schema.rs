//! The tables themselves.

use database::Migration;
use database::sqlite::Sqlite;
use pollster::block_on;
use rusqlite::Connection;
use sessions::registry::{MIGRATIONS, migrations};

use crate::support::{all_migrations, db, rows, run};

fn statements(sql: &str) -> Vec<String> {
    let code: String = sql.lines().filter(|line| !line.trim_start().starts_with("--")).collect::<Vec<_>>().join("\n");
    code.split(';').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

#[test]
fn they_are_applied_after_those_of_the_sync_server_once() {
    let db = db();
    assert!(block_on(migrations::missing(&db)).unwrap().is_empty());
    let alone = Sqlite::in_memory(index::migrations::MIGRATIONS).unwrap();
    assert_eq!(block_on(migrations::missing(&alone)).unwrap().len(), MIGRATIONS.len());
    let names: Vec<&str> = all_migrations().iter().map(|migration| migration.name).collect();
    let mut unique = names.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), names.len(), "one table remembers the names of both");
}

#[test]
fn the_list_is_what_lies_in_the_folder() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/agents");
    let mut files: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, MIGRATIONS.iter().map(|migration| migration.name).collect::<Vec<_>>());
}

/// Some hosts cut files at semicolons and run the pieces one by one.
#[test]
fn every_piece_between_semicolons_is_a_statement() {
    let connection = Connection::open_in_memory().unwrap();
    for migration in all_migrations() {
        let comments = migration.sql.lines().filter(|line| line.contains("--"));
        assert!(comments.clone().all(|line| line.starts_with("--") && !line.contains(';')), "{}", migration.name);
        for statement in statements(migration.sql) {
            connection.execute(&statement, ()).unwrap_or_else(|error| panic!("{}: {error}", migration.name));
        }
    }
}

#[test]
fn a_file_that_adds_a_column_does_only_that() {
    for migration in MIGRATIONS {
        let statements = statements(migration.sql);
        let adds = statements.iter().any(|statement| statement.contains("ADD COLUMN"));
        assert!(!adds || statements.len() == 1, "{}", migration.name);
    }
}

#[test]
fn creating_again_changes_nothing() {
    let connection = Connection::open_in_memory().unwrap();
    for migration in all_migrations() {
        let creates = !migration.sql.contains("ALTER TABLE");
        for _ in 0..if creates { 2 } else { 1 } {
            connection.execute_batch(migration.sql).unwrap();
        }
    }
}

#[test]
fn snapshots_of_nobody_stay_and_serve_nobody() {
    let connection = Connection::open_in_memory().unwrap();
    let adds_owner = |migration: &Migration| migration.name.contains("add_checkpoint_owner");
    let at = MIGRATIONS.iter().position(adds_owner).unwrap();
    let (before, after) = MIGRATIONS.split_at(at);
    for migration in before {
        connection.execute_batch(migration.sql).unwrap();
    }
    connection
        .execute("INSERT INTO sandbox_checkpoints VALUES ('github/a/b', 'main', 'e2b', 's', 1, 1, 99)", ())
        .unwrap();
    for migration in after {
        connection.execute_batch(migration.sql).unwrap();
    }
    let db = Sqlite::new(connection, &[]).unwrap();
    let found = rows(&db, "SELECT owner_key, snapshot_id, expires_at FROM sandbox_checkpoints");
    assert_eq!((found[0].text(0), found[0].text(1), found[0].int(2)), (Some(""), Some("s"), Some(99)));
    let load = |owner| block_on(sessions::registry::checkpoints::load(&db, owner, "github/a/b", "main", 2)).unwrap();
    assert_eq!((load(""), load("user")), (None, None));
    assert!(!block_on(sessions::registry::checkpoints::knows(&db, "", "s", 2)).unwrap());
    run(&db, "INSERT INTO sandbox_checkpoints VALUES ('o', 'github/a/b', 'main', 'e2b', 's', 1, 1, 99)");
}

#[test]
fn common_questions_use_an_index() {
    let db = db();
    for (question, index) in [
        ("SELECT 1 FROM agent_sessions WHERE user_id = 'u' AND active = 1", "idx_agent_sessions_user_active"),
        ("SELECT 1 FROM sandbox_intents WHERE sandbox_id = 's'", "idx_sandbox_intents_sandbox_id"),
        ("SELECT 1 FROM transcript_garbage WHERE after <= 1", "idx_transcript_garbage_after"),
        (
            "SELECT 1 FROM transcript_snapshots WHERE session_id = 's' AND epoch = 1 AND status = 'completed' \
             ORDER BY run_seq DESC",
            "idx_transcript_snapshots_latest",
        ),
        ("SELECT 1 FROM transcript_snapshots WHERE updated_at <= 1", "idx_transcript_snapshots_updated_at"),
        (
            "SELECT 1 FROM agent_webhooks WHERE user_id = 'u' AND graph_id IS NULL OR graph_id = 'g'",
            "idx_agent_webhooks_graph",
        ),
        ("SELECT 1 FROM webhook_deliveries WHERE session_id = 's'", "idx_webhook_deliveries_session"),
        (
            "SELECT 1 FROM webhook_deliveries WHERE webhook_id = 'w' ORDER BY created_at DESC, delivery_id DESC",
            "idx_webhook_deliveries_webhook",
        ),
        ("SELECT 1 FROM sandbox_checkpoints WHERE expires_at <= 1", "idx_sandbox_checkpoints_expires_at"),
        (
            "SELECT session_id FROM session_deadlines WHERE deadline < 1 ORDER BY deadline LIMIT 1",
            "idx_session_deadlines_deadline",
        ),
        ("SELECT 1 FROM agent_sessions WHERE status = 'running'", "idx_agent_sessions_status"),
        (
            "SELECT runtime_provider FROM agent_sessions WHERE active = 1 ORDER BY runtime_provider",
            "idx_agent_sessions_active",
        ),
        ("SELECT 1 FROM webhook_deliveries WHERE state = 'dead'", "idx_webhook_deliveries_state"),
        ("SELECT 1 FROM agent_runners WHERE status = 'online' AND last_heartbeat_at >= 1", "idx_agent_runners_status"),
        (
            "SELECT 1 FROM agent_runners WHERE user_id = 'u' AND status = 'online'",
            "idx_agent_runners_user_status_heartbeat",
        ),
        (
            "SELECT 1 FROM managed_auth_sessions WHERE user_id = 'u' ORDER BY updated_at DESC",
            "idx_managed_auth_sessions_user_updated_at",
        ),
    ] {
        let plan = rows(&db, &format!("EXPLAIN QUERY PLAN {question}"));
        let plan: Vec<&str> = plan.iter().filter_map(|row| row.text(3)).collect();
        assert!(plan.iter().any(|step| step.contains(index)), "{question}: {plan:?}");
    }
}
