//! A session without an agent, over the files of a mailbox.

use std::sync::mpsc;

use mailbox::FileHost;
use mailbox::config::{Agent, Limits, Reopen};
use mailbox::host::{HostMailbox as _, Outcome, Reading, Settings, Spawn};
use mailbox::message::NewMessage;

use serde_json::json;

use super::*;

struct Scene {
    _state: tempfile::TempDir,
    host: FileHost,
    session: Session,
}

fn scene() -> Scene {
    let state = tempfile::tempdir().unwrap();
    let mut host = FileHost::create(state.path(), "s", Settings::default(), 0).unwrap();
    let generation = host.begin(&Spawn::default(), 0).unwrap();
    let of = host.places().clone();
    let places = Places { inside: of.inside(), outside: of.outside(), work: of.work(), home: of.home() };
    let mailbox = FileAgent::open(&places.inside, &places.outside, host.mailbox_id(), generation).unwrap();
    let agent = Agent {
        id: "claude".into(),
        command: "/nowhere/agent".into(),
        args: Vec::new(),
        env_names: Vec::new(),
        cwd: String::new(),
        load: true,
        mode: None,
        declares_limits: BTreeMap::new(),
    };
    let limits =
        Limits { idle_exit_ms: 0, turn_limit_ms: 0, start_limit_ms: 1_000, orphan_limit_ms: 1 << 40, poll_ms: 100 };
    let config = Config {
        v: 1,
        session_id: "s".into(),
        mailbox_id: host.mailbox_id().to_owned(),
        generation,
        lease: 0,
        agent,
        limits,
        skills: Vec::new(),
        git_helper: false,
        reopen: Reopen::Always,
        transcript: None,
    };
    let (events, received) = mpsc::channel();
    let session = Session::new(mailbox, config, places, BTreeMap::new(), events, received).unwrap();
    Scene { _state: state, host, session }
}

/// Taken back while it was taken, and the host's file cannot be read when that is looked for.
#[test]
fn what_was_taken_waits_for_a_look_that_tells_whether_it_is_still_wanted() {
    for kind in ["prompt", PUSH] {
        let Scene { mut host, mut session, _state } = scene();
        let new = NewMessage { id: "m".into(), kind: kind.into(), content: "{}".into(), ..NewMessage::default() };
        host.insert(&new, 0).unwrap();
        session.taken = session.mailbox.look(log::now()).unwrap().fresh;
        let connection = rusqlite::Connection::open(host.places().inbound()).unwrap();
        connection.execute("UPDATE messages_in SET status = 'cancelled'", []).unwrap();
        drop(connection);
        let aside = host.places().inside().join("aside");
        std::fs::rename(host.places().inbound(), &aside).unwrap();
        assert_eq!(session.begin_taken().unwrap(), Flow::On);
        assert_eq!((session.taken.len(), session.look().unwrap()), (1, Flow::On), "{kind}: nothing is known yet");
        assert!(session.mailbox.ack("m").is_none());
        std::fs::rename(aside, host.places().inbound()).unwrap();
        assert_eq!(session.look().unwrap(), Flow::On);
        assert!(session.taken.is_empty());
        let ack = session.mailbox.ack("m").unwrap();
        assert_eq!((ack.status, ack.error.as_deref()), (AckStatus::Skipped, Some(reasons::CANCELLED)), "{kind}");
    }
}

#[test]
fn a_minute_without_a_good_look_is_the_end_and_one_good_look_begins_it_anew() {
    let Scene { host, mut session, _state } = scene();
    let aside = host.places().inside().join("aside");
    std::fs::rename(host.places().inbound(), &aside).unwrap();
    assert!(session.look_inside().unwrap().is_none());
    let ago = |session: &Session, seconds: u64| session.awake.now().checked_sub(Duration::from_secs(seconds)).unwrap();
    session.unreadable = Some(ago(&session, 59));
    assert!(session.look_inside().unwrap().is_none());
    session.unreadable = Some(ago(&session, 61));
    assert!(matches!(session.look_inside(), Err(Failure::Unreadable(_))));
    std::fs::rename(aside, host.places().inbound()).unwrap();
    assert!(session.look_inside().unwrap().is_some() && session.unreadable.is_none());
}

/// The file of an output that is not stored yet is the same as that of one which was taken.
#[test]
fn cleaning_up_leaves_the_files_of_what_is_still_to_be_stored() {
    let Scene { mut host, mut session, _state } = scene();
    let long = json!({"method": "session/update", "params": {"update": {"sessionUpdate": "plan", "text": "x".repeat(300_000)}}});
    session.tell_update(long.clone());
    session.flush().unwrap();
    let kept = std::fs::read_dir(host.places().outside().join(places::FILES)).unwrap().next().unwrap().unwrap().path();
    let outputs = host.outputs(0, 100, 1 << 20).unwrap();
    let ids = outputs.into_iter().filter_map(|reading| match reading {
        Reading::Good(output) => Some((output.id, Outcome::Delivered)),
        Reading::Bad { .. } => None,
    });
    host.record(&ids.collect::<Vec<_>>(), 0).unwrap();
    session.tell_update(long);
    session.clean_up().unwrap();
    assert!(kept.exists());
    let files = host.outputs(0, 100, 1 << 20).unwrap().into_iter().filter(|reading| match reading {
        Reading::Good(output) => output.kind == "file",
        Reading::Bad { .. } => false,
    });
    for reading in files {
        if let Reading::Good(output) = reading {
            host.record(&[(output.id, Outcome::Delivered)], 0).unwrap();
        }
    }
    session.clean_up().unwrap();
    assert!(!kept.exists());
}
