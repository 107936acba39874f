//! What a hostile process may lay out in `out/` (docs/spec/session-mailbox.md 4.4, 6): each is a typed failure, and nothing
//! outside of the folder is touched.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use mailbox::agent::Step;
use mailbox::host::{HostMailbox as _, Reading, Spawn};
use mailbox::{AgentMailbox as _, Error};
use rusqlite::Connection;

use crate::scene::{Scene, output};

fn said() -> Scene {
    let mut scene = Scene::new();
    let mut agent = scene.spawn();
    agent.look(0).unwrap();
    agent.commit(&Step { outputs: vec![output("1")], ..Step::default() }, 0).unwrap();
    scene
}

fn hostile<T: std::fmt::Debug>(result: &Result<T, Error>) {
    assert!(matches!(result, Err(Error::Hostile(_))), "{result:?}");
}

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_pipe_a_link_a_second_name_or_a_folder_in_the_place_of_the_file() {
    for number in 0..4 {
        let scene = said();
        let file = scene.host.places().outbound();
        let canary = scene.folder.path().join("canary.db");
        Connection::open(&canary).unwrap().execute_batch("CREATE TABLE t(x)").unwrap();
        std::fs::remove_file(&file).unwrap();
        match number {
            0 => pipe(&file),
            1 => symlink(&canary, &file).unwrap(),
            2 => std::fs::hard_link(&canary, &file).unwrap(),
            _ => std::fs::create_dir(&file).unwrap(),
        }
        hostile(&scene.host.seen(&[]));
        hostile(&scene.host.outputs(0, 10, 1 << 20));
        assert!(canary.exists());
    }
}

#[test]
fn a_pipe_in_the_place_of_the_journal() {
    let scene = said();
    pipe(&scene.outside().join("outbound.db-journal"));
    hostile(&scene.host.seen(&[]));
}

#[test]
fn a_write_ahead_log_makes_no_files() {
    let scene = said();
    scene.outbound().pragma_update(None, "journal_mode", "WAL").unwrap();
    hostile(&scene.host.seen(&[]));
    assert!(!scene.outside().join("outbound.db-shm").exists() && !scene.outside().join("outbound.db-wal").exists());
}

/// Somebody swaps the file after it was looked at: SQLite itself must neither follow nor make anything.
#[test]
fn a_file_that_names_another_in_a_forged_journal_deletes_nothing() {
    let scene = said();
    let canary = scene.folder.path().join("canary");
    std::fs::write(&canary, "alive").unwrap();
    // A journal with the name of a super-journal at its end, as SQLite writes it for several files.
    let file = scene.host.places().outbound();
    let pages = std::fs::metadata(&file).unwrap().len() / 4096;
    let mut journal = vec![0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    journal.extend(0_u32.to_be_bytes());
    journal.extend(7_u32.to_be_bytes());
    journal.extend(u32::try_from(pages).unwrap().to_be_bytes());
    journal.extend(512_u32.to_be_bytes());
    journal.extend(4096_u32.to_be_bytes());
    journal.resize(512, 0);
    let name = canary.to_str().unwrap().as_bytes();
    journal.extend(name);
    journal.extend(u32::try_from(name.len()).unwrap().to_be_bytes());
    journal.extend(name.iter().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte))).to_be_bytes());
    journal.extend([0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]);
    std::fs::write(scene.outside().join("outbound.db-journal"), journal).unwrap();
    // Whatever the read says, it changes nothing.
    let _ = scene.host.seen(&[]);
    let _ = scene.host.outputs(0, 10, 1 << 20);
    assert_eq!(std::fs::read_to_string(&canary).unwrap(), "alive");
    assert!(scene.outside().join("outbound.db-journal").exists());
}

#[test]
fn a_sparse_file_of_ten_gigabytes() {
    let scene = said();
    std::fs::OpenOptions::new().write(true).open(scene.host.places().outbound()).unwrap().set_len(10 << 30).unwrap();
    hostile(&scene.host.seen(&[]));
}

#[test]
fn views_triggers_and_computed_columns_are_not_run() {
    for sql in [
        "DROP TABLE messages_out; CREATE VIEW messages_out AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) \
         SELECT x AS seq FROM n",
        "CREATE VIEW more AS SELECT 1",
        "ALTER TABLE messages_out ADD COLUMN big AS (zeroblob(1000000000))",
        "CREATE TRIGGER t AFTER INSERT ON messages_out BEGIN SELECT 1; END",
        "CREATE INDEX i ON messages_out(content)",
        "DROP TABLE requests",
    ] {
        let scene = said();
        scene.outbound().execute_batch(sql).unwrap();
        hostile(&scene.host.seen(&[]));
        hostile(&scene.host.outputs(0, 10, 1 << 20));
    }
}

