use std::collections::BTreeSet;
use std::time::Duration;

use mailbox::host::{HostMailbox as _, Settings, Spawn};
use mailbox::message::NewMessage;
use mailbox::{Error, FileHost};

use crate::place::{Place, Running, is_whole, rounds};

/// A small generator with a fixed seed.
fn pauses() -> impl Iterator<Item = Duration> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        Duration::from_micros(random % 30_000)
    })
}

fn stored(file: &std::path::Path, sql: &str) -> BTreeSet<String> {
    let connection = rusqlite::Connection::open(file).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_host_that_is_killed_at_any_moment_loses_no_message_that_it_acknowledged() {
    let place = Place::new();
    let (mut told, mut next) = (BTreeSet::new(), 0);
    for pause in pauses().take(usize::try_from(rounds(250, 25)).unwrap()) {
        let words = [place.state().to_str().unwrap().to_owned(), next.to_string()];
        let mut host = Running::side("host", &words);
        // From its first word on, for a random time.
        told.insert(host.line());
        std::thread::sleep(pause);
        told.extend(host.kill());
        // The next start rolls back; a message that was not acknowledged may be there all the same.
        let opened = place.host();
        is_whole(&opened.places().inbound());
        let there = stored(&opened.places().inbound(), "SELECT substr(id, 2) FROM messages_in");
        assert!(told.is_subset(&there), "{:?}", told.difference(&there));
        next = there.iter().map(|n| n.parse::<u64>().unwrap() + 1).max().unwrap_or_default();
    }
}

#[test]
fn an_agents_side_that_is_killed_at_any_moment_loses_nothing_that_it_said() {
    let place = Place::new();
    let mut host = place.host();
    let mut told = BTreeSet::new();
    for pause in pauses().take(usize::try_from(rounds(250, 25)).unwrap()) {
        host.apply(&[], true, 0).unwrap();
        let generation = host.begin(&Spawn::default(), 0).unwrap();
        let mut agent = Running::side("agent", &Place::agent(&host, generation));
        told.insert(agent.line());
        std::thread::sleep(pause);
        told.extend(agent.kill());
        // The host may find a journal that waits, and does not touch it.
        match host.outputs(0, 10, 1 << 20) {
            Ok(_) | Err(Error::HotJournal) => {}
            Err(other) => panic!("{other:?}"),
        }
        mailbox::agent::recover(&host.places().outside()).unwrap();
        let there = stored(&host.places().outbound(), "SELECT CAST(seq AS TEXT) FROM messages_out");
        assert!(told.is_subset(&there), "{:?}", told.difference(&there));
    }
    let mut prev = 0;
    for reading in host.outputs(0, usize::MAX >> 1, usize::MAX >> 1).unwrap() {
        let mailbox::host::Reading::Good(output) = reading else { panic!() };
        assert_eq!(output.prev, Some(prev), "one chain over all processes");
        prev = output.seq;
    }
}

/// Row of docs/spec/session-mailbox.md 5: "Hot journal".
#[test]
fn a_journal_that_a_killed_writer_left_is_rolled_back_by_whoever_may() {
    let place = Place::new();
    let mut host = place.host();
    host.insert(
        &NewMessage { id: "m".into(), kind: "prompt".into(), content: "{}".into(), ..NewMessage::default() },
        0,
    )
    .unwrap();
    let generation = host.begin(&Spawn::default(), 0).unwrap();
    let mut agent = Running::side("agent", &Place::agent(&host, generation));
    agent.line();
    drop(agent);
    mailbox::agent::recover(&host.places().outside()).unwrap();
    let said = host.outputs(0, 1_000_000, 1 << 30).unwrap().len();

    // The agent's side: the host reads an error until the other side is opened for writing.
    let outbound = host.places().outbound();
    let mut holder = Running::side("hold", &[outbound.to_str().unwrap().to_owned()]);
    assert_eq!(holder.line(), "held");
    assert!(matches!(host.seen(&[]), Err(Error::Busy)), "with a living writer it waits");
    drop(holder);
    for _ in 0..3 {
        assert!(matches!(host.seen(&[]), Err(Error::HotJournal)));
    }
    mailbox::agent::recover(&host.places().outside()).unwrap();
    assert_eq!(host.outputs(0, 1_000_000, 1 << 30).unwrap().len(), said);

    // The host's side: the agent's side reads an error until a host starts.
    let inbound = host.places().inbound();
    let mut holder = Running::side("hold", &[inbound.to_str().unwrap().to_owned()]);
    assert_eq!(holder.line(), "held");
    drop(holder);
    let places = host.places().clone();
    let mut agent =
        mailbox::FileAgent::open(&places.inside(), &places.outside(), host.mailbox_id(), generation).unwrap();
    let looked = mailbox::AgentMailbox::look(&mut agent, 0);
    assert!(matches!(looked, Err(Error::HotJournal)), "{looked:?}");
    drop(FileHost::open(places, Settings::default(), 0).unwrap());
    assert_eq!(mailbox::AgentMailbox::look(&mut agent, 0).unwrap().fresh.len(), 1);
    is_whole(&inbound);
}
