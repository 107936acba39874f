//! The rules of the index over SQLite.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::cell::{Cell, RefCell};

use database::sqlite::Sqlite;
use database::{Database, DbError, Param, ReadFrom, Row, Statement};
use index::activity::{ActivitySeen, Entity};
use index::graphs::NewGraph;
use index::keys::GraphKey;
use index::members::Removal;
use index::migrations::MIGRATIONS;
use index::users::{User, UserThrottle};
use index::{Error, access, graphs, keys, members, migrations, users};
use pollster::block_on;
use protocol::bodies::members::Role;

fn db() -> Sqlite {
    Sqlite::in_memory(MIGRATIONS).unwrap()
}

fn new_graph<'a>(graph_id: &'a str, user_id: &'a str) -> NewGraph<'a> {
    NewGraph { graph_id, graph_name: graph_id, user_id, schema_version: Some("65"), e2ee: true, ready_for_use: true }
}

fn create(db: &impl Database, graph_id: &str, user_id: &str, now_ms: i64) {
    block_on(graphs::create(db, &new_graph(graph_id, user_id), now_ms)).unwrap();
}

fn run(db: &impl Database, sql: &str) {
    block_on(db.execute(sql, &[])).unwrap();
}

fn rows(db: &impl Database, sql: &str) -> Vec<Row> {
    block_on(db.query(ReadFrom::Primary, sql, &[])).unwrap()
}

/// Records what reaches the database.
struct Recorder<D> {
    inner: D,
    seen: RefCell<Vec<(Option<ReadFrom>, String, usize)>>,
}

impl Recorder<Sqlite> {
    fn new() -> Self {
        Self { inner: db(), seen: RefCell::default() }
    }

    fn take(&self) -> Vec<(Option<ReadFrom>, String, usize)> {
        self.seen.take()
    }
}

impl<D: Database> Database for Recorder<D> {
    async fn query(&self, from: ReadFrom, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        self.seen.borrow_mut().push((Some(from), sql.to_owned(), params.len()));
        self.inner.query(from, sql, params).await
    }

    async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, DbError> {
        self.seen.borrow_mut().push((None, sql.to_owned(), params.len()));
        self.inner.execute(sql, params).await
    }

