//! The worker's side: a runner's object and sessions' desks in memory, each change as one step under one lock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sessions::mailbox::desk::{self, Decide, Desk, Effect, Fingerprint, NewItem, Times, Told};
use sessions::mailbox::runner::{self, Runner, Waiting};
use sessions::mailbox::{Presence, Token};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);
pub(crate) const TIMES: Times = Times { order_ttl_ms: 7 * 86_400_000, offline_turn_ms: 86_400_000 };
pub(crate) const RUNNER_TIMES: runner::Times = runner::Times { ttl_ms: 60_000 };

pub(crate) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// How requests of one path are answered for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// 500, and nothing was done.
    Error,
    /// It was done, and nobody hears of it.
    Dropped,
    /// Nothing comes for so long, and then nothing was done.
    Hangs(Duration),
}

/// One session.
#[derive(Default)]
pub(crate) struct Session {
    pub(crate) desk: Desk,
    bodies: BTreeMap<String, String>,
    pub(crate) known: BTreeMap<u64, Fingerprint>,
    pub(crate) notices: Vec<String>,
    orders: VecDeque<(String, String)>,
    pub(crate) told: Vec<Told>,
    ids: u64,
    runs: u64,
    is_ended: bool,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) runner: Option<Runner>,
    pub(crate) waiting: Waiting,
    pub(crate) sessions: BTreeMap<String, Session>,
    pub(crate) attaches: usize,
    pub(crate) registrations: Vec<Value>,
    pub(crate) faults: VecDeque<(String, Fault)>,
    pub(crate) is_off: bool,
    /// Paths that were asked, with what came with them.
    pub(crate) asked: Vec<(String, Value)>,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Batches of events that hold this text are refused as a whole: 400.
    pub(crate) refuses: Option<&'static str>,
    /// Conversations that were kept, in the order in which they came.
    pub(crate) transcripts: Vec<Transcript>,
    /// The token with which tools are offered; none where they are not.
    pub(crate) tools: Option<String>,
}

/// A conversation that was kept.
#[derive(Clone, Debug)]
pub(crate) struct Transcript {
    pub(crate) session: String,
    pub(crate) run: u64,
    pub(crate) status: String,
    pub(crate) token: String,
    pub(crate) bytes: Vec<u8>,
}

impl Transcript {
    pub(crate) fn bundle(&self) -> transcripts::Bundle {
        transcripts::archive::read(&self.bytes, 1 << 20).unwrap()
    }
}

/// The worker.
#[derive(Clone)]
pub(crate) struct Plane {
    pub(crate) port: u16,
    pub(crate) shared: Arc<(Mutex<State>, Condvar)>,
}

pub(crate) fn key() -> String {
    "ab".repeat(16)
}

impl Plane {
    pub(crate) fn new() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let plane = Self { port: listener.local_addr().unwrap().port(), shared: Arc::default() };
        super::plane_http::serve(plane.clone(), listener);
        plane
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap()
    }

    /// Something happens to a session.
    pub(crate) fn change<R>(&self, session: &str, happens: impl FnOnce(&mut Desk, &mut Decide<'_>) -> R) -> R {
        let mut state = self.lock();
        let result = state.change(session, happens);
        self.shared.1.notify_all();
        result
    }

    /// A person says something.
    pub(crate) fn say(&self, session: &str, id: &str, text: &str) {
        let body = json!({"by": "ann", "role": "owner", "content": [{"type": "text", "text": text}], "files": []});
        let mut state = self.lock();
        state.sessions.entry(session.to_owned()).or_default().orders.push_back((id.to_owned(), body.to_string()));
        state.change(session, |_, _| ());
        self.shared.1.notify_all();
    }

    /// A token for a runner that registers.
    pub(crate) fn token() -> Token {
        let secret: [u8; 32] = std::array::from_fn(|at| uuid::Uuid::new_v4().as_bytes()[at % 16]);
        Token::new(&[0xab; 16], &secret)
    }

    /// The next requests of a path are answered so.
    pub(crate) fn fails(&self, path: &str, fault: Fault, times: usize) {
        self.lock().faults.extend((0..times).map(|_| (path.to_owned(), fault)));
    }

    /// Waits until something is so.
    #[track_caller]
    pub(crate) fn until<T>(&self, what: &str, mut is: impl FnMut(&mut State) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut state = self.lock();
            if let Some(it) = is(&mut state) {
                return it;
            }
            if Instant::now() > deadline {
                let told: Vec<_> =
                    state.sessions.iter().map(|(id, session)| (id, &session.told, &session.desk)).collect();
                panic!("in vain: {what}\n{told:#?}");
            }
            drop(self.shared.1.wait_timeout(state, Duration::from_millis(50)).unwrap());
        }
    }

    /// Waits until a message is finished. How.
    #[track_caller]
    pub(crate) fn ended(&self, session: &str, id: &str) -> String {
        self.until(&format!("{id} ends"), |state| state.sessions.get(session)?.endings(id).pop())
    }

    /// Waits until a session was told something.
    #[track_caller]
    pub(crate) fn told<T>(&self, session: &str, what: &str, is: impl Fn(&Told) -> Option<T>) -> T {
        self.until(what, |state| state.sessions.get(session)?.told.iter().find_map(&is))
    }

    /// All that the agent said.
    pub(crate) fn said(&self, session: &str) -> String {
        let state = self.lock();
        let texts = state.sessions[session].told.iter().filter_map(|told| match told {
            Told::Update(envelope) => envelope.pointer("/params/update/content/text")?.as_str(),
            _ => None,
        });
        texts.collect()
    }

    /// How often a session was told something.
    pub(crate) fn count(&self, session: &str, is: impl Fn(&Told) -> bool) -> usize {
        self.lock().sessions[session].told.iter().filter(|told| is(told)).count()
    }
}

