//! What operators ask and do.

use database::Cell;
use database::sqlite::Sqlite;
use index::activity::{ActivitySeen, Entity};
use index::keys;
use index::operator::transfer::{Cells, TABLES, Table, plan, read};
use index::operator::{Who, access, accounts, graphs, instant, remove_user, usage};
use index::users::{self, User, UserThrottle};
use pollster::block_on;

use crate::support::{create, db, rows, run, shared};

const DAY: i64 = 86_400_000;

fn user(db: &Sqlite, id: &str, name: &str, now_ms: i64) {
    let user = User { id, username: Some(name), email: None, email_verified: None };
    block_on(users::upsert(db, &UserThrottle::default(), &user, now_ms)).unwrap();
}

fn all(db: &Sqlite) -> Vec<(&'static Table, Cells)> {
    let mut found = Vec::new();
    block_on(read(db, &mut |table, row| found.push((table, row)))).unwrap();
    found
}

/// Writes a plan; how many rows.
fn take_over(db: &Sqlite, incoming: Vec<(&'static Table, Cells)>) -> usize {
    let plan = block_on(plan(db, incoming)).unwrap();
    assert!(plan.foreign.is_empty());
    block_on(plan.write(db, &mut |_| ())).unwrap();
    plan.rows()
}

#[test]
fn who_has_what_is_found_by_name_and_by_id() {
    let db = shared();
    user(&db, "a", "ann", 5);
    user(&db, "other", "ann", 6);
    user(&db, "owner", "olga", 7);
    create(&db, "older", "a", 0);
    assert_eq!(block_on(accounts(&db, Who::Username("ann"))).unwrap().len(), 2, "a name may be that of two");
    let found = block_on(accounts(&db, Who::Id("a"))).unwrap().remove(0);
    assert_eq!((found.username.as_deref(), found.created_at, found.email_verified), (Some("ann"), Some(5), None));
    assert!(block_on(accounts(&db, Who::Id("nobody"))).unwrap().is_empty());
    let seen: Vec<_> = block_on(access(&db, "a"))
        .unwrap()
        .into_iter()
        .map(|it| (it.graph_id, it.access_role.unwrap(), it.owner_username.unwrap()))
        .collect();
    let expected = [("g", "member", "olga"), ("older", "owner", "ann")];
    assert_eq!(seen, expected.map(|(graph, role, owner)| (graph.into(), role.into(), owner.into())));
    let listed = block_on(graphs(&db, None)).unwrap();
    assert_eq!(listed.iter().map(|it| (&*it.graph_id, it.members)).collect::<Vec<_>>(), [("g", 4), ("older", 1)]);
    assert_eq!(block_on(graphs(&db, Some("older"))).unwrap().len(), 1);
}

#[test]
fn usage_counts_days_in_utc() {
    let db = db();
    let now = 20_000 * DAY + 5;
    user(&db, "early", "e", now - DAY);
    user(&db, "late", "l", now - 5);
    create(&db, "g", "early", now - 5);
    create(&db, "h", "early", now - 6);
    for (entity, at) in [
        (Entity::User("early"), now - 2 * DAY),
        (Entity::User("early"), now),
        (Entity::User("late"), now - DAY),
        (Entity::Graph("g"), now - 2 * DAY),
    ] {
        block_on(ActivitySeen::default().note(entity, at).unwrap().write(&db)).unwrap();
    }
    let of = |days| block_on(usage(&db, days, now, &[])).unwrap();
    assert_eq!((of(1).active_users, of(1).active_graphs, of(1).since == of(1).today), (Some(1), Some(0), true));
    assert_eq!((of(2).active_users, of(3).active_graphs), (Some(2), Some(1)));
    let two = of(2);
    assert_eq!((two.users, two.graphs, two.users_today, two.graphs_today), (2, 2, Some(1), 1));
    let old = block_on(usage(&db, 1, now, &["0005_add_user_created_at.sql", "0006_add_daily_active_entities.sql"]));
    let old = old.unwrap();
    assert_eq!((old.active_users, old.users_today, old.users), (None, None, 2), "what is not kept is not counted");
    assert_eq!(instant(1_709_164_799_007), "2024-02-28T23:59:59.007Z");
}

#[test]
fn of_a_removed_user_nothing_is_left() {
    let db = shared();
    for id in ["a", "owner"] {
        user(&db, id, id, 1);
        block_on(keys::upsert_rsa_pair(&db, id, "public", "private", 1)).unwrap();
    }
    run(&db, "UPDATE graph_members SET invited_by = 'a' WHERE user_id = 'b'");
    let removed = block_on(remove_user(&db, "a")).unwrap();
    assert_eq!(
        (removed.graph_keys, removed.memberships, removed.invitations, removed.key_pairs, removed.users),
        (1, 1, 1, 1, 1)
    );
    for table in TABLES {
        for column in ["user_id", "id", "invited_by"].into_iter().filter(|column| table.columns.contains(column)) {
            assert!(rows(&db, &format!("SELECT 1 FROM {} WHERE {column} = 'a'", table.name)).is_empty());
        }
    }
    assert_eq!(rows(&db, "SELECT 1 FROM graph_aes_keys").len(), 3, "those of others stay");
}

#[test]
fn an_index_moves_there_and_back() {
    let there = shared();
    for number in 0..1100 {
        user(&there, &format!("user {number:04} 'x'; --\n"), "n", 1);
    }
    block_on(keys::upsert_rsa_pair(&there, "owner", "public", "private", 1)).unwrap();
    let home = db();
    let moved = all(&there);
    assert_eq!(take_over(&home, moved.clone()), moved.len());
    assert_eq!(take_over(&home, moved.clone()), 0, "a second time nothing is left to do");
    let not_ready = rows(&home, "SELECT 1 FROM graphs WHERE graph_ready_for_use = 0");
    assert_eq!(not_ready.len(), 1, "its rows are still elsewhere");
    let back = db();
    take_over(&back, all(&home));
    assert_eq!(all(&back), all(&home));
    assert_eq!(all(&back).len(), moved.len());
}

#[test]
fn what_is_there_stays_and_a_graph_of_somebody_else_is_refused() {
    let (there, home) = (shared(), shared());
    run(&there, "UPDATE graph_aes_keys SET encrypted_aes_key = 'old' WHERE user_id = 'a'");
    run(&there, "UPDATE graphs SET updated_at = 77, graph_ready_for_use = 0");
    let same = block_on(plan(&home, all(&there))).unwrap();
    let tally = |name: &str| same.tallies.iter().find(|(table, _)| *table == name).unwrap().1.clone();
    assert_eq!((same.rows(), tally("graphs").same), (0, 1));
    assert_eq!(tally("graph_aes_keys").kept, ["g a"]);
    run(&there, "UPDATE graphs SET user_id = 'thief'");
    assert_eq!(block_on(plan(&home, all(&there))).unwrap().foreign, ["g"]);
    let odd = vec![(Table::named("users").unwrap(), vec![Cell::Null; 5])];
    assert_eq!(block_on(plan(&home, odd)).unwrap().rows(), 0, "a row without a key is none");
}