    async fn batch(&self, statements: &[Statement<'_>]) -> Result<Vec<u64>, DbError> {
        for (sql, params) in statements {
            self.seen.borrow_mut().push((None, (*sql).to_owned(), params.len()));
        }
        self.inner.batch(statements).await
    }
}

#[test]
fn flags_decode_null_as_true_and_text_as_number() {
    let db = db();
    for (id, e2ee, ready) in [("a", "0", "NULL"), ("b", "1", "0"), ("c", "NULL", "1"), ("d", "'0'", "'1'")] {
        create(&db, id, "u", 1);
        run(
            &db,
            &format!("UPDATE graphs SET graph_e2ee = {e2ee}, graph_ready_for_use = {ready} WHERE graph_id = '{id}'"),
        );
    }
    let mut list = block_on(graphs::list(&db, "u")).unwrap();
    list.sort_by(|a, b| a.graph_id.cmp(&b.graph_id));
    let flags: Vec<_> = list.iter().map(|graph| (graph.graph_e2ee, graph.graph_ready_for_use)).collect();
    assert_eq!(flags, [(false, true), (true, false), (true, true), (false, true)]);
}

#[test]
fn the_list_holds_owned_and_shared_graphs_latest_first() {
    let db = db();
    create(&db, "old", "u", 10);
    create(&db, "tie-1", "u", 20);
    create(&db, "tie-2", "u", 20);
    create(&db, "shared", "v", 30);
    create(&db, "foreign", "v", 40);
    assert!(block_on(members::upsert(&db, "shared", "u", Role::Member, "v", 31)).unwrap());
    let list = block_on(graphs::list(&db, "u")).unwrap();
    let ids: Vec<_> = list.iter().map(|graph| graph.graph_id.as_str()).collect();
    assert_eq!(ids, ["shared", "tie-2", "tie-1", "old"]);
    assert_eq!((list[0].role, list[0].invited_by.as_deref()), (Some(Role::Member), Some("v")));
    assert_eq!((list[3].role, list[3].created_at, list[3].updated_at), (Some(Role::Manager), 10, 10));
}

#[test]
fn create_binds_all_columns_and_stores_integers() {
    let db = Recorder::new();
    create(&db, "g", "u", 1_700_000_000_123);
    let seen = db.take();
    assert_eq!(seen.iter().map(|(_, _, params)| *params).collect::<Vec<_>>(), [8, 8]);
    let types = rows(&db, "SELECT typeof(created_at), typeof(graph_e2ee), graph_ready_for_use FROM graphs");
    assert_eq!((types[0].text(0), types[0].text(1), types[0].int(2)), (Some("integer"), Some("integer"), Some(1)));
}

#[test]
fn create_is_one_unit() {
    let db = db();
    run(&db, "DROP TABLE graph_members");
    block_on(graphs::create(&db, &new_graph("g", "u"), 1)).unwrap_err();
    assert!(rows(&db, "SELECT * FROM graphs").is_empty(), "D-23: no graph without its member row");
}

#[test]
fn names_are_compared_exactly_per_owner() {
    let db = db();
    create(&db, "Name", "u", 1);
    for (name, user, expected) in [("Name", "u", true), ("name", "u", false), ("Name", "v", false)] {
        assert_eq!(block_on(graphs::name_exists(&db, name, user)).unwrap(), expected);
    }
}

#[test]
fn the_ready_flag_needs_a_row() {
    let db = db();
    assert!(block_on(graphs::is_ready(&db, "g")).unwrap(), "a missing row counts as ready");
    assert!(matches!(block_on(graphs::set_ready(&db, "g", false, 2)), Err(Error::GraphMissing)));
    create(&db, "g", "u", 1);
    block_on(graphs::set_ready(&db, "g", false, 2)).unwrap();
    assert!(!block_on(graphs::is_ready(&db, "g")).unwrap());
    assert_eq!(block_on(graphs::list(&db, "u")).unwrap()[0].updated_at, 2);
}

#[test]
fn a_missing_graph_counts_as_encrypted() {
    let db = db();
    assert!(block_on(graphs::is_e2ee(&db, "g")).unwrap());
    block_on(graphs::create(&db, &NewGraph { e2ee: false, ..new_graph("g", "u") }, 1)).unwrap();
    assert!(!block_on(graphs::is_e2ee(&db, "g")).unwrap());
}

#[test]
fn access_and_management() {
    let db = db();
    create(&db, "g", "owner", 1);
    for (user, role) in [("manager", Role::Manager), ("member", Role::Member)] {
        assert!(block_on(members::upsert(&db, "g", user, role, "owner", 2)).unwrap());
    }
    assert!(block_on(members::set_role(&db, "g", "owner", Role::Member, "manager")).unwrap());
    for (user, has_access, manages) in
        [("owner", true, true), ("manager", true, true), ("member", true, false), ("stranger", false, false)]
    {
        assert_eq!(block_on(access::has_access(&db, "g", user)).unwrap(), has_access, "{user}");
        assert_eq!(block_on(access::is_manager(&db, "g", user)).unwrap(), manages, "{user}");
    }
    assert!(!block_on(access::has_access(&db, "unknown", "owner")).unwrap());
}

fn key<'a>(graph_id: &'a str, user_id: &'a str, encrypted_aes_key: &'a str) -> GraphKey<'a> {
    GraphKey { graph_id, user_id, encrypted_aes_key }
}

fn set_key(db: &impl Database, graph_id: &str, user_id: &str, text: &str) -> bool {
    block_on(keys::set_graph_key(db, key(graph_id, user_id, text), 1)).unwrap()
}

