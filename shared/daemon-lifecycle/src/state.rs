//! What a client sees of a daemon (docs/spec/daemon.md 4.4). Pure: everything that was looked at comes in.

use std::time::{Duration, Instant};

use crate::identity::{Reason, Verdict};
use crate::lock::Held;
use crate::record::{Reading, Status};
use crate::{Limits, Owner};

/// What a daemon's health said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The HTTP status: 200 alone means ready.
    pub status: u16,
    /// The id of the daemon's hold of its lock.
    pub lock_id: String,
    /// Its revision, if it told a trusted client.
    pub revision: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its owner.
    pub owner: Option<Owner>,
    /// How many clients were there lately.
    pub clients: Option<u64>,
}

/// How the last probes came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Probe {
    /// None was made.
    #[default]
    NotMade,
    /// It answered.
    Answered(Health),
    /// It did not.
    Silent(Silence),
}

/// What is known of a daemon that does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Probes in a row.
    pub misses: u32,
    /// Since the first of them.
    pub lasting: Duration,
    /// Whether it computed between the last two probes.
    pub computed: bool,
    /// The letter of its state.
    pub state: char,
}

/// Follows the probes of one daemon.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    misses: u32,
    first_miss: Option<Instant>,
    cpu: Option<u64>,
}

impl Watch {
    /// Takes in that a probe was answered.
    pub fn answered(&mut self) {
        *self = Self::default();
    }

    /// Takes in that a probe was not answered, by a process of this state that has computed so many ticks. `now` is of the
    /// clock that stands still while the machine sleeps.
    pub fn missed(&mut self, now: Instant, state: char, cpu: u64) -> Silence {
        self.misses = self.misses.saturating_add(1);
        let first = *self.first_miss.get_or_insert(now);
        let computed = self.cpu.is_some_and(|before| cpu > before);
        self.cpu = Some(cpu);
        Silence { misses: self.misses, lasting: now.saturating_duration_since(first), computed, state }
    }
}

/// Everything that was looked at.
#[derive(Clone, Debug)]
pub struct Look<'a> {
    /// The lock.
    pub held: Held,
    /// The metadata.
    pub reading: &'a Reading,
    /// Whether the process of the metadata is there.
    pub verdict: Option<Verdict>,
    /// Since when this client sees a held lock without metadata of a living process.
    pub unnamed_for: Duration,
    /// Whether a daemon lives without the lock, or holds it without a word.
    pub orphans: bool,
    /// Its health.
    pub probe: &'a Probe,
    /// Who asks.
    pub requester: Owner,
    /// The revision of the program that asks.
    pub revision: &'a str,
}

/// What is seen of a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// None runs.
    Stopped,
    /// One runs that lost its lock, or that holds it and never said what it is.
    Orphan,
    /// One runs where it cannot be managed.
    Remote(Reason),
    /// One starts.
    Starting,
    /// One ends.
    Stopping,
    /// One does not answer any more.
    Hung,
    /// One does not answer at the moment.
    Busy,
    /// The metadata is of another daemon than the one that answers: to be read again.
    Stale,
    /// Its metadata is of a form that this program does not know.
    TooNew,
    /// One answers that is another build.
    Mismatch,
    /// One answers that belongs to somebody else.
    Foreign,
    /// One answers.
    Ready,
}

impl State {
    /// The name in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Orphan => "orphan",
            Self::Remote(_) => "remote",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Hung => "hung",
            Self::Busy | Self::Stale => "busy",
            Self::TooNew => "too-new",
            Self::Mismatch => "mismatch",
            Self::Foreign => "foreign",
            Self::Ready => "ready",
        }
    }

    /// The exit code of `server status`. `answers` says whether the daemon's health was heard.
    pub fn exit(self, answers: bool) -> u8 {
        match self {
            Self::Ready | Self::Foreign => 0,
            Self::Remote(_) if answers => 0,
            Self::Stopped => 3,
            Self::Starting | Self::Stopping | Self::Busy | Self::Stale => 4,
            Self::Hung | Self::Orphan => 5,
            Self::Mismatch => 6,
            Self::Remote(_) | Self::TooNew => 7,
        }
    }
}

