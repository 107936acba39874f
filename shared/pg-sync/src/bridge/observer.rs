//! One who observes: what waits for it, in which order, and when it is due (pg-sync.md 4.9).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::state::Block;
use crate::body::{Counts, EndReason, Notice};
use crate::wake::Wake;

/// The time over which wakes are counted, and the pause between two of them when there were too many, in milliseconds.
const HOUR_MS: i64 = 3_600_000;
/// The pause between two reports of gaps, in milliseconds. Those that come meanwhile are told together.
const GAP_PAUSE_MS: i64 = 600_000;

/// One who is woken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observer {
    /// The name of the subscription ([`crate::identity::subscription_id`]).
    pub id: String,
    /// Whose it is.
    pub session: String,
    /// What wakes it.
    pub wake: Wake,
    /// Until when its caller waits for the moment from which nothing is missed; `None` once that has come.
    pub(super) joining: Option<i64>,
    /// Changes up to this number were taken.
    pub(super) sent_seq: u64,
    /// Changes that nothing was made of yet.
    pub(super) open: Pending,
    /// What is to be told before those, in order. Each kind of notice is there once at most, which bounds it.
    pub(super) queue: VecDeque<Item>,
    /// What is on its way, until it is taken.
    pub(super) inflight: Option<Inflight>,
    /// When it was woken in the last hour, in milliseconds since 1970.
    recent: VecDeque<i64>,
    throttle: Option<Throttle>,
    /// When it ends by itself, in milliseconds since 1970.
    pub(super) expires_at: Option<i64>,
    gap_told_at: Option<i64>,
    held_gap: Option<Notice>,
    /// How many notices it was sent, for their keys.
    pub(super) notices: u64,
    /// Whether it takes in no more changes: what waits is still told.
    pub(super) is_ending: bool,
}

/// Changes that wait to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) counts: Counts,
    /// When the first of them came.
    first_at: i64,
    /// When they are due; `None` when that time has passed without a wake, as there are too many.
    fire_at: Option<i64>,
}

/// What is told next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Item {
    /// Changes up to a number.
    Wake { counts: Counts, to_seq: u64, throttled: bool },
    /// Anything else.
    Notice(Notice),
}

/// Bytes that are on their way. They are stored before they are sent, and sent again as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inflight {
    /// By which a repetition is known.
    pub key: String,
    /// JSON text.
    pub body: String,
    /// What of.
    pub(super) item: Item,
    /// How often it has failed.
    pub(super) attempts: u32,
    /// When it is tried again.
    pub(super) next_try_at: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Throttle {
    until: i64,
    /// How many wakes there would have been meanwhile.
    held: u32,
}

impl Observer {
    /// One who is new, or takes the place of one who was ending: then `notices` go on, so that no key is given twice.
    pub(super) fn new(
        id: String,
        session: String,
        wake: Wake,
        joining: Option<i64>,
        (seq, notices): (u64, u64),
        now: i64,
    ) -> Self {
        let life = wake.expires_in_s.map(|seconds| seconds.saturating_mul(1_000));
        Self {
            id,
            session,
            wake,
            joining,
            sent_seq: seq,
            open: Pending::default(),
            queue: VecDeque::new(),
            inflight: None,
            recent: VecDeque::new(),
            throttle: None,
            expires_at: life.map(|life| now.saturating_add(life)),
            gap_told_at: None,
            held_gap: None,
            notices,
            is_ending: false,
        }
    }

    /// Whether changes are matched for it.
    pub const fn is_active(&self) -> bool {
        self.joining.is_none() && !self.is_ending
    }

    /// How many changes wait for it.
    pub fn pending(&self) -> u64 {
        let of = |item: &Item| if let Item::Wake { counts, .. } = item { counts.total() } else { 0 };
        self.open.counts.total()
            + self.queue.iter().map(of).sum::<u64>()
            + self.inflight.as_ref().map_or(0, |i| of(&i.item))
    }