/// A graph of `owner` with a manager `m1` and the members `a` and `b`; all of them have keys.
fn shared() -> Sqlite {
    let db = db();
    create(&db, "g", "owner", 1);
    for (user, role) in [("m1", Role::Manager), ("a", Role::Member), ("b", Role::Member)] {
        assert!(block_on(members::upsert(&db, "g", user, role, "owner", 2)).unwrap());
    }
    for user in ["owner", "m1", "a", "b"] {
        assert!(set_key(&db, "g", user, "key"));
    }
    db
}

fn members_of(db: &impl Database) -> Vec<String> {
    block_on(members::list(db, "g")).unwrap().into_iter().map(|member| member.user_id).collect()
}

#[test]
fn removing_members() {
    let db = shared();
    // Member, caller, the answer of `removal`, and whether a row is removed.
    for (target, caller, expected, goes) in [
        ("owner", "m1", Removal::Forbidden, false),
        ("m1", "m1", Removal::Forbidden, false),
        ("m1", "owner", Removal::Forbidden, false),
        ("a", "b", Removal::Forbidden, false),
        ("a", "stranger", Removal::Forbidden, false),
        ("nobody", "a", Removal::Forbidden, false),
        ("nobody", "m1", Removal::Allowed, false),
        ("stranger", "stranger", Removal::Gone, false),
        ("a", "a", Removal::Allowed, true),
        ("a", "a", Removal::Gone, false),
        ("b", "m1", Removal::Allowed, true),
        ("b", "m1", Removal::Allowed, false),
    ] {
        assert_eq!(block_on(members::removal(&db, "g", target, caller)).unwrap(), expected, "{caller}, {target}");
        assert_eq!(block_on(members::remove(&db, "g", target, caller)).unwrap(), goes, "{caller} removes {target}");
    }
    assert_eq!(block_on(members::removal(&db, "other", "a", "a")).unwrap(), Removal::Forbidden, "there is no graph");
    assert_eq!(members_of(&db), ["owner", "m1"]);
    assert_eq!(block_on(keys::graph_key(&db, "g", "a")).unwrap(), None, "D-04: the key row goes with the member");
    assert_eq!(block_on(keys::graph_key(&db, "g", "m1")).unwrap().as_deref(), Some("key"));
    // An owner whose member row says `member` is removed as one, and still owns the graph and its key.
    assert!(block_on(members::set_role(&db, "g", "owner", Role::Member, "m1")).unwrap());
    assert!(block_on(members::remove(&db, "g", "owner", "m1")).unwrap());
    assert!(block_on(access::has_access(&db, "g", "owner")).unwrap());
    assert_eq!(block_on(keys::graph_key(&db, "g", "owner")).unwrap().as_deref(), Some("key"));
}

#[test]
fn rights_are_those_of_the_moment_of_writing() {
    // The caller lost the right between the check and the write: nothing changes.
    let db = shared();
    run(&db, "UPDATE graph_members SET role = 'manager' WHERE user_id = 'a'");
    assert!(!block_on(members::remove(&db, "g", "a", "m1")).unwrap(), "the member became a manager");
    assert!(!block_on(members::remove(&db, "g", "a", "a")).unwrap());
    run(&db, "UPDATE graph_members SET role = 'member' WHERE user_id = 'm1'");
    assert!(!block_on(members::remove(&db, "g", "b", "m1")).unwrap(), "the caller manages no more");
    assert!(!block_on(members::set_role(&db, "g", "b", Role::Manager, "m1")).unwrap());
    assert!(!block_on(members::upsert(&db, "g", "new", Role::Member, "m1", 3)).unwrap());
    assert!(!block_on(keys::grant_graph_key(&db, key("g", "b", "other"), "m1", 3)).unwrap());
    assert_eq!(members_of(&db), ["owner", "m1", "a", "b"]);
    let roles = rows(&db, "SELECT group_concat(role) FROM graph_members WHERE user_id <> 'owner'");
    assert_eq!(roles[0].text(0), Some("member,manager,member"));
    assert_eq!(rows(&db, "SELECT 1 FROM graph_aes_keys WHERE encrypted_aes_key = 'other'").len(), 0);
    assert!(block_on(members::set_role(&db, "g", "nobody", Role::Member, "owner")).unwrap(), "as the reference");
}

