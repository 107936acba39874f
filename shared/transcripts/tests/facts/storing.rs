//! Snapshots in the store (facts 12–14, 16–19, 21–23, 31–33 of transcripts.md 3; the table of 4.4; sweeps and crashes of 6).

use pollster::block_on;
use proptest::prelude::*;
use transcripts::bundle::{Bundle, Described, Member};
use transcripts::limits::{GARBAGE_MS, INLINE_BYTES, KEPT_COMPLETED, KEPT_OTHERS_MS};
use transcripts::rules::{Outcome, Status};
use transcripts::store::Place;
use transcripts::{Refused, StoreError};

use crate::support::{World, noise, place, plain};

const NOW: i64 = 1_800_000_000_000;

fn keep(world: &World, at: &Place<'_>, status: Status, attempt: u64, bundle: &Bundle) -> Result<Outcome, Refused> {
    let kept = block_on(world.store().keep(at, status, attempt, bundle, NOW));
    world.check();
    kept.map_err(refusal)
}

fn refusal(error: StoreError) -> Refused {
    let StoreError::Refused(refused) = error else { unreachable!("{error}") };
    refused
}

fn complete(world: &World, at: &Place<'_>, bytes: &[u8]) -> Result<Outcome, Refused> {
    keep(world, at, Status::Completed, 1, &plain(bytes))
}

fn latest(world: &World, session: &str, user: &str, epoch: u64) -> Option<Vec<u8>> {
    let found = block_on(world.store().latest(session, user, epoch)).unwrap();
    found.map(|snapshot| snapshot.bundle.body().to_vec())
}

/// Fact 12, fact 13.
#[test]
fn the_last_completed_run_counts() {
    let world = World::new();
    assert_eq!(latest(&world, "s", "ann", 0), None);
    keep(&world, &place("s", "ann", "run-1", 1), Status::Failed, 1, &plain(b"failed")).unwrap();
    assert_eq!(latest(&world, "s", "ann", 0), None, "nothing has completed");
    complete(&world, &place("s", "ann", "run-2", 2), b"two").unwrap();
    for (seq, run, status) in
        [(3, "run-3", Status::Failed), (4, "run-4", Status::Timeout), (5, "run-5", Status::Cancelled)]
    {
        keep(&world, &place("s", "ann", run, seq), status, 1, &plain(b"later")).unwrap();
    }
    assert_eq!(latest(&world, "s", "ann", 0).unwrap(), b"two");
    assert_eq!(block_on(world.store().head("s")).unwrap().unwrap().seq, Some(2));
}

