//! Snapshots.

use database::Database;
use pollster::block_on;
use sessions::registry::checkpoints::{self, Checkpoint, EXPIRED_AT_ONCE};

use crate::support::{db, rows, run};

const REPO: &str = "github/acme/app";
const LIFETIME_MS: i64 = 2_592_000_000;

fn checkpoint(snapshot_id: &str) -> Checkpoint {
    Checkpoint { provider: "E2B ".to_owned(), snapshot_id: snapshot_id.to_owned(), checkpoint_at: 1_000 }
}

fn load(db: &impl Database, owner: &str, branch: &str, now: i64) -> Option<String> {
    block_on(checkpoints::load(db, owner, REPO, branch, now)).unwrap().map(|found| found.snapshot_id)
}

fn keep(db: &impl Database, owner: &str, branch: &str, snapshot_id: &str) {
    block_on(checkpoints::upsert(db, owner, REPO, branch, &checkpoint(snapshot_id), 2_000)).unwrap();
}

#[test]
fn the_last_one_counts_for_thirty_days() {
    let db = db();
    assert_eq!(load(&db, "u", "main", 1), None);
    keep(&db, "u", "main", "s1");
    keep(&db, "u", "main", "s2");
    let found = block_on(checkpoints::load(&db, "u", REPO, "main", 2_000)).unwrap();
    let expected = Checkpoint { provider: "e2b".to_owned(), snapshot_id: "s2".to_owned(), checkpoint_at: 1_000 };
    assert_eq!(found, Some(expected));
    assert_eq!(load(&db, "u", "main", 1_000 + LIFETIME_MS - 1).as_deref(), Some("s2"));
    assert_eq!(load(&db, "u", "main", 1_000 + LIFETIME_MS), None);
    assert_eq!(rows(&db, "SELECT 1 FROM sandbox_checkpoints").len(), 1);
}

#[test]
fn nobody_gets_the_snapshot_of_others() {
    let db = db();
    keep(&db, "ann", "main", "of-ann");
    keep(&db, "ann", "dev", "of-ann-dev");
    keep(&db, "bob", "main", "of-bob");
    assert_eq!(load(&db, "ann", "main", 1).as_deref(), Some("of-ann"));
    assert_eq!(load(&db, "ann", "dev", 1).as_deref(), Some("of-ann-dev"));
    assert_eq!(load(&db, "bob", "main", 1).as_deref(), Some("of-bob"));
    for owner in ["", "an", "Ann", "ann "] {
        assert_eq!(load(&db, owner, "main", 1), None, "{owner}");
    }
    let knows = |owner, id| block_on(checkpoints::knows(&db, owner, id, 1)).unwrap();
    assert!(knows("ann", "of-ann-dev") && !knows("bob", "of-ann-dev") && !knows("", "of-ann") && !knows("ann", ""));
}

#[test]
fn what_names_nothing_is_not_kept() {
    let db = db();
    for (owner, id) in [("", "s"), ("u", ""), ("u", "  ")] {
        keep(&db, owner, "main", id);
    }
    block_on(checkpoints::upsert(&db, "u", "", "main", &checkpoint("s"), 1)).unwrap();
    assert!(rows(&db, "SELECT 1 FROM sandbox_checkpoints").is_empty());
    let unnamed = Checkpoint { provider: " ".to_owned(), ..checkpoint("s") };
    block_on(checkpoints::upsert(&db, "u", REPO, "main", &unnamed, 1)).unwrap();
    assert_eq!(rows(&db, "SELECT provider FROM sandbox_checkpoints")[0].text(0), Some("unknown"));
}

#[test]
fn expired_ones_go_a_few_at_a_time() {
    let db = db();
    let last = EXPIRED_AT_ONCE + 1;
    run(
        &db,
        &format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {last}) \
             INSERT INTO sandbox_checkpoints SELECT 'u', 'r' || i, 'main', 'e2b', 's', 1, 1, 50 FROM n"
        ),
    );
    keep(&db, "u", "main", "stays");
    let delete = |now| block_on(checkpoints::delete_expired(&db, now)).unwrap();
    assert_eq!(delete(49), 0);
    assert_eq!((delete(50), delete(50), delete(50)), (200, 1, 0));
    assert_eq!(load(&db, "u", "main", 50).as_deref(), Some("stays"));
}