#[test]
fn a_grant_that_races_a_removal_leaves_no_key() {
    let db = shared();
    let granted = |user| block_on(keys::grant_graph_key(&db, key("g", user, "new"), "owner", 3)).unwrap();
    assert!(granted("a"));
    assert!(block_on(members::remove(&db, "g", "a", "owner")).unwrap());
    assert!(!granted("a"), "the grant comes late");
    assert!(!set_key(&db, "g", "a", "new"), "and the member's own key");
    assert!(!granted("stranger"));
    assert_eq!(rows(&db, "SELECT 1 FROM graph_aes_keys WHERE user_id IN ('a', 'stranger')").len(), 0);
}

#[test]
fn nothing_is_written_for_a_graph_without_a_row() {
    let db = shared();
    // As if rows had been written while the graph was deleted.
    run(&db, "DELETE FROM graphs");
    for user in ["owner", "m1", "a"] {
        assert!(!block_on(access::has_access(&db, "g", user)).unwrap(), "{user} has a ghost");
        assert!(!block_on(access::is_manager(&db, "g", user)).unwrap(), "{user}");
        assert!(!block_on(members::upsert(&db, "g", "new", Role::Member, user, 3)).unwrap(), "{user}");
        assert!(!block_on(members::set_role(&db, "g", "b", Role::Manager, user)).unwrap(), "{user}");
        assert!(!block_on(keys::grant_graph_key(&db, key("g", "b", "new"), user, 3)).unwrap(), "{user}");
        assert!(!set_key(&db, "g", user, "new"), "{user}");
    }
    assert_eq!(members_of(&db), ["owner", "m1", "a", "b"], "nothing was added");
    assert_eq!(rows(&db, "SELECT 1 FROM graph_aes_keys WHERE encrypted_aes_key = 'new'").len(), 0);
}

/// An index whose nearest replica is empty, and whose writes happen although their answers are lost.
struct Unlucky<D> {
    inner: D,
    stale: bool,
    lost: Cell<bool>,
}

impl<D: Database> Database for Unlucky<D> {
    async fn query(&self, from: ReadFrom, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        match from {
            ReadFrom::Nearest if self.stale => Ok(Vec::new()),
            _ => self.inner.query(from, sql, params).await,
        }
    }

    async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, DbError> {
        self.inner.execute(sql, params).await
    }

