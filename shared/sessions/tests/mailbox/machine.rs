//! A model of a runner's machine: one copy of a session with what is in both directions, an agent that carries prompts out, and a
//! process that may die. It does what session-mailbox.md 4.5–4.8 and 7 say, in as few words as possible.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sessions::mailbox::desk::{Ack, AckResult, Batch, Claim, Incoming, ItemKind};

/// An item in the mailbox.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) work_seq: u64,
    pub(crate) kind: ItemKind,
    pub(crate) body: Value,
    /// The agent has it; for a prompt: its turn runs.
    pub(crate) is_started: bool,
    pub(crate) is_final: bool,
}

/// A copy of a session: what lies on the disk.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Copy {
    pub(crate) mailbox_id: String,
    pub(crate) lease: u64,
    pub(crate) work_seq: u64,
    pub(crate) generation: u64,
    pub(crate) rows: Vec<Row>,
    /// What the agent said: kind and data. The number of the event at `n` is `2n + 1`.
    pub(crate) out: Vec<(String, String, Value)>,
    /// How many events the worker has taken in, as far as the copy knows.
    pub(crate) delivered: usize,
    pub(crate) interrupted_through: u64,
    pub(crate) is_closed: bool,
}

/// A machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) copy: Option<Copy>,
    /// Acknowledgements that were not sent: in memory.
    pub(crate) acks: Vec<Ack>,
    /// No agent runs: the disk was put back, and shims are started by a process that attached.
    pub(crate) is_stopped: bool,
    /// The process attached.
    pub(crate) is_attached: bool,
    pub(crate) mailboxes: u64,
    pub(crate) name: String,
    /// How often the agent was given each message.
    pub(crate) runs: BTreeMap<String, u64>,
}

pub(crate) fn seq(index: usize) -> u64 {
    2 * index as u64 + 1
}

impl Copy {
    fn say(&mut self, kind: &str, data: Value) {
        let id = format!("{}-{}", self.mailbox_id, self.out.len());
        self.out.push((id, kind.to_owned(), data));
    }

    pub(crate) fn claim(&self) -> Claim {
        Claim {
            mailbox_id: self.mailbox_id.clone(),
            lease: self.lease,
            work_seq: self.work_seq,
            out_seq: self.out.len().checked_sub(1).map_or(0, seq),
            generation: self.generation,
        }
    }

    /// Events from the one at `from` on, at most so many.
    pub(crate) fn batch(&self, from: usize, most: usize) -> Batch {
        let event = |(at, (id, kind, data)): (usize, &(String, String, Value))| {
            let prev = at.checked_sub(1).map_or(0, seq);
            Incoming::new(seq(at), prev, id, self.generation, kind, data.clone())
        };
        let events = self.out.iter().enumerate().skip(from).take(most).map(event).collect();
        Batch { mailbox_id: self.mailbox_id.clone(), lease: self.lease, events }
    }

    /// The worker has everything up to this number.
    pub(crate) fn accepted(&mut self, accepted_seq: u64) {
        self.delivered = usize::try_from(accepted_seq.div_ceil(2)).unwrap();
    }

    fn end(&mut self, at: usize, stop_reason: &str) {
        let id = self.rows[at].id.clone();
        self.rows[at].is_final = true;
        let data = json!({"message-id": id, "run": 1, "attempt": 1, "stop-reason": stop_reason});
        self.say("turn.ended", data);
    }
}

impl Machine {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Takes an item in, as one commit. The acknowledgement is sent later.
    pub(crate) fn store(&mut self, lease: u64, id: &str, work_seq: u64, kind: ItemKind, body: Value) {
        if self.copy.as_ref().is_none_or(|copy| copy.lease < lease) {
            self.mailboxes += 1;
            self.copy = Some(Copy {
                mailbox_id: format!("{}-{}", self.name, self.mailboxes),
                lease,
                work_seq: 0,
                generation: 1,
                rows: Vec::new(),
                out: Vec::new(),
                delivered: 0,
                interrupted_through: 0,
                is_closed: false,
            });
        }
        let copy = self.copy.as_mut().unwrap();
        if copy.lease > lease {
            return;
        }
        self.acks.push(Ack { item_id: id.to_owned(), work_seq, result: AckResult::Stored });
        if copy.rows.iter().any(|row| row.id == id) {
            return;
        }
        copy.work_seq = copy.work_seq.max(work_seq);
        let row = Row { id: id.to_owned(), work_seq, kind, body, is_started: false, is_final: false };
        copy.rows.push(row);
        copy.rows.sort_by_key(|row| row.work_seq);
        self.control(id);
    }

    /// What does not wait behind prompts.
    fn control(&mut self, id: &str) {
        let copy = self.copy.as_mut().unwrap();
        let at = copy.rows.iter().position(|row| row.id == id).unwrap();
        let row = copy.rows[at].clone();
        if row.kind.is_control() {
            copy.rows[at].is_final = true;
        }
        match row.kind {
            ItemKind::Interrupt => {
                let through = row.body["through-work-seq"].as_u64().unwrap();
                copy.interrupted_through = copy.interrupted_through.max(through);
            }
            ItemKind::Withdraw => {
                let pending = |other: &Row| other.id == row.body["item-id"] && !other.is_started && !other.is_final;
                if let Some(at) = copy.rows.iter().position(pending) {
                    copy.rows[at].is_final = true;
                    let data = json!({"message-id": copy.rows[at].id, "reason": "withdrawn"});
                    copy.say("message.failed", data);
                }
            }
            ItemKind::Cancel => {
                for at in 0..copy.rows.len() {
                    if copy.rows[at].is_started && !copy.rows[at].is_final {
                        copy.end(at, "cancelled");
                    }
                    copy.rows[at].is_final = true;
                }
                copy.is_closed = true;
                copy.say("closed", json!({"transcript": null}));
            }
            _ => {}
        }
    }

    /// The agent does something. `word` numbers what it says; `ends` lets a running turn end.
    pub(crate) fn work(&mut self, word: u64, ends: bool) {
        let Some(copy) = self.copy.as_mut().filter(|_| !self.is_stopped) else { return };
        let Some(at) = copy.rows.iter().position(|row| !row.is_final) else { return };
        let row = copy.rows[at].clone();
        match row.kind {
            ItemKind::Open => {
                copy.rows[at].is_final = true;
                let agent = format!("agent-{}", copy.mailbox_id);
                copy.say("opened", json!({"runtime-session-id": agent, "loaded": false, "cwd": "/work"}));
            }
            ItemKind::Prompt if row.work_seq <= copy.interrupted_through => copy.end(at, "cancelled"),
            ItemKind::Prompt if !row.is_started => {
                copy.rows[at].is_started = true;
                *self.runs.entry(row.id.clone()).or_default() += 1;
                copy.say("turn.started", json!({"message-id": row.id, "run": 1, "attempt": 1}));
            }
            ItemKind::Prompt if ends => copy.end(at, "end_turn"),
            ItemKind::Prompt => {
                copy.say("update", json!({"envelope": {"mailbox": copy.mailbox_id.clone(), "word": word}}));
            }
            ItemKind::Close => {
                copy.rows[at].is_final = true;
                copy.is_closed = true;
                copy.say("closed", json!({"transcript": null}));
            }
            _ => copy.rows[at].is_final = true,
        }
    }

    /// The process dies: what it had in memory is gone. Shim and agent go on.
    pub(crate) fn die(&mut self) {
        self.acks.clear();
        self.is_attached = false;
    }
}
