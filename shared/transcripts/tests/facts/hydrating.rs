//! Conversations on real files (transcripts.md 4.6, 4.7): written, kept, read, and what a crash leaves.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use pollster::block_on;
use transcripts::bundle::{Bundle, Described, Member};
use transcripts::capture::{CaptureError, capture};
use transcripts::hydrate::{HydrateError, Hydrated, Mark, hydrate, is_current};
use transcripts::limits::HYDRATE_PAUSES_MS;
use transcripts::places::Places;
use transcripts::target::TargetError;

use crate::support::{Folder, Machine, noise};

const LIMIT: usize = 4 << 20;
const FILE: &str = ".claude/projects/-w/s.jsonl";

fn mark(seq: u64) -> Mark {
    Mark { session: "häßlich/../s".into(), epoch: 1, run_seq: seq }
}

fn bundle(files: &[(&str, &[u8])]) -> Bundle {
    let member = |(path, bytes): &(&str, &[u8])| -> Member { ((*path).to_owned(), 0o600, bytes.to_vec()) };
    Bundle::new(Described::default(), files.iter().map(member).collect(), LIMIT).unwrap()
}

/// Facts 1 and 2 of transcripts.md 3: byte for byte, in folders that come to be.
#[test]
fn files_are_written_as_they_were() {
    let (home, machine) = (Folder::new("written"), Machine::default());
    let bytes = [noise(1, 600_000), b"\xff\xfe\r\n".to_vec()].concat();
    let whole = bundle(&[(FILE, &bytes), (".claude/empty", b"")]);
    assert_eq!(block_on(hydrate(&machine, home.home(), &mark(1), &whole)), Ok(Hydrated::Written));
    assert_eq!(fs::read(home.path(FILE)).unwrap(), bytes);
    assert_eq!(fs::metadata(home.path(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read(home.path(".claude/empty")).unwrap(), b"");
    let names: Vec<_> =
        fs::read_dir(home.path(".claude/projects/-w")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["s.jsonl"], "nothing is left over");
}

#[test]
fn what_is_current_is_kept_and_everything_else_is_not() {
    let (home, machine) = (Folder::new("kept"), Machine::default());
    let (first, second) = (bundle(&[(FILE, b"one\n")]), bundle(&[(FILE, b"one\ntwo\n")]));
    let put = |mark: &Mark, bundle: &Bundle| block_on(hydrate(&machine, home.home(), mark, bundle)).unwrap();
    assert_eq!(put(&mark(2), &second), Hydrated::Written);
    assert_eq!(put(&mark(2), &second), Hydrated::Kept);
    assert_eq!(put(&mark(1), &first), Hydrated::Kept, "a later one is there");
    assert!(block_on(is_current(&machine, home.home(), &mark(2))).unwrap());
    assert!(!block_on(is_current(&machine, home.home(), &mark(3))).unwrap());
    // The next turn has begun to write: what it wrote is not completed.
    fs::write(home.path(FILE), b"one\ntwo\nhalf").unwrap();
    assert_eq!(put(&mark(2), &second), Hydrated::Written);
    assert_eq!(fs::read(home.path(FILE)).unwrap(), b"one\ntwo\n");
    let other = Mark { epoch: 2, ..mark(1) };
    assert_eq!(put(&other, &first), Hydrated::Written, "a conversation that was begun anew");
    let stranger = Mark { session: "t".into(), ..mark(9) };
    assert!(!block_on(is_current(&machine, home.home(), &stranger)).unwrap());
}

#[test]
fn a_link_is_replaced_and_not_followed() {
    let (home, outside, machine) = (Folder::new("link"), Folder::new("outside"), Machine::default());
    fs::create_dir_all(home.path(".claude/projects/-w")).unwrap();
    fs::write(outside.path("target"), b"untouched").unwrap();
    symlink(outside.path("target"), home.path(FILE)).unwrap();
    block_on(hydrate(&machine, home.home(), &mark(1), &bundle(&[(FILE, b"x\n")]))).unwrap();
    assert_eq!(fs::read(outside.path("target")).unwrap(), b"untouched");
    assert!(fs::symlink_metadata(home.path(FILE)).unwrap().is_file());
}

#[test]
fn what_is_out_of_reach_is_tried_again_and_then_told() {
    let (home, machine) = (Folder::new("reach"), Machine::default());
    machine.unreachable.set(2);
    let one = bundle(&[(FILE, b"x\n")]);
    assert_eq!(block_on(hydrate(&machine, home.home(), &mark(1), &one)), Ok(Hydrated::Written));
    assert_eq!(machine.paused.take(), &HYDRATE_PAUSES_MS[..2]);
    machine.unreachable.set(usize::MAX);
    let failed = block_on(hydrate(&machine, home.home(), &mark(2), &one));
    assert_eq!(failed, Err(HydrateError::Target(TargetError::Unreachable("away".into()))));
    assert_eq!(machine.paused.take(), HYDRATE_PAUSES_MS);
}

/// A child process that writes a conversation and is gone at one of its steps.
#[test]
fn a_crash_leaves_the_old_files_or_the_new_ones() {
    const CHILD: &str = "TRANSCRIPTS_CHILD";
    let old: Vec<Vec<u8>> = (0..3).map(|n| noise(n, 3_000)).collect();
    let new: Vec<Vec<u8>> = (0..3).map(|n| noise(n + 10, 5_000)).collect();
    let of = |all: &[Vec<u8>]| bundle(&[(FILE, &all[0]), (".claude/b", &all[1]), ("c", &all[2])]);
    if let Ok(text) = std::env::var(CHILD) {
        let (steps, home) = text.split_once(' ').unwrap();
        let machine = Machine::default();
        machine.dies_after.set(Some(steps.parse().unwrap()));
        block_on(hydrate(&machine, home, &mark(2), &of(&new))).unwrap();
        return;
    }
    let machine = Machine::default();
    let (mut crashes, mut whole) = (0, 0);
    for round in 0..200_usize {
        let home = Folder::new("crash");
        block_on(hydrate(&machine, home.home(), &mark(1), &of(&old))).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "hydrating::a_crash_leaves_the_old_files_or_the_new_ones"])
            .env(CHILD, format!("{} {}", round % 40, home.home()))
            .output()
            .unwrap();
        crashes += usize::from(!child.status.success());
        for (n, path) in [FILE, ".claude/b", "c"].iter().enumerate() {
            let found = fs::read(home.path(path)).unwrap();
            assert!(found == old[n] || found == new[n], "round {round}: {path} is a mixture");
        }
        if block_on(is_current(&machine, home.home(), &mark(2))).unwrap() {
            whole += 1;
            for (n, path) in [FILE, ".claude/b", "c"].iter().enumerate() {
                assert_eq!(fs::read(home.path(path)).unwrap(), new[n], "the watermark is newer than the data");
            }
        }
        // Whoever comes next finds its way.
        block_on(hydrate(&machine, home.home(), &mark(2), &of(&new))).unwrap();
        assert_eq!(fs::read(home.path(FILE)).unwrap(), new[0]);
    }
    assert!(crashes > 100 && whole > 10, "{crashes} crashes, {whole} whole");
}