#[test]
fn values_of_other_types_and_sizes_are_no_outputs() {
    let bad = [
        "content = x'00ff'",
        "content = '{'",
        "content = 'not json'",
        "content = '\"' || hex(zeroblob(200000)) || '\"'",
        "content = replace(hex(zeroblob(1000)), '0', '[')",
        "kind = hex(zeroblob(1000))",
        "id = x'ff'",
        "generation = 'many'",
        "attempt = 1.5",
        "prev = 'none'",
        "created_at = 'today'",
        "target = x'00'",
        "in_reply_to = hex(zeroblob(5000))",
        "deliver_after = 'tomorrow'",
    ];
    for set in bad {
        let scene = said();
        scene
            .outbound()
            .execute_batch(&format!("PRAGMA ignore_check_constraints = ON; UPDATE messages_out SET {set}"))
            .unwrap();
        let read = scene.host.outputs(0, 10, 1 << 20).unwrap();
        assert!(matches!(read[..], [Reading::Bad { seq: Some(1), .. }]), "{set}: {read:?}");
    }
    for set in ["seq = 'text'", "seq = 2", "seq = x'01'"] {
        let scene = said();
        scene
            .outbound()
            .execute_batch(&format!("PRAGMA ignore_check_constraints = ON; UPDATE messages_out SET {set}"))
            .unwrap();
        let read = scene.host.outputs(0, 10, 1 << 20).unwrap();
        assert!(matches!(read[..], [Reading::Bad { seq: None, .. }]), "{set}: {read:?}");
        scene.host.seen(&[]).unwrap();
    }
}

#[test]
fn words_about_messages_and_of_the_state_that_are_none_say_nothing() {
    let mut scene = said();
    scene.prompt("a", 1);
    let outbound = scene.outbound();
    outbound
        .execute_batch(
            "PRAGMA ignore_check_constraints = ON; INSERT INTO processing_ack VALUES ('a', 1, 1, 'done', NULL, NULL, NULL, 0); \
             INSERT INTO runtime_state(id, generation, phase, updated_at) VALUES (1, 1, 'dreaming', 0);",
        )
        .unwrap();
    let seen = scene.host.seen(&["a"]).unwrap().unwrap();
    assert_eq!((seen.state, seen.acks.len()), (None, 0));
}

#[test]
fn a_value_longer_than_is_read_is_a_typed_failure() {
    let scene = said();
    scene.outbound().execute("UPDATE messages_out SET content = hex(zeroblob(9 << 20))", []).unwrap();
    hostile(&scene.host.outputs(0, 10, 1 << 20));
}

#[test]
fn a_damaged_file_is_damaged_and_garbage_is_no_database() {
    let scene = said();
    let file = scene.host.places().outbound();
    let mut bytes = std::fs::read(&file).unwrap();
    let whole = bytes.clone();
    for byte in &mut bytes[4096..] {
        *byte ^= 0x5a;
    }
    std::fs::write(&file, &bytes).unwrap();
    let damaged = scene.host.outputs(0, 10, 1 << 20);
    assert!(matches!(damaged, Err(Error::Corrupt(_))), "{damaged:?}");
    std::fs::write(&file, &whole[..1000]).unwrap();
    assert!(scene.host.seen(&[]).is_err());
    std::fs::write(&file, "garbage").unwrap();
    hostile(&scene.host.seen(&[]));
}

#[test]
fn random_damage_never_panics_and_never_touches_anything_else() {
    let scene = said();
    let file = scene.host.places().outbound();
    let whole = std::fs::read(&file).unwrap();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..150 {
        let mut bytes = whole.clone();
        for _ in 0..8 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let at = usize::try_from(random % bytes.len() as u64).unwrap();
            bytes[at] = random.to_le_bytes()[4];
        }
        std::fs::write(&file, &bytes).unwrap();
        let _ = scene.host.seen(&["a"]);
        let _ = scene.host.outputs(0, 10, 1 << 20);
    }
    std::fs::write(&file, whole).unwrap();
    assert_eq!(scene.host.outputs(0, 10, 1 << 20).unwrap().len(), 1);
}

/// Row of docs/spec/session-mailbox.md 5: "Hot journal".
#[test]
fn a_hot_journal_is_told_as_one_and_left_to_whoever_may_roll_it_back() {
    let scene = said();
    let outside = scene.outside();
    let names = ["outbound.db", "outbound.db-journal"];
    // As a writer leaves them that is killed when some of its pages are written and the transaction is not.
    let mut writer = scene.outbound();
    writer.execute_batch("PRAGMA cache_size = 5").unwrap();
    let transaction = writer.transaction().unwrap();
    for key in 0..200 {
        let sql = "INSERT INTO session_state(key, value, updated_at) VALUES (?1, hex(zeroblob(2000)), 0)";
        transaction.execute(sql, [key]).unwrap();
    }
    let left = names.map(|name| std::fs::read(outside.join(name)).unwrap());
    transaction.rollback().unwrap();
    drop(writer);
    for (name, bytes) in names.iter().zip(&left) {
        std::fs::write(outside.join(name), bytes).unwrap();
    }
    for _ in 0..3 {
        assert!(matches!(scene.host.seen(&[]), Err(Error::HotJournal)));
        assert!(matches!(scene.host.outputs(0, 10, 1 << 20), Err(Error::HotJournal)));
    }
    assert_eq!(names.map(|name| std::fs::read(outside.join(name)).unwrap()), left, "the host has written nothing");
    mailbox::agent::recover(&outside).unwrap();
    assert_eq!(scene.host.outputs(0, 10, 1 << 20).unwrap().len(), 1);
}

#[test]
fn a_session_beside_a_hostile_one_is_undisturbed() {
    let scene = said();
    let mut other =
        mailbox::FileHost::create(scene.folder.path(), "other", mailbox::host::Settings::default(), 0).unwrap();
    std::fs::remove_file(scene.host.places().outbound()).unwrap();
    pipe(&scene.host.places().outbound());
    hostile(&scene.host.seen(&[]));
    assert_eq!(other.begin(&Spawn::default(), 0).unwrap(), 1);
    assert_eq!(other.seen(&[]).unwrap(), None);
}