    /// Up to which number it has taken changes.
    pub const fn sent_seq(&self) -> u64 {
        self.sent_seq
    }

    /// What is on its way to it.
    pub const fn inflight(&self) -> Option<&Inflight> {
        self.inflight.as_ref()
    }

    /// From here on it misses nothing. It is told if the bridge waits for somebody.
    pub(super) fn join(&mut self, block: Option<&Block>, last_seq: u64) {
        self.joining = None;
        self.sent_seq = last_seq;
        if let Some(block) = block {
            let (reason, status, detail) = (block.reason, block.status, block.detail.clone());
            self.tell(Notice::Blocked { reason, status, detail, since: block.since }, last_seq);
        }
    }

    /// Another wake takes the place of the one that there is.
    pub(super) fn change(&mut self, wake: Wake, now: i64) {
        self.expires_at = wake.expires_in_s.map(|seconds| now.saturating_add(seconds.saturating_mul(1_000)));
        self.wake = wake;
    }

    /// Takes in what an answer held for it.
    pub(super) fn note(&mut self, counts: Counts, now: i64) {
        if counts.total() == 0 {
            return;
        }
        if self.open.fire_at.is_none() {
            self.open.first_at = now;
        }
        self.open.counts = sum(self.open.counts, counts);
        self.open.fire_at = Some(self.wake.due(self.open.first_at, now));
    }

    /// Puts a notice behind everything that came before it. One that waits already is brought up to date.
    pub(super) fn tell(&mut self, notice: Notice, last_seq: u64) {
        if let (Notice::Gap { count: more, .. }, Some(Notice::Gap { count, .. })) = (&notice, self.queued(&notice)) {
            *count += *more;
            return;
        }
        // What it has not heard of yet and is over by now is not told.
        if let Some(opposite) = notice.opposite() {
            let before = self.queue.len();
            self.queue.retain(|item| !matches!(item, Item::Notice(queued) if queued.kind() == opposite));
            if self.queue.len() < before {
                return self.merge();
            }
        }
        let is_same = |item: &Item| matches!(item, Item::Notice(queued) if queued.kind() == notice.kind());
        self.queue.retain(|item| !is_same(item));
        // The report that there is too much is no reason for a wake.
        if !matches!(notice, Notice::Throttled { .. }) && self.open.counts.total() > 0 {
            let counts = std::mem::take(&mut self.open).counts;
            self.queue.push_back(Item::Wake { counts, to_seq: last_seq, throttled: false });
        }
        self.queue.push_back(Item::Notice(notice));
        self.merge();
    }

    fn queued(&mut self, like: &Notice) -> Option<&mut Notice> {
        self.queue.iter_mut().find_map(|item| match item {
            Item::Notice(queued) if queued.kind() == like.kind() => Some(queued),
            _ => None,
        })
    }

    /// Changes between which a notice was taken out become one wake.
    fn merge(&mut self) {
        let mut merged: VecDeque<Item> = VecDeque::with_capacity(self.queue.len());
        for item in std::mem::take(&mut self.queue) {
            match (merged.back_mut(), item) {
                (Some(Item::Wake { counts, to_seq, .. }), Item::Wake { counts: more, to_seq: to, .. }) => {
                    *counts = sum(*counts, more);
                    *to_seq = to;
                }
                (_, item) => merged.push_back(item),
            }
        }
        self.queue = merged;
    }

    /// Tells a gap, unless one was told a moment ago: then later, with how many there were.
    pub(super) fn tell_gap(&mut self, gap: Notice, last_seq: u64, now: i64) {
        if self.gap_told_at.is_none_or(|told| now >= told.saturating_add(GAP_PAUSE_MS)) {
            self.gap_told_at = Some(now);
            return self.tell(gap, last_seq);
        }
        match (&mut self.held_gap, gap) {
            (Some(Notice::Gap { count, .. }), Notice::Gap { count: more, .. }) => *count += more,
            (held, gap) => *held = Some(gap),
        }
    }