impl Session {
    /// How a message was finished, as often as it was.
    pub(crate) fn endings(&self, id: &str) -> Vec<String> {
        let how = |told: &Told| match told {
            Told::TurnEnded { message_id, stop_reason, error, .. } if message_id == id => {
                Some(error.clone().map_or_else(|| stop_reason.clone(), |error| format!("{stop_reason}: {error}")))
            }
            Told::MessageFailed { message_id, reason } if message_id == id => Some(reason.clone()),
            _ => None,
        };
        self.told.iter().filter_map(how).collect()
    }

    pub(crate) fn body(&self, item: &str) -> String {
        self.bodies.get(item).cloned().unwrap_or_else(|| "{}".to_owned())
    }
}

impl State {
    pub(crate) fn presence(&self) -> Presence {
        let gone = Presence { number: 0, offline: Some(sessions::mailbox::Offline::Timeout), last_seen_at: 0 };
        self.runner.as_ref().map_or(gone, |runner| runner.presence)
    }

    /// The conversation that a session goes on with.
    pub(crate) fn conversation(&self, id: &str) -> Option<&Transcript> {
        self.transcripts.iter().rev().find(|kept| kept.session == id && kept.status == "completed")
    }

    /// Something happens to a session: stored, and what follows of it.
    pub(crate) fn change<R>(&mut self, id: &str, happens: impl FnOnce(&mut Desk, &mut Decide<'_>) -> R) -> R {
        let presence = self.presence();
        let resume = self
            .conversation(id)
            .map_or(Value::Null, |kept| json!({"run": kept.run, "epoch": 0, "sha256": kept.bundle().sha256()}));
        let session = self.sessions.entry(id.to_owned()).or_default();
        let mut decide = Decide::new(now(), &TIMES);
        let result = happens(&mut session.desk, &mut decide);
        let mut heard = 0;
        loop {
            let new: Vec<Told> = decide
                .effects
                .iter()
                .filter_map(|effect| if let Effect::Tell(told) = effect { Some(told.clone()) } else { None })
                .skip(heard)
                .collect();
            heard += new.len();
            for told in new {
                match &told {
                    Told::OpenNeeded => {
                        session.ids += 1;
                        let body = json!({"task": {"title": "t"}, "agent": "claude", "mode": null, "cwd": null, "resume": resume,
                            "git-credentials": true});
                        let item = NewItem::new(&format!("open-{id}-{}", session.ids), body.to_string());
                        desk::open(&mut session.desk, &mut decide, item).unwrap();
                    }
                    Told::MessageReturned { message_id } => {
                        let body = session.body(message_id);
                        session.orders.push_front((message_id.clone(), body));
                    }
                    Told::Released(_) => session.is_ended = true,
                    _ => {}
                }
                session.told.push(told);
            }
            if session.desk.holder.is_none() && !session.is_ended && !session.orders.is_empty() {
                desk::bind(&mut session.desk, &mut decide, &key(), "workstation", presence).unwrap();
            }
            let may = session.desk.prompt.is_none() && session.desk.holder.is_some() && session.desk.closing.is_none();
            if let Some((order, body)) = session.orders.front().filter(|_| may).cloned()
                && desk::prompt(&mut session.desk, &mut decide, NewItem::new(&order, body), session.runs + 1, 1).is_ok()
            {
                session.runs += 1;
                session.orders.pop_front();
            }
            let count = decide.effects.iter().filter(|effect| matches!(effect, Effect::Tell(_))).count();
            if count == heard {
                break;
            }
        }
        let mut rings = false;
        for effect in decide.effects {
            match effect {
                Effect::PutBody { item_id, body } => {
                    session.bodies.insert(item_id, body);
                }
                Effect::DropBody(item) => {
                    session.bodies.remove(&item);
                }
                Effect::PutFingerprint { seq, fingerprint } => {
                    session.known.insert(seq, fingerprint);
                }
                Effect::DropFingerprints => session.known.clear(),
                Effect::Ring => rings = true,
                Effect::Tell(_) => {}
            }
        }
        if let Some(runner) = self.runner.as_mut().filter(|_| rings) {
            runner::ring(runner, &mut runner::Decide::new(now(), &RUNNER_TIMES), id);
        }
        result
    }
}