    async fn batch(&self, statements: &[Statement<'_>]) -> Result<Vec<u64>, DbError> {
        let done = self.inner.batch(statements).await;
        if self.lost.take() { Err(DbError("the answer got lost".into())) } else { done }
    }
}

#[test]
fn a_no_is_the_primary_copys() {
    let db = Unlucky { inner: shared(), stale: true, lost: Cell::new(false) };
    assert!(block_on(access::has_access(&db, "g", "a")).unwrap());
    assert!(block_on(access::is_manager(&db, "g", "m1")).unwrap());
    assert!(!block_on(access::has_access(&db, "g", "stranger")).unwrap());
    assert_eq!(block_on(keys::graph_key(&db, "g", "a")).unwrap().as_deref(), Some("key"));
    assert_eq!(block_on(members::removal(&db, "g", "a", "a")).unwrap(), Removal::Allowed);
}

#[test]
fn what_was_done_is_done_although_its_answer_got_lost() {
    let db = Unlucky { inner: db(), stale: false, lost: Cell::new(true) };
    create(&db, "g", "owner", 1);
    assert!(block_on(access::has_access(&db, "g", "owner")).unwrap());
    db.lost.set(true);
    block_on(graphs::delete(&db, "g")).unwrap();
    // A write that did not happen is a failure.
    run(&db, "ALTER TABLE graph_members RENAME TO away");
    block_on(graphs::create(&db, &new_graph("h", "owner"), 1)).unwrap_err();
    run(&db, "ALTER TABLE away RENAME TO graph_members");
    create(&db, "h", "owner", 1);
    run(&db, "ALTER TABLE graph_members RENAME TO away");
    block_on(graphs::delete(&db, "h")).unwrap_err();
    assert_eq!(rows(&db, "SELECT 1 FROM graphs WHERE graph_id = 'h'").len(), 1);
}

#[test]
fn members_are_listed_with_their_users() {
    let db = db();
    create(&db, "g", "owner", 1);
    assert!(block_on(members::upsert(&db, "g", "early", Role::Member, "owner", 2)).unwrap());
    let user = User { id: "early", email: Some("e@x"), email_verified: Some(true), username: Some("E") };
    block_on(users::upsert(&db, &UserThrottle::default(), &user, 3)).unwrap();
    let list = block_on(members::list(&db, "g")).unwrap();
    assert_eq!((list[0].email.as_deref(), list[0].username.as_deref()), (None, None));
    assert_eq!(
        (list[1].email.as_deref(), list[1].username.as_deref(), list[1].created_at),
        (Some("e@x"), Some("E"), 2)
    );
}

#[test]
fn absent_claims_keep_what_is_stored() {
    let db = db();
    let id_token = User { id: "u", email: Some("e@x"), email_verified: Some(true), username: Some("U") };
    let access_token = User { id: "u", username: Some("U"), ..User::default() };
    block_on(users::upsert(&db, &UserThrottle::default(), &id_token, 1)).unwrap();
    block_on(users::upsert(&db, &UserThrottle::default(), &access_token, 2)).unwrap();
    let row = rows(&db, "SELECT email, email_verified, username, created_at FROM users").remove(0);
    assert_eq!((row.text(0), row.int(1), row.text(2), row.int(3)), (Some("e@x"), Some(1), Some("U"), Some(1)));
    assert_eq!(block_on(users::id_by_email(&db, "e@x")).unwrap().as_deref(), Some("u"));
    assert_eq!(block_on(users::id_by_email(&db, "E@x")).unwrap(), None);
}

#[test]
fn the_throttle_slides_and_sees_changes() {
    let db = Recorder::new();
    let throttle = UserThrottle::default();
    let writes = |user: &User<'_>, now_ms: i64| {
        block_on(users::upsert(&db, &throttle, user, now_ms)).unwrap();
        db.take().len()
    };
    let minute = 60_000;
    let user = User { id: "u", email: Some("e@x"), ..User::default() };
    let changed = User { email: Some("f@x"), ..user };
    assert_eq!(writes(&user, 0), 1);
    assert_eq!(writes(&user, 59 * minute), 0);
    assert_eq!(writes(&user, 118 * minute), 0, "a hit renews the time");
    assert_eq!(writes(&User { id: "u", ..User::default() }, 119 * minute), 0, "absent claims change nothing");
    assert_eq!(writes(&changed, 120 * minute), 1);
    assert_eq!(writes(&changed, 180 * minute), 1, "the hour is over");
    for other in 0..1024 {
        writes(&User { id: &other.to_string(), ..User::default() }, 181 * minute);
    }
    assert_eq!(writes(&changed, 181 * minute), 1, "the oldest was dropped");
}

#[test]
fn a_failed_write_is_not_remembered() {
    let db = db();
    let (throttle, seen) = (UserThrottle::default(), ActivitySeen::default());
    run(&db, "ALTER TABLE users RENAME TO users_away");
    run(&db, "ALTER TABLE daily_active_entities RENAME TO days_away");
    let user = User { id: "u", ..User::default() };
    block_on(users::upsert(&db, &throttle, &user, 1)).unwrap_err();
    let note = seen.note(Entity::User("u"), 1).unwrap();
    assert!(seen.note(Entity::User("u"), 1).is_none(), "it is about to be written");
    block_on(note.write(&db)).unwrap_err();
    run(&db, "ALTER TABLE users_away RENAME TO users");
    run(&db, "ALTER TABLE days_away RENAME TO daily_active_entities");
    block_on(users::upsert(&db, &throttle, &user, 1)).unwrap();
    drop(seen.note(Entity::User("u"), 1).unwrap());
    block_on(seen.note(Entity::User("u"), 1).unwrap().write(&db)).unwrap();
    assert!(seen.note(Entity::User("u"), 1).is_none());
    assert_eq!(rows(&db, "SELECT * FROM users").len(), 1);
    assert_eq!(rows(&db, "SELECT * FROM daily_active_entities").len(), 1);
}

