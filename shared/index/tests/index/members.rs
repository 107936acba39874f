//! Members, their rights and their keys.

use index::members::Removal;
use index::users::{User, UserThrottle};
use index::{access, keys, members, users};
use pollster::block_on;
use protocol::bodies::members::Role;

use crate::support::{create, db, key, members_of, rows, run, set_key, shared};

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
