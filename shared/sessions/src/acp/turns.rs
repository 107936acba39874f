//! What agents have said in turns that still run (agents.md 3.4, 3.14, 4.5).

use serde::{Deserialize, Serialize};

use crate::event::{Draft, Kind, message_item};

/// How much of a turn's text is kept, and as much again of its thoughts, in bytes (agents.md 2.8).
pub const MAX_TURN_BYTES: usize = 1024 * 1024;
/// How many sessions of agents are followed at once. An agent may open further ones for parts of its work; a hostile one
/// opens any number.
pub const MAX_SPEAKERS: usize = 8;
/// Text is written down after this many bytes …
const SAVE_BYTES: usize = 4 * 1024;
/// … or this many milliseconds.
const SAVE_MS: i64 = 500;

/// Which of the two a piece belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text,
    Reasoning,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Speaker {
    runtime_session_id: String,
    /// Turns that ended with a message. The running one has the next number.
    finished: u64,
    text: Kept,
    reasoning: Kept,
    spoke_at: i64,
}

/// The beginning of what was said. Its text is stored apart, piece by piece: a row of an object has a limit, and what was
/// written once is not written again (B24).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// Names its pieces; no two texts of a session ever have the same.
    slot: u64,
    #[serde(skip)]
    text: String,
    clipped: bool,
    /// Bytes that are stored.
    #[serde(skip)]
    stored: usize,
}

impl Kept {
    fn new(slots: &mut u64) -> Self {
        *slots = slots.saturating_add(1);
        Self { slot: *slots, text: String::new(), clipped: false, stored: 0 }
    }

    /// Takes in a piece and says how many bytes of it are kept. Once something is missing, what follows is left out too: a
    /// text with a hole would say something else.
    fn push(&mut self, piece: &str) -> usize {
        let room = if self.clipped { 0 } else { MAX_TURN_BYTES.saturating_sub(self.text.len()) };
        let end = piece.floor_char_boundary(room);
        self.text.push_str(piece.get(..end).unwrap_or_default());
        self.clipped |= end < piece.len();
        end
    }
}

impl Speaker {
    fn is_silent(&self) -> bool {
        self.text.text.trim().is_empty() && self.reasoning.text.trim().is_empty()
    }

    fn message(&self) -> Draft {
        let item_id = format!("{}-turn-{}", self.runtime_session_id, self.finished.saturating_add(1));
        let data = message_item(&item_id, &self.reasoning.text, &self.text.text);
        Draft { kind: Kind::ItemCompleted, data, clipped: self.text.clipped || self.reasoning.clipped }
    }

    fn forget(&mut self, slots: &mut u64) {
        self.text = Kept::new(slots);
        self.reasoning = Kept::new(slots);
    }

    fn texts(&self) -> [&Kept; 2] {
        [&self.text, &self.reasoning]
    }
}

/// The end of a text that is not stored yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Which text it belongs to.
    pub slot: u64,
    /// Where it begins, in bytes.
    pub at: usize,
    /// The piece; at most [`MAX_TURN_BYTES`] long.
    pub text: &'a str,
}

/// A message that is still being written.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveMessage {
    /// The `event-id` under which it is shown.
    pub event_id: String,
    /// When its last piece came, in milliseconds since 1970.
    pub ts: i64,
    /// The text so far.
    pub draft: Draft,
}

/// The text of running turns and the number of finished ones, for each session of an agent. Stored, so that an object that
/// was evicted goes on counting where it was (B22).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Turns {
    /// At most [`MAX_SPEAKERS`], in the order in which they began to speak.
    speakers: Vec<Speaker>,
    last: Option<String>,
    /// The most turns of a speaker that was forgotten: a new one counts on from there, so that no `item_id` comes twice.
    forgotten: u64,
    /// The last name that was given to a text.
    #[serde(default)]
    slots: u64,
    /// Whether a text was dropped since all was written down.
    #[serde(skip)]
    dropped: bool,
    #[serde(skip)]
    unsaved: usize,
    #[serde(skip)]
    saved_at: i64,
}

impl Turns {
    /// The agent's session that spoke last: what names none is of this one.
    pub fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    pub(super) fn remember(&mut self, session: &str) {
        self.last = Some(session.to_owned());
    }

    /// Takes in a piece of what the agent says. Beyond [`MAX_TURN_BYTES`] it is not kept.
    pub(super) fn say(&mut self, session: &str, part: Part, piece: &str, now: i64) {
        let at = self.place(session);
        let Some(speaker) = self.speakers.get_mut(at) else { return };
        speaker.spoke_at = now;
        let kept = match part {
            Part::Text => &mut speaker.text,
            Part::Reasoning => &mut speaker.reasoning,
        };
        let end = kept.push(piece);
        self.unsaved = self.unsaved.saturating_add(end);
    }