#[test]
fn activity_is_written_once_a_day() {
    let db = Recorder::new();
    let seen = ActivitySeen::default();
    let day = 86_400_000;
    for (entity, now_ms) in
        [(Entity::User("x"), 5), (Entity::User("x"), 6), (Entity::Graph("x"), 7), (Entity::User("x"), day + 1)]
    {
        if let Some(note) = seen.note(entity, now_ms) {
            block_on(note.write(&db)).unwrap();
        }
    }
    assert_eq!(db.take().len(), 3);
    block_on(ActivitySeen::default().note(Entity::User("x"), 9).unwrap().write(&db)).unwrap();
    let stored =
        rows(&db, "SELECT day_utc, entity_type, first_seen_at FROM daily_active_entities ORDER BY first_seen_at");
    let stored: Vec<_> =
        stored.iter().map(|row| (row.text(0).unwrap(), row.text(1).unwrap(), row.int(2).unwrap())).collect();
    assert_eq!(stored, [("1970-01-01", "user", 5), ("1970-01-01", "graph", 7), ("1970-01-02", "user", day + 1)]);
}

#[test]
fn keys_are_stored_over_what_was_there() {
    let db = db();
    create(&db, "g", "u", 1);
    assert_eq!(block_on(keys::rsa_pair(&db, "u")).unwrap(), None);
    for private in ["one", "two"] {
        block_on(keys::upsert_rsa_pair(&db, "u", "public", private, 1)).unwrap();
        assert!(set_key(&db, "g", "u", private));
    }
    assert_eq!(block_on(keys::rsa_pair(&db, "u")).unwrap().unwrap().encrypted_private_key.as_deref(), Some("two"));
    assert_eq!(block_on(keys::graph_key(&db, "g", "u")).unwrap().as_deref(), Some("two"));
    assert!(block_on(keys::has_rsa_pair(&db, "u")).unwrap());
    run(&db, "UPDATE user_rsa_keys SET encrypted_private_key = NULL");
    assert!(!block_on(keys::has_rsa_pair(&db, "u")).unwrap(), "half a pair is none");
    let user = User { id: "u", email: Some("e@x"), ..User::default() };
    block_on(users::upsert(&db, &UserThrottle::default(), &user, 1)).unwrap();
    assert_eq!(block_on(keys::public_key_of(&db, "e@x")).unwrap().as_deref(), Some("public"));
    assert_eq!(block_on(keys::public_key_of(&db, "other@x")).unwrap(), None);
}

#[test]
fn reads_ask_the_copy_that_their_purpose_needs() {
    let db = Recorder::new();
    let copies = || db.take().into_iter().filter_map(|(from, ..)| from).collect::<Vec<_>>();
    create(&db, "g", "u", 1);
    assert!(set_key(&db, "g", "u", "k"));
    block_on(async {
        graphs::list(&db, "u").await.unwrap();
        graphs::name_exists(&db, "n", "u").await.unwrap();
        graphs::is_ready(&db, "g").await.unwrap();
        graphs::is_e2ee(&db, "g").await.unwrap();
        keys::graph_key(&db, "g", "u").await.unwrap();
        access::has_access(&db, "g", "u").await.unwrap();
        access::is_manager(&db, "g", "u").await.unwrap();
    });
    assert_eq!(copies(), [ReadFrom::Nearest; 7]);
    block_on(async {
        keys::graph_key(&db, "g", "v").await.unwrap();
        access::has_access(&db, "g", "v").await.unwrap();
        access::is_manager(&db, "g", "v").await.unwrap();
    });
    assert_eq!(copies(), [ReadFrom::Nearest, ReadFrom::Primary].repeat(3), "a no is asked again");
    block_on(async {
        users::id_by_email(&db, "e").await.unwrap();
        keys::rsa_pair(&db, "u").await.unwrap();
        keys::public_key_of(&db, "e").await.unwrap();
        members::list(&db, "g").await.unwrap();
        members::removal(&db, "g", "u", "u").await.unwrap();
        access::has_access_now(&db, "g", "u").await.unwrap();
    });
    assert!(copies().iter().all(|from| *from == ReadFrom::Primary));
}