/// Says what is seen, by the table of docs/spec/daemon.md 4.4 from top to bottom.
pub fn classify(look: &Look<'_>, limits: &Limits) -> State {
    if look.held == Held::Free {
        return if look.orphans { State::Orphan } else { State::Stopped };
    }
    if matches!(look.reading, Reading::TooNew { .. }) {
        return State::TooNew;
    }
    let record = match (look.reading.record(), look.verdict) {
        (Some(_), Some(Verdict::Elsewhere(reason))) => return State::Remote(reason),
        (Some(record), Some(Verdict::Same)) => record,
        // Somebody holds the lock who has not said yet what it is.
        _ if look.unnamed_for >= limits.metadata && look.orphans => return State::Orphan,
        _ => return State::Starting,
    };
    match (record.status, look.probe) {
        // A frozen daemon neither starts nor ends.
        (_, Probe::Silent(silence)) if silence.state == 'T' => State::Hung,
        (Status::Starting, _) => State::Starting,
        (Status::Stopping, _) => State::Stopping,
        (Status::Ready, Probe::NotMade) => State::Busy,
        (Status::Ready, Probe::Silent(silence)) => silent(*silence, limits),
        (Status::Ready, Probe::Answered(health)) if health.lock_id != record.lock_id => State::Stale,
        (Status::Ready, Probe::Answered(health)) if health.status != 200 => State::Busy,
        (Status::Ready, Probe::Answered(health)) => {
            let revision = health.revision.as_deref().unwrap_or(&record.revision);
            let owner = health.owner.unwrap_or(record.owner);
            if revision != look.revision {
                State::Mismatch
            } else if owner.lets(look.requester) {
                State::Ready
            } else {
                State::Foreign
            }
        }
    }
}