    /// It ends: what waits is told, then that it has ended.
    pub(super) fn end(&mut self, reason: EndReason, last_seq: u64) {
        self.is_ending = true;
        let held = self.held_gap.take();
        for notice in held.into_iter().chain([Notice::Ended(reason)]) {
            self.tell(notice, last_seq);
        }
    }

    /// What is to be told now, if anything; nothing while something is on its way. `max_wakes` are allowed in an hour.
    pub(super) fn next(&mut self, last_seq: u64, max_wakes: u32, now: i64) -> Option<Item> {
        if self.inflight.is_some() {
            return None;
        }
        if let Some(due) = self.held_gap_at().filter(|due| *due <= now) {
            self.gap_told_at = Some(due.max(now));
            if let Some(gap) = self.held_gap.take() {
                self.tell(gap, last_seq);
            }
        }
        if self.queue.is_empty() {
            self.fire(last_seq, max_wakes, now);
        }
        let item = self.queue.pop_front()?;
        if self.wake.one_shot && !self.is_ending && matches!(item, Item::Wake { .. }) {
            self.end(EndReason::OneShot, last_seq);
        }
        Some(item)
    }

    /// Makes a wake of what is due, as far as the rate allows.
    fn fire(&mut self, last_seq: u64, max_wakes: u32, now: i64) {
        while self.recent.front().is_some_and(|at| *at <= now.saturating_sub(HOUR_MS)) {
            self.recent.pop_front();
        }
        if let Some(throttle) = self.throttle.filter(|throttle| throttle.until <= now) {
            // The last hour was quiet enough, or the next wake comes in another hour.
            let is_over = throttle.held < max_wakes;
            self.throttle = (!is_over).then_some(Throttle { until: now.saturating_add(HOUR_MS), held: 0 });
            self.recent.clear();
            if self.open.counts.total() > 0 {
                self.wake_up(last_seq, throttle.held > 0, now);
            }
            return;
        }
        if self.open.fire_at.is_none_or(|at| at > now) || self.open.counts.total() == 0 {
            return;
        }
        if let Some(throttle) = &mut self.throttle {
            throttle.held = throttle.held.saturating_add(1);
            self.open.fire_at = None;
        } else if self.recent.len() >= max_wakes as usize {
            let until = now.saturating_add(HOUR_MS);
            self.throttle = Some(Throttle { until, held: 1 });
            self.open.fire_at = None;
            self.tell(Notice::Throttled { limit: max_wakes, until }, last_seq);
        } else {
            self.wake_up(last_seq, false, now);
        }
    }

    fn wake_up(&mut self, to_seq: u64, throttled: bool, now: i64) {
        let counts = std::mem::take(&mut self.open).counts;
        self.queue.push_back(Item::Wake { counts, to_seq, throttled });
        self.recent.push_back(now);
    }

    fn held_gap_at(&self) -> Option<i64> {
        self.held_gap.as_ref()?;
        Some(self.gap_told_at.unwrap_or(0).saturating_add(GAP_PAUSE_MS))
    }

    /// When something is due for it; what is on its way is not looked at.
    pub(super) fn next_at(&self) -> Option<i64> {
        let life = self.expires_at.filter(|_| !self.is_ending);
        let mut dues = vec![self.joining, life];
        if self.inflight.is_none() {
            let has_queue = !self.queue.is_empty();
            let has_open = self.open.counts.total() > 0;
            dues.push(has_queue.then_some(i64::MIN));
            dues.push(self.open.fire_at.filter(|_| has_open));
            dues.push(self.throttle.map(|throttle| throttle.until).filter(|_| has_open));
            dues.push(self.held_gap_at());
        }
        dues.into_iter().flatten().min()
    }
}

pub(super) fn sum(a: Counts, b: Counts) -> Counts {
    Counts { insert: a.insert + b.insert, update: a.update + b.update, delete: a.delete + b.delete }
}