#[test]
fn deleting_a_graph_leaves_no_row() {
    let db = db();
    for graph in ["g", "other"] {
        create(&db, graph, "u", 1);
        assert!(set_key(&db, graph, "u", "k"));
    }
    block_on(graphs::delete_keys_and_members(&db, "g")).unwrap();
    assert!(block_on(access::is_manager(&db, "g", "u")).unwrap(), "the owner can retry");
    block_on(graphs::delete(&db, "g")).unwrap();
    for table in ["graphs", "graph_members", "graph_aes_keys"] {
        let left = rows(&db, &format!("SELECT graph_id FROM {table}"));
        assert_eq!(left.iter().map(|row| row.text(0).unwrap()).collect::<Vec<_>>(), ["other"], "{table}");
    }
}

#[test]
fn migrations_make_the_schema_and_adopt_existing_columns() {
    let db = db();
    assert!(block_on(migrations::missing(&db)).unwrap().is_empty());
    let indexes = rows(&db, "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE 'idx_%' ORDER BY name");
    let names: Vec<_> = indexes.iter().map(|row| row.text(0).unwrap()).collect();
    assert_eq!(
        names,
        [
            "idx_daily_active_entities_type_day",
            "idx_graph_members_graph_id_created_at",
            "idx_graphs_user_id_updated_at",
            "idx_users_email"
        ]
    );
    // A database of another server has all of it, and does not remember by which files.
    let file = std::env::temp_dir().join(format!("index-migrations-{}.sqlite", std::process::id()));
    let open = || Sqlite::new(rusqlite::Connection::open(&file).unwrap(), MIGRATIONS).unwrap();
    run(&open(), "DELETE FROM d1_migrations");
    assert!(block_on(migrations::missing(&open())).unwrap().is_empty());
    std::fs::remove_file(file).unwrap();
}