fn silent(silence: Silence, limits: &Limits) -> State {
    let few = silence.misses < 3 || silence.lasting < limits.hang;
    match silence.state {
        // Under a debugger.
        't' => State::Busy,
        'T' => State::Hung,
        _ if silence.misses >= 3 && silence.lasting >= limits.busy => State::Hung,
        'D' => State::Busy,
        _ if few || silence.computed => State::Busy,
        _ => State::Hung,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{self, Record};

    fn record(status: Status) -> Record {
        let text = br#"{"pid":7,"pid_start":1,"boot_id":"b","pid_ns":1,"lock_id":"l","owner":"cli","revision":"r"}"#;
        Record { status, ..record::read(text).record().unwrap().clone() }
    }

    fn health() -> Health {
        Health { status: 200, lock_id: "l".into(), ..Health::default() }
    }

    fn silence() -> Silence {
        Silence { misses: 3, lasting: Duration::from_secs(15), computed: false, state: 'S' }
    }

    struct Case {
        held: Held,
        reading: Reading,
        verdict: Option<Verdict>,
        unnamed_for: Duration,
        orphans: bool,
        probe: Probe,
        requester: Owner,
    }

    impl Case {
        fn state(&self) -> State {
            let look = Look {
                held: self.held,
                reading: &self.reading,
                verdict: self.verdict,
                unnamed_for: self.unnamed_for,
                orphans: self.orphans,
                probe: &self.probe,
                requester: self.requester,
                revision: "r",
            };
            classify(&look, &Limits::default())
        }
    }

    fn case() -> Case {
        Case {
            held: Held::Exclusive,
            reading: Reading::Valid(Box::new(record(Status::Ready))),
            verdict: Some(Verdict::Same),
            unnamed_for: Duration::ZERO,
            orphans: false,
            probe: Probe::Answered(health()),
            requester: Owner::Cli,
        }
    }

    /// Each row of the table, and who comes first where two match.
    #[test]
    fn every_row_of_the_table() {
        let ready = |probe| Case { probe, ..case() }.state();
        assert_eq!(case().state(), State::Ready);
        assert_eq!(Case { requester: Owner::Desktop, ..case() }.state(), State::Foreign);
        let other = Health { revision: Some("s".into()), ..health() };
        assert_eq!(ready(Probe::Answered(other.clone())), State::Mismatch);
        assert_eq!(
            Case { requester: Owner::Desktop, probe: Probe::Answered(other), ..case() }.state(),
            State::Mismatch
        );
        assert_eq!(ready(Probe::Answered(Health { lock_id: "m".into(), ..health() })), State::Stale);
        assert_eq!(ready(Probe::Answered(Health { status: 503, ..health() })), State::Busy);
        assert_eq!(ready(Probe::NotMade), State::Busy);
        for (status, state) in [(Status::Starting, State::Starting), (Status::Stopping, State::Stopping)] {
            assert_eq!(Case { reading: Reading::Valid(Box::new(record(status))), ..case() }.state(), state);
        }
        let elsewhere = Some(Verdict::Elsewhere(Reason::Namespace));
        assert_eq!(Case { verdict: elsewhere, ..case() }.state(), State::Remote(Reason::Namespace));
        assert_eq!(Case { held: Held::Free, ..case() }.state(), State::Stopped);
        assert_eq!(Case { held: Held::Free, orphans: true, ..case() }.state(), State::Orphan);
        let new = Reading::TooNew { v: 2, members: serde_json::Map::new() };
        assert_eq!(Case { reading: new, verdict: None, ..case() }.state(), State::TooNew);
    }

    /// Fact 27: a lock whose metadata is late belongs to a daemon that starts.
    #[test]
    fn a_lock_without_metadata_is_waited_for_before_anybody_is_an_orphan() {
        for (reading, verdict) in
            [(Reading::Absent, None), (Reading::Unreadable(String::new()), None), (case().reading, Some(Verdict::Dead))]
        {
            let at = |seconds, orphans| {
                let unnamed_for = Duration::from_secs(seconds);
                Case { reading: reading.clone(), verdict, unnamed_for, orphans, ..case() }.state()
            };
            assert_eq!(at(4, true), State::Starting);
            assert_eq!(at(5, false), State::Starting);
            assert_eq!(at(5, true), State::Orphan);
        }
    }

    /// Facts 28 and 29: missed probes, and an endpoint at its limit, are tolerated.
    #[test]
    fn who_does_not_answer_is_busy_until_it_hangs() {
        let state = |silence| Case { probe: Probe::Silent(silence), ..case() }.state();
        assert_eq!(state(silence()), State::Hung);
        assert_eq!(state(Silence { misses: 2, ..silence() }), State::Busy);
        assert_eq!(state(Silence { lasting: Duration::from_millis(14_999), ..silence() }), State::Busy);
        assert_eq!(state(Silence { computed: true, ..silence() }), State::Busy);
        assert_eq!(state(Silence { state: 'D', ..silence() }), State::Busy);
        for letter in ['S', 'D', 'R'] {
            let long = Silence { lasting: Duration::from_mins(1), computed: true, state: letter, ..silence() };
            assert_eq!(state(long), State::Hung);
        }
        let debugged = Silence { state: 't', lasting: Duration::from_hours(1), ..silence() };
        assert_eq!(state(debugged), State::Busy);
        let frozen = Silence { misses: 1, lasting: Duration::ZERO, computed: false, state: 'T' };
        assert_eq!(state(frozen), State::Hung);
        let frozen_start = Case {
            reading: Reading::Valid(Box::new(record(Status::Starting))),
            probe: Probe::Silent(frozen),
            ..case()
        };
        assert_eq!(frozen_start.state(), State::Hung);
    }

    #[test]
    fn a_watch_counts_from_the_first_miss_and_forgets_with_an_answer() {
        let start = Instant::now();
        let mut watch = Watch::default();
        assert_eq!(
            watch.missed(start, 'S', 5),
            Silence { misses: 1, lasting: Duration::ZERO, computed: false, state: 'S' }
        );
        let later = watch.missed(start + Duration::from_secs(2), 'S', 6);
        assert_eq!(later, Silence { misses: 2, lasting: Duration::from_secs(2), computed: true, state: 'S' });
        watch.answered();
        assert_eq!(watch.missed(start + Duration::from_secs(3), 'S', 9).misses, 1);
    }

    #[test]
    fn exit_codes_of_status() {
        let remote = State::Remote(Reason::Host);
        let all = [
            (State::Ready, 0),
            (State::Foreign, 0),
            (State::Stopped, 3),
            (State::Starting, 4),
            (State::Stopping, 4),
            (State::Busy, 4),
            (State::Hung, 5),
            (State::Orphan, 5),
            (State::Mismatch, 6),
            (remote, 7),
        ];
        for (state, exit) in all {
            assert_eq!(state.exit(false), exit, "{}", state.name());
        }
        assert_eq!(remote.exit(true), 0);
    }
}