/// Facts 17 and 18: every cell of the table.
#[test]
fn a_second_upload_of_a_run_follows_the_table() {
    use Status::{Cancelled, Completed, Failed, Timeout};
    type Case = (Option<(Status, u64, &'static str)>, Status, u64, &'static str, Result<Outcome, Refused>);
    let cases: &[Case] = &[
        (None, Completed, 1, "a", Ok(Outcome::Store)),
        (None, Failed, 1, "a", Ok(Outcome::Store)),
        (Some((Completed, 2, "a")), Completed, 1, "a", Ok(Outcome::Same)),
        (Some((Failed, 2, "a")), Failed, 1, "a", Ok(Outcome::Same)),
        (Some((Failed, 2, "a")), Completed, 1, "b", Ok(Outcome::Store)),
        (Some((Timeout, 2, "a")), Completed, 1, "a", Ok(Outcome::Store)),
        (Some((Cancelled, 2, "a")), Completed, 9, "", Ok(Outcome::Store)),
        (Some((Completed, 1, "a")), Failed, 2, "ab", Err(Refused::CompletedExists)),
        (Some((Completed, 1, "a")), Cancelled, 1, "a", Err(Refused::CompletedExists)),
        (Some((Completed, 2, "a")), Completed, 1, "ab", Ok(Outcome::Store)),
        (Some((Completed, 2, "ab")), Completed, 1, "a", Err(Refused::StaleAttempt)),
        (Some((Completed, 2, "ab")), Completed, 2, "a", Err(Refused::Divergent)),
        (Some((Completed, 2, "ab")), Completed, 3, "ax", Err(Refused::Divergent)),
        (Some((Failed, 2, "a")), Timeout, 2, "b", Ok(Outcome::Store)),
        (Some((Failed, 2, "a")), Failed, 3, "b", Ok(Outcome::Store)),
        (Some((Failed, 2, "a")), Failed, 1, "b", Err(Refused::StaleAttempt)),
    ];
    for (stored, status, attempt, text, expected) in cases {
        let (world, at) = (World::new(), place("s", "ann", "run-1", 1));
        if let Some((status, attempt, text)) = stored {
            keep(&world, &at, *status, *attempt, &plain(text.as_bytes())).unwrap();
        }
        let case = format!("{stored:?} then {status:?} {attempt} {text}");
        assert_eq!(&keep(&world, &at, *status, *attempt, &plain(text.as_bytes())), expected, "{case}");
        let left = block_on(world.store().of_run("s", "ann", 0, "run-1")).unwrap().unwrap();
        let kept = match (expected, stored) {
            (Err(_), Some((_, _, stored))) => *stored,
            _ => *text,
        };
        assert_eq!(left.bundle.body(), kept.as_bytes(), "{case}");
    }
}

/// Fact 16, fact 23: the user is part of every question.
#[test]
fn equal_names_of_others_are_others() {
    let world = World::new();
    complete(&world, &place("s", "ann", "run-1", 1), b"ann's").unwrap();
    assert_eq!(latest(&world, "s", "bob", 0), None);
    assert_eq!(block_on(world.store().of_run("s", "bob", 0, "run-1")).unwrap(), None);
    assert_eq!(latest(&world, "t", "ann", 0), None);
    assert_eq!(latest(&world, "s", "ann", 1), None);
    assert_eq!(latest(&world, "s", "ann", 0).unwrap(), b"ann's");
}

/// Fact 21, fact 22, and what comes late from before a reset.
#[test]
fn a_reset_forgets_one_conversation() {
    let world = World::new();
    complete(&world, &place("s", "ann", "run-1", 1), &noise(1, INLINE_BYTES + 1)).unwrap();
    keep(&world, &place("s", "ann", "run-2", 2), Status::Failed, 1, &plain(b"x")).unwrap();
    block_on(world.store().keep_partial(&place("s", "ann", "run-3", 3), 1, &plain(&noise(2, 70_000)), NOW)).unwrap();
    complete(&world, &place("t", "ann", "run-1", 1), b"the neighbour").unwrap();
    assert_eq!(block_on(world.store().reset("s", "ann", 1, NOW)).unwrap(), 3);
    world.check();
    assert_eq!(latest(&world, "s", "ann", 0), None);
    assert_eq!(latest(&world, "t", "ann", 0).unwrap(), b"the neighbour");
    assert_eq!(block_on(world.store().reset("s", "ann", 1, NOW)).unwrap(), 0, "a second time there is nothing");
    for bytes in [noise(3, 10), noise(4, INLINE_BYTES + 1)] {
        assert_eq!(complete(&world, &place("s", "ann", "run-3", 3), &bytes), Err(Refused::EpochGone));
    }
    let partial = block_on(world.store().keep_partial(&place("s", "ann", "run-3", 3), 1, &plain(b"x"), NOW));
    assert_eq!(partial, Err(StoreError::Refused(Refused::EpochGone)));
    let later = Place { epoch: 1, ..place("s", "ann", "run-4", 4) };
    complete(&world, &later, b"anew").unwrap();
    assert_eq!(latest(&world, "s", "ann", 1).unwrap(), b"anew");
    block_on(world.store().sweep(NOW + GARBAGE_MS)).unwrap();
    world.check();
    assert!(world.objects.borrow().is_empty(), "nothing of the old conversation is left");
}

/// Fact 31, fact 33, fact 19: each turn has a row, and bytes stay bytes.
#[test]
fn bytes_come_back_as_they_were() {
    let world = World::new();
    let mut all = vec![noise(1, 600_000), b"\xff\xfe not text \xc3".to_vec(), b"a\r\nb\r\n".to_vec(), Vec::new()];
    all.extend([noise(5, (4 << 20) - 1), noise(6, 4 << 20)]);
    for (seq, bytes) in (1..).zip(&all) {
        complete(&world, &place("s", "ann", &format!("run-{seq}"), seq), bytes).unwrap();
        assert_eq!(&latest(&world, "s", "ann", 0).unwrap(), bytes);
    }
    let beyond = noise(7, (4 << 20) + 1);
    assert_eq!(complete(&world, &place("s", "ann", "run-7", 7), &beyond), Err(Refused::TooLarge));
    // A run that comes late is filed under its own number, and does not become the head.
    complete(&world, &place("t", "ann", "run-101", 101), b"101").unwrap();
    complete(&world, &place("t", "ann", "run-100", 100), b"100").unwrap();
    assert_eq!(latest(&world, "t", "ann", 0).unwrap(), b"101");
    assert_eq!(block_on(world.store().of_run("t", "ann", 0, "run-100")).unwrap().unwrap().bundle.body(), b"100");
    assert_eq!(block_on(world.store().head("t")).unwrap().unwrap().seq, Some(101));
    // Nothing of it lies in clear.
    let stored = world.rows("SELECT inline FROM transcript_snapshots WHERE session_id = 't'");
    assert!(stored.iter().all(|row| row.text(0).unwrap().len() > 20));
}

#[test]
fn what_is_kept_of_a_user_has_a_quota() {
    let mut world = World::new();
    world.quota = Some(1_000);
    complete(&world, &place("s", "ann", "run-1", 1), &noise(1, 600)).unwrap();
    assert_eq!(complete(&world, &place("t", "ann", "run-1", 1), &noise(2, 401)), Err(Refused::Quota));
    complete(&world, &place("t", "ann", "run-1", 1), &noise(2, 400)).unwrap();
    // What takes the place of something counts alone; unfinished turns count too.
    complete(&world, &place("t", "ann", "run-1", 1), &[noise(2, 400), Vec::new()].concat()).unwrap();
    let at = place("s", "ann", "run-2", 2);
    let partial = block_on(world.store().keep_partial(&at, 1, &plain(b"x"), NOW));
    assert_eq!(partial, Err(StoreError::Refused(Refused::Quota)));
    // Others have their own.
    complete(&world, &place("u", "bob", "run-1", 1), &noise(3, 1_000)).unwrap();
    assert_eq!(latest(&world, "t", "ann", 0).unwrap(), noise(2, 400));
    world.check();
}

/// Fact 32, and unfinished turns: they are offered, never gone on from.
#[test]
fn unfinished_turns_are_set_apart() {
    let world = World::new();
    complete(&world, &place("s", "ann", "run-1", 1), b"one").unwrap();
    let at = place("s", "ann", "run-2", 2);
    for bytes in [noise(1, 100), noise(2, 100_000), noise(3, 100)] {
        block_on(world.store().keep_partial(&at, 1, &plain(&bytes), NOW)).unwrap();
        world.check();
        let partial = block_on(world.store().of_run("s", "ann", 0, "run-2")).unwrap().unwrap();
        assert_eq!((partial.status, partial.bundle.body()), (None, bytes.as_slice()));
        assert_eq!(latest(&world, "s", "ann", 0).unwrap(), b"one", "a worker that dies leaves the turn before");
    }
    complete(&world, &at, b"two").unwrap();
    let refused = block_on(world.store().keep_partial(&at, 1, &plain(b"late"), NOW));
    assert_eq!(refused, Err(StoreError::Refused(Refused::CompletedExists)));
    assert_eq!(world.count("SELECT COUNT(*) FROM transcript_snapshots WHERE partial_manifest IS NOT NULL"), 0);
}

#[test]
fn a_missing_body_is_passed_over() {
    let world = World::new();
    complete(&world, &place("s", "ann", "run-1", 1), b"one").unwrap();
    complete(&world, &place("s", "ann", "run-2", 2), &noise(1, 100_000)).unwrap();
    world.objects.borrow_mut().clear();
    assert_eq!(latest(&world, "s", "ann", 0).unwrap(), b"one");
    let missing = block_on(world.store().of_run("s", "ann", 0, "run-2"));
    assert_eq!(missing, Err(StoreError::Refused(Refused::BodyMissing)));
    let damaged = World::new();
    complete(&damaged, &place("s", "ann", "run-1", 1), &noise(1, 100_000)).unwrap();
    for bytes in damaged.objects.borrow_mut().values_mut() {
        bytes[20] ^= 1;
    }
    let error = block_on(damaged.store().latest("s", "ann", 0)).unwrap_err();
    assert_eq!(error, StoreError::Refused(Refused::BodyMissing), "never changed bytes");
}

#[test]
fn old_snapshots_go() {
    let world = World::new();
    for seq in 1..=8 {
        complete(&world, &place("s", "ann", &format!("run-{seq}"), seq), &noise(seq, 70_000)).unwrap();
    }
    assert_eq!(world.count("SELECT COUNT(*) FROM transcript_snapshots"), i64::try_from(KEPT_COMPLETED).unwrap());
    assert_eq!(world.count("SELECT MIN(run_seq) FROM transcript_snapshots"), 4);
    assert_eq!(world.objects.borrow().len(), 8, "somebody may still be reading");
    keep(&world, &place("s", "ann", "run-9", 9), Status::Failed, 1, &plain(&noise(9, 70_000))).unwrap();
    block_on(world.store().sweep(NOW + GARBAGE_MS - 1)).unwrap();
    assert_eq!(world.objects.borrow().len(), 9);
    assert_eq!(block_on(world.store().sweep(NOW + GARBAGE_MS)).unwrap(), 3);
    let later = NOW + KEPT_OTHERS_MS;
    block_on(world.store().sweep(later)).unwrap();
    assert_eq!(world.count("SELECT COUNT(*) FROM transcript_snapshots WHERE status = 'failed'"), 0);
    block_on(world.store().sweep(later + GARBAGE_MS)).unwrap();
    assert_eq!(world.objects.borrow().len(), KEPT_COMPLETED);
    world.check();
}

/// The machine is gone after any step, done or not; what is left is told apart by the next sweep.
#[test]
fn a_crash_leaves_neither_orphans_nor_dangling_rows() {
    let mut rounds = 0;
    for does_it in [false, true] {
        for steps in 0..12 {
            let (world, at) = (World::new(), place("s", "ann", "run-1", 1));
            complete(&world, &place("s", "ann", "run-0", 0), &noise(0, 70_000)).unwrap();
            complete(&world, &at, &noise(1, 70_000)).unwrap();
            let longer = [noise(1, 70_000), noise(2, 70_000)].concat();
            world.crash.left.set(Some(steps + 1));
            world.crash.does_it.set(does_it);
            let kept = block_on(world.store().keep(&at, Status::Completed, 1, &plain(&longer), NOW + 1));
            let reset = block_on(world.store().reset("s", "ann", 1, NOW + 2));
            let swept = block_on(world.store().sweep(NOW + 3 * GARBAGE_MS));
            world.crash.left.set(None);
            let is_whole = kept.is_ok() && reset.is_ok() && swept.is_ok();
            rounds += usize::from(!is_whole);
            world.check();
            let found = latest(&world, "s", "ann", 0);
            assert!(found.is_none_or(|body| body == longer || body == noise(1, 70_000)), "{steps} {does_it}");
            block_on(world.store().sweep(NOW + 9 * GARBAGE_MS)).unwrap();
            world.check();
            assert_eq!(world.count("SELECT COUNT(*) FROM transcript_garbage"), 0);
        }
    }
    assert!(rounds >= 12, "{rounds} crashes");
}

/// Bundles of several files: every file must be there and go on.
#[test]
fn all_files_of_a_bundle_go_on() {
    let bundle = |files: &[(&str, &str)]| {
        let member = |(path, text): &(&str, &str)| -> Member { ((*path).to_owned(), 0o600, text.as_bytes().to_vec()) };
        Bundle::new(Described::default(), files.iter().map(member).collect(), 1_000).unwrap()
    };
    let first = bundle(&[("a", "1"), ("b", "2")]);
    for (files, expected) in [
        (&[("a", "1x"), ("b", "2")][..], Ok(Outcome::Store)),
        (&[("a", "1"), ("b", "2y"), ("c", "3")], Ok(Outcome::Store)),
        (&[("a", "1"), ("b", "2")], Ok(Outcome::Same)),
        (&[("a", "1x")], Err(Refused::Divergent)),
        (&[("a", "12")], Err(Refused::Divergent)),
        (&[("a", "x"), ("b", "2")], Err(Refused::Divergent)),
        (&[("a", "2"), ("b", "1")], Err(Refused::Divergent)),
    ] {
        let (world, at) = (World::new(), place("s", "ann", "run-1", 1));
        keep(&world, &at, Status::Completed, 1, &first).unwrap();
        assert_eq!(keep(&world, &at, Status::Completed, 1, &bundle(files)), expected, "{files:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Two uploaders of one run: whatever the order, what is stored is the longest extension of what came first.
    #[test]
    fn the_longest_accepted_extension_stays(
        uploads in prop::collection::vec((0_usize..40, any::<bool>(), 1_u64..4), 1..12)
    ) {
        let world = World::new();
        let at = place("s", "ann", "run-1", 1);
        let text = noise(42, 40);
        let mut expected: Option<Vec<u8>> = None;
        for (length, is_other, attempt) in uploads {
            let mut bytes = text[..length].to_vec();
            if is_other && length > 0 {
                bytes[0] ^= 1;
            }
            let extends = expected.as_ref().is_none_or(|stored| bytes.starts_with(stored));
            let kept = keep(&world, &at, Status::Completed, attempt, &plain(&bytes));
            prop_assert_eq!(kept.is_ok(), extends);
            if extends {
                expected = Some(bytes);
            }
            prop_assert_eq!(latest(&world, "s", "ann", 0), expected.clone());
        }
    }
}