/// A row of a user: id, whether the address is verified, and when it was made.
type Registered = (&'static str, &'static str, &'static str);

/// An index in which these users have one address, and each has a key named after them.
fn registered(users: &[Registered]) -> Sqlite {
    let db = db();
    for (id, verified, created_at) in users {
        run(
            &db,
            &format!(
                "INSERT INTO users (id, email, email_verified, created_at) \
                 VALUES ('{id}', 'x@example.test', {verified}, {created_at})"
            ),
        );
        run(&db, &format!("INSERT INTO user_rsa_keys (user_id, public_key) VALUES ('{id}', 'key of {id}')"));
    }
    db
}

#[test]
fn an_address_stands_for_the_oldest_verified_user() {
    let cases: &[(&[Registered], Option<&str>)] = &[
        (&[], None),
        (&[("a", "1", "5")], Some("a")),
        (&[("a", "NULL", "5")], Some("a")),
        (&[("a", "0", "5")], None),
        // Users who registered the address, earlier or later, but cannot receive its mail.
        (&[("thief", "0", "1"), ("a", "1", "5")], Some("a")),
        (&[("a", "1", "5"), ("thief", "0", "9")], Some("a")),
        (&[("thief", "NULL", "1"), ("a", "1", "5")], Some("a")),
        (&[("thief", "0", "1"), ("a", "NULL", "5")], Some("a")),
        (&[("thief", "NULL", "1"), ("a", "NULL", "5")], None),
        (&[("thief", "0", "1"), ("another", "0", "2")], None),
        // Among verified users the oldest counts, not the order of rows; a row without a time is older than that
        // column.
        (&[("younger", "1", "9"), ("a", "1", "5")], Some("a")),
        (&[("younger", "1", "9"), ("a", "1", "NULL"), ("old", "1", "5")], Some("a")),
        (&[("a", "1", "5"), ("same-time", "1", "5")], Some("a")),
    ];
    for (users, expected) in cases {
        let db = registered(users);
        let found = block_on(users::id_by_email(&db, "x@example.test")).unwrap();
        assert_eq!(found.as_deref(), *expected, "{users:?}");
        let key = block_on(keys::public_key_of(&db, "x@example.test")).unwrap();
        assert_eq!(key, expected.map(|id| format!("key of {id}")), "{users:?}");
    }
    let keyless = registered(&[("a", "1", "5"), ("b", "1", "9")]);
    run(&keyless, "DELETE FROM user_rsa_keys WHERE user_id = 'a'");
    let key = block_on(keys::public_key_of(&keyless, "x@example.test")).unwrap();
    assert_eq!(key, None, "the key of another user would not open what is sealed for this one");
}

#[test]
fn a_new_address_is_not_verified_because_the_old_one_was() {
    let write = |db: &Sqlite, throttle: &UserThrottle, email, email_verified, now_ms| {
        let user = User { id: "u", email, email_verified, username: None };
        block_on(users::upsert(db, throttle, &user, now_ms)).unwrap();
        rows(db, "SELECT email, email_verified FROM users")
    };
    let verified = |row: &[Row]| row[0].int(1);
    let (db, throttle) = (db(), UserThrottle::default());
    assert_eq!(verified(&write(&db, &throttle, Some("mine@example.test"), Some(true), 1)), Some(1));
    assert_eq!(verified(&write(&db, &throttle, None, None, 2)), Some(1), "D-11");
    assert_eq!(verified(&write(&db, &throttle, Some("mine@example.test"), None, 3)), Some(1));
    let changed = write(&db, &throttle, Some("victim@example.test"), None, 4);
    assert_eq!((changed[0].text(0), verified(&changed)), (Some("victim@example.test"), None));
    // The throttle has dropped the flag too, so the same claims with the flag are written.
    assert_eq!(verified(&write(&db, &throttle, Some("victim@example.test"), Some(true), 5)), Some(1));
    assert_eq!(verified(&write(&db, &throttle, Some("other@example.test"), Some(false), 6)), Some(0));
}

#[test]
fn lists_of_graphs_are_bounded() {
    let db = db();
    let series = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5003) ";
    run(
        &db,
        &format!(
            "{series} INSERT INTO graphs (graph_id, graph_name, user_id, created_at, updated_at) \
             SELECT 'g' || i, 'n', 'host', i, i FROM n"
        ),
    );
    run(&db, "INSERT INTO graph_members (user_id, graph_id, role) SELECT 'guest', graph_id, 'member' FROM graphs");
    run(&db, "UPDATE graphs SET graph_name = printf('%.*c', 1000000, 'x') WHERE graph_id = 'g5003'");
    for user in ["host", "guest"] {
        let list = block_on(graphs::list(&db, user)).unwrap();
        assert_eq!(list.len(), 5_000);
        assert_eq!((list[0].graph_id.as_str(), list[4_999].graph_id.as_str()), ("g5003", "g4"), "the newest");
        assert_eq!(list[0].graph_name.len(), 1_024, "a name of an older server");
    }
    assert!(block_on(graphs::has_made_all(&db, "host")).unwrap());
    assert!(!block_on(graphs::has_made_all(&db, "guest")).unwrap(), "who was invited has made none");
    run(&db, "DELETE FROM graphs WHERE updated_at > 999");
    assert!(!block_on(graphs::has_made_all(&db, "host")).unwrap());
}