#[test]
fn a_conversation_is_read_when_it_rests() {
    let (home, machine) = (Folder::new("rests"), Machine::default());
    let patterns = Places::default().of("claude", "s", "/w");
    let read = || block_on(capture(&machine, home.home(), &patterns, LIMIT));
    assert_eq!(read(), Err(CaptureError::Nothing));
    fs::create_dir_all(home.path(".claude/projects/-w")).unwrap();
    fs::write(home.path(FILE), b"").unwrap();
    assert_eq!(read(), Err(CaptureError::Nothing));
    // The agent is still writing: three lines come while it is looked at.
    let (path, mut left) = (home.path(FILE), 3);
    *machine.at_pause.borrow_mut() = Box::new(move || {
        if left > 0 {
            left -= 1;
            let text = fs::read(&path).unwrap();
            fs::write(&path, [text, b"line\n".to_vec()].concat()).unwrap();
        }
    });
    let members = read().unwrap();
    assert_eq!(members, [(FILE.to_owned(), 0o600, b"line\nline\nline\n".to_vec())]);
    let (path, mut n) = (home.path(FILE), 0_u64);
    *machine.at_pause.borrow_mut() = Box::new(move || {
        n += 1;
        fs::write(&path, noise(n, 10)).unwrap();
    });
    assert_eq!(read(), Err(CaptureError::Unsettled));
}

#[test]
fn only_plain_files_of_the_session_are_read() {
    let (home, machine) = (Folder::new("plain"), Machine::default());
    let day = ".codex/sessions/2026/01/02";
    fs::create_dir_all(home.path(day)).unwrap();
    fs::write(home.path("secret"), b"secret").unwrap();
    fs::write(home.path(&format!("{day}/rollout-1-s.jsonl")), b"mine\n").unwrap();
    fs::write(home.path(&format!("{day}/rollout-1-t.jsonl")), b"other\n").unwrap();
    symlink(home.path("secret"), home.path(&format!("{day}/rollout-2-s.jsonl"))).unwrap();
    let patterns = Places::default().of("codex", "s", "/w");
    let members = block_on(capture(&machine, home.home(), &patterns, LIMIT)).unwrap();
    assert_eq!(members, [(format!("{day}/rollout-1-s.jsonl"), 0o600, b"mine\n".to_vec())]);
    let claude = Places::default().of("claude", "s", "/w");
    fs::create_dir_all(home.path(".claude/projects/-w")).unwrap();
    symlink(home.path("secret"), home.path(FILE)).unwrap();
    assert_eq!(block_on(capture(&machine, home.home(), &claude, LIMIT)), Err(CaptureError::Nothing));
    assert_eq!(block_on(capture(&machine, home.home(), &patterns, 4)), Err(CaptureError::TooLarge));
}
