//! Data directories that cannot be used, and odd things in them.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::harness::{A, Place, Ran};

const NOBODY: u32 = 65534;

fn mode(path: &Path, bits: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(bits)).unwrap();
}

/// Whether the tests run as root.
fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0
}

/// Runs `server WORDS` as a user without rights. Only root can: for others the same is tried as they are.
fn as_nobody(place: &Place, words: &str) -> Ran {
    let program = place.root().join("program");
    if !program.exists() {
        std::fs::copy(A, &program).unwrap();
    }
    mode(&place.root(), 0o755);
    let mut command = if is_root() {
        let mut command = place.command("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program);
        for owned in [place.data(), &place.lock()] {
            if owned.exists() {
                chown(owned, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        command
    } else {
        place.command(program.to_str().unwrap())
    };
    command.arg("server").args(words.split(' ')).arg("--data-dir").arg(place.data()).arg("--json");
    place.run(command)
}

#[test]
fn fact_15_an_unwritable_directory_is_named() {
    let place = Place::new();
    std::fs::create_dir(place.data()).unwrap();
    mode(place.data(), 0o500);
    let refused = as_nobody(&place, "start");
    assert_eq!((refused.code, refused.error()), (77, "root-dir-permission"), "{refused:?}");
    assert_eq!(refused.json["error"]["path"].as_str(), place.data().to_str());
    mode(place.data(), 0o700);
    std::fs::write(place.lock(), "").unwrap();
    mode(&place.lock(), 0o000);
    let refused = as_nobody(&place, "start");
    assert_eq!((refused.code, refused.error()), (77, "root-dir-permission"), "{refused:?}");
    assert_eq!(refused.json["error"]["path"].as_str(), place.lock().to_str());
    mode(&place.lock(), 0o600);
    let started = as_nobody(&place, "start");
    assert_eq!(started.code, 0, "{started:?}");
    // Another user may look, and may not manage.
    if started.data()["pid"].is_u64() {
        assert_eq!(as_nobody(&place, "stop").code, 0);
    }
}

#[test]
fn directories_of_others_are_refused() {
    let place = Place::new();
    std::fs::create_dir(place.data()).unwrap();
    for bits in [0o702, 0o777, 0o1777] {
        mode(place.data(), bits);
        let refused = place.server("start");
        assert_eq!((refused.code, refused.error()), (77, "data-dir-permissions"), "{bits:o}");
    }
    mode(place.data(), 0o700);
    if is_root() {
        chown(place.data(), Some(NOBODY), None).unwrap();
        let refused = place.server("start");
        assert_eq!((refused.code, refused.error()), (77, "data-dir-permissions"));
        chown(place.data(), Some(0), None).unwrap();
    }
    let open = place.root().join("open");
    std::fs::create_dir(&open).unwrap();
    mode(&open, 0o777);
    symlink(place.data(), open.join("link")).unwrap();
    let mut command = place.command(A);
    command.args(["server", "start", "--json", "--data-dir", "open/link"]);
    let refused = place.run(command);
    assert_eq!((refused.code, refused.error()), (77, "data-dir-permissions"));
    assert_eq!(place.server("start").code, 0);
}

/// Runs a script in mounts of its own, with a data directory of one of them.
fn mounted(place: &Place, script: &str) -> Ran {
    std::fs::create_dir_all(place.data()).unwrap();
    mode(place.data(), 0o700);
    let mut command = place.command("unshare");
    let whole = format!("{script}; exec \"$A\" server start --data-dir \"$D\" --json");
    command.args(["-Urm", "sh", "-c", &whole]).env("A", A).env("D", place.data());
    place.run(command)
}

#[test]
fn read_only_media_are_told() {
    let place = Place::new();
    let refused = mounted(&place, r#"mount --bind "$D" "$D" && mount -o remount,bind,ro "$D""#);
    assert_eq!((refused.code, refused.error()), (73, "data-dir-read-only"), "{refused:?}");
}

#[test]
fn a_full_disk_is_told() {
    let place = Place::new();
    let full = r#"mount -t tmpfs -o size=64k,mode=0700 none "$D"; dd if=/dev/zero of="$D/fill" bs=4k 2> /dev/null"#;
    let refused = mounted(&place, full);
    assert_eq!((refused.code, refused.error()), (74, "io-error"), "{refused:?}");
}

#[test]
fn odd_metadata_stops_nothing_and_nobody() {
    let long = vec![b' '; 10 << 20];
    let contents: [&[u8]; 6] = [b"", b"{\"pid\":", b"\0\xff\xfe", b"[]", b"{\"pid\":-1}", &long];
    let place = Place::new();
    for content in contents {
        std::fs::create_dir_all(place.data()).unwrap();
        mode(place.data(), 0o700);
        std::fs::write(place.data().join("daemon.json"), content).unwrap();
        let begun = Instant::now();
        assert_eq!(place.server("status").code, 3);
        assert_eq!(place.server("list").code, 0);
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert_eq!(place.server("start").data()["started"], true);
        if content.len() != 2 {
            assert_eq!(place.server("stop").code, 0);
            continue;
        }
        // While a daemon runs: its lock is held, and nobody is named.
        std::fs::write(place.data().join("daemon.json"), content).unwrap();
        assert_eq!(place.server("status").data()["status"], "starting");
        let started = place.server("start");
        // Who holds the lock and cannot be named is an orphan after a while.
        assert_eq!(started.data()["recovered_pids"].as_array().unwrap().len(), 1);
        assert_eq!(place.server("stop").code, 0);
    }
}

/// A Logseq client of its own has a graph open here.
#[test]
fn a_living_client_of_logseq_is_not_disturbed() {
    let place = Place::new();
    let graph = place.data().join("graphs/notes");
    std::fs::create_dir_all(&graph).unwrap();
    mode(place.data(), 0o700);
    let lock = graph.join("db-worker.lock");
    let content =
        format!(r#"{{"repo":"logseq_db_notes","pid":{},"lock-id":"x","owner-source":"electron"}}"#, std::process::id());
    std::fs::write(&lock, &content).unwrap();
    for words in ["start", "start --graph notes"] {
        let refused = place.server(words);
        assert_eq!((refused.code, refused.error()), (75, "repo-locked"), "{refused:?}");
        assert_eq!(refused.json["error"]["legacy"], true);
    }
    let doctor = place.server("doctor");
    assert_eq!(doctor.code, 74);
    assert!(doctor.stdout.contains("legacy-lock"));
    assert_eq!(std::fs::read_to_string(&lock).unwrap(), content);
    std::fs::write(&lock, r#"{"repo":"notes","pid":2147483000}"#).unwrap();
    assert_eq!(place.server("start").code, 0);
    assert!(lock.exists());
}