    /// The place of a session among the speakers, which it is given if it has none. When all are taken, the one that has been
    /// silent for longest is forgotten.
    fn place(&mut self, session: &str) -> usize {
        if let Some(at) = self.speakers.iter().position(|speaker| speaker.runtime_session_id == session) {
            return at;
        }
        if self.speakers.len() >= MAX_SPEAKERS
            && let Some((at, _)) = self.speakers.iter().enumerate().min_by_key(|(_, speaker)| speaker.spoke_at)
        {
            let oldest = self.speakers.remove(at);
            self.dropped = true;
            self.forgotten = self.forgotten.max(oldest.finished.saturating_add(1));
        }
        self.speakers.push(Speaker {
            runtime_session_id: session.to_owned(),
            finished: self.forgotten,
            text: Kept::new(&mut self.slots),
            reasoning: Kept::new(&mut self.slots),
            spoke_at: 0,
        });
        self.speakers.len().saturating_sub(1)
    }

    /// Ends the turn of a session: its message with its number, unless it said nothing. Pieces of blanks are dropped.
    pub fn finish(&mut self, session: &str) -> Option<(u64, Draft)> {
        let speaker = self.speakers.iter_mut().find(|speaker| speaker.runtime_session_id == session)?;
        let message = (!speaker.is_silent()).then(|| speaker.message());
        speaker.forget(&mut self.slots);
        self.dropped = true;
        self.unsaved = self.unsaved.saturating_add(1);
        let message = message?;
        speaker.finished = speaker.finished.saturating_add(1);
        Some((speaker.finished, message))
    }

    /// Drops what was said in turns that no longer matter; the numbers stay.
    pub fn clear(&mut self) {
        self.speakers.iter_mut().for_each(|speaker| speaker.forget(&mut self.slots));
        self.dropped = true;
        self.unsaved = self.unsaved.saturating_add(1);
    }

    /// The messages that are being written, as a viewer sees them who comes in the middle of a turn.
    pub fn live(&self) -> Vec<LiveMessage> {
        self.speakers
            .iter()
            .filter(|speaker| !speaker.is_silent())
            .map(|speaker| LiveMessage {
                event_id: format!("live-{}-turn-{}", speaker.runtime_session_id, speaker.finished.saturating_add(1)),
                ts: speaker.spoke_at,
                draft: speaker.message(),
            })
            .collect()
    }

    /// Bytes of what was said in running turns.
    pub fn kept_bytes(&self) -> usize {
        self.speakers.iter().map(|speaker| speaker.text.text.len() + speaker.reasoning.text.len()).sum()
    }

    /// Whether it is time to write the text down (B24): not with every piece, and not much later.
    pub fn is_due(&self, now: i64) -> bool {
        self.unsaved >= SAVE_BYTES || (self.unsaved > 0 && now.saturating_sub(self.saved_at) >= SAVE_MS)
    }

    /// Whether texts that are stored are none of these any more.
    pub fn has_dropped(&self) -> bool {
        self.dropped
    }

    /// The names of all texts. What is stored under others is to be removed. At most two a speaker.
    pub fn slots(&self) -> impl Iterator<Item = u64> {
        self.speakers.iter().flat_map(Speaker::texts).map(|kept| kept.slot)
    }

    /// The ends of the texts that are not stored yet.
    pub fn unstored(&self) -> impl Iterator<Item = Piece<'_>> {
        let ends = self.speakers.iter().flat_map(Speaker::texts);
        ends.filter_map(|kept| {
            let text = kept.text.get(kept.stored..).filter(|text| !text.is_empty())?;
            Some(Piece { slot: kept.slot, at: kept.stored, text })
        })
    }

    /// Takes in a stored piece. Those of a text come in their order.
    pub fn restore(&mut self, slot: u64, piece: &str) {
        let mut texts = self.speakers.iter_mut().flat_map(|speaker| [&mut speaker.text, &mut speaker.reasoning]);
        if let Some(kept) = texts.find(|kept| kept.slot == slot) {
            kept.text.push_str(piece);
            kept.stored = kept.text.len();
        }
    }

    /// The next piece that is stored cannot be read: the text ends here, as one with a hole would say something else.
    pub fn cut(&mut self, slot: u64) {
        let mut texts = self.speakers.iter_mut().flat_map(|speaker| [&mut speaker.text, &mut speaker.reasoning]);
        if let Some(kept) = texts.find(|kept| kept.slot == slot) {
            kept.clipped = true;
        }
    }

    /// Notes that the text was written down.
    pub fn saved(&mut self, now: i64) {
        self.unsaved = 0;
        self.dropped = false;
        self.saved_at = now;
        for speaker in &mut self.speakers {
            for kept in [&mut speaker.text, &mut speaker.reasoning] {
                kept.stored = kept.text.len();
            }
        }
    }
}
