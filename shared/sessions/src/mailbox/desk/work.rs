//! Items: put on the desk, given out, acknowledged (session-mailbox.md 7.4).

use serde_json::{Value, json};

use super::holder::{failed, finish_prompt, need_open};
use super::state::{Holder, Item, ItemKind, Open, Prompt, Ring};
use super::{Decide, Desk, Effect, Told};
use crate::mailbox::limits;

/// An item that is put on the desk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewItem {
    /// A UUID.
    pub id: String,
    /// JSON text. The token of a run is no part of it: it is added when the item is given out.
    pub body: String,
}

impl NewItem {
    /// An item.
    pub fn new(id: &str, body: String) -> Self {
        Self { id: id.to_owned(), body }
    }
}

/// Why something is not put on the desk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// No runner has the session.
    #[error("no runner has the session")]
    NotHeld,
    /// A runner has it already.
    #[error("a runner has the session")]
    Held,
    /// A prompt is not finished.
    #[error("turn is running")]
    TurnRunning,
    /// It is being taken from its runner.
    #[error("the session leaves its runner")]
    Closing,
    /// Too many items wait.
    #[error("too many items wait")]
    Full,
    /// The item is larger than what a runner takes.
    #[error("too large")]
    TooLarge,
}

/// The holder, unless the session is being taken from it.
pub(super) fn open_holder(desk: &mut Desk) -> Result<&mut Holder, NotTaken> {
    if desk.closing.is_some() {
        return Err(NotTaken::Closing);
    }
    desk.holder.as_mut().ok_or(NotTaken::NotHeld)
}

pub(super) fn put(
    desk: &mut Desk,
    decide: &mut Decide<'_>,
    kind: ItemKind,
    item: NewItem,
    through: Option<u64>,
) -> Result<(), NotTaken> {
    if item.body.len() > limits::MAX_ITEM_BYTES {
        return Err(NotTaken::TooLarge);
    }
    // What ends a session always has a place.
    let ends = matches!(kind, ItemKind::Cancel | ItemKind::Close);
    if desk.items.len() >= limits::MAX_WAITING_ITEMS && !ends {
        return Err(NotTaken::Full);
    }
    desk.work_seq = desk.work_seq.saturating_add(1);
    desk.items.push(Item {
        id: item.id.clone(),
        work_seq: desk.work_seq,
        kind,
        created_at: decide.now,
        bytes: item.body.len(),
        given_at: None,
        through,
    });
    decide.push(Effect::PutBody { item_id: item.id, body: item.body });
    ring(desk, decide);
    Ok(())
}

fn ring(desk: &mut Desk, decide: &mut Decide<'_>) {
    let (pause, _) = limits::RING_MS;
    desk.ring = Some(Ring { at: decide.after(pause), pause });
    decide.push(Effect::Ring);
}

/// Nothing is told to the runner where nothing waits for it.
pub(super) fn quiet(desk: &mut Desk) {
    if desk.items.is_empty() {
        desk.ring = None;
    }
}

/// What a person said goes to the runner. The agent's session is opened first, where it is not open.
///
/// # Errors
/// [`NotTaken`]; then nothing was changed.
pub fn prompt(desk: &mut Desk, decide: &mut Decide<'_>, item: NewItem, run: u64, attempt: u64) -> Result<(), NotTaken> {
    open_holder(desk)?;
    if desk.prompt.is_some() {
        return Err(NotTaken::TurnRunning);
    }
    let (id, bytes) = (item.id.clone(), item.body.len());
    put(desk, decide, ItemKind::Prompt, item, None)?;
    desk.prompt = Some(Prompt {
        id,
        work_seq: desk.work_seq,
        run,
        attempt: attempt.max(1),
        created_at: decide.now,
        bytes,
        is_stored: false,
        is_started: false,
        was_given: false,
    });
    need_open(desk, decide);
    Ok(())
}

/// The prompt that waits goes after everything else that waits: what opens the session was put there later.
pub(super) fn reissue_prompt(desk: &mut Desk, decide: &mut Decide<'_>) {
    let Some(prompt) = desk.prompt.as_mut().filter(|prompt| !prompt.is_stored) else { return };
    desk.items.retain(|item| item.id != prompt.id);
    desk.work_seq = desk.work_seq.saturating_add(1);
    prompt.work_seq = desk.work_seq;
    desk.items.push(Item {
        id: prompt.id.clone(),
        work_seq: desk.work_seq,
        kind: ItemKind::Prompt,
        created_at: prompt.created_at,
        bytes: prompt.bytes,
        given_at: None,
        through: None,
    });
    ring(desk, decide);
}

/// A person answers the agent's question.
///
/// # Errors
/// [`NotTaken`].
pub fn answer(
    desk: &mut Desk,
    decide: &mut Decide<'_>,
    id: &str,
    request_id: &str,
    outcome: &Value,
) -> Result<(), NotTaken> {
    open_holder(desk)?;
    let body = json!({"request-id": request_id, "outcome": outcome}).to_string();
    put(desk, decide, ItemKind::Answer, NewItem::new(id, body), None)
}

/// The working tree is to be pushed. The item's id is that of the push.
///
/// # Errors
/// [`NotTaken`].
pub fn push(desk: &mut Desk, decide: &mut Decide<'_>, item: NewItem) -> Result<(), NotTaken> {
    open_holder(desk)?;
    put(desk, decide, ItemKind::Push, item, None)
}

/// The unfinished prompt is not wanted any more. One that no runner can have is over at once; one that nobody acknowledged is withdrawn, and whoever
/// has it already interrupts it. Twice is once.
///
/// # Errors
/// [`NotTaken`].
pub fn interrupt(desk: &mut Desk, decide: &mut Decide<'_>, id: &str) -> Result<(), NotTaken> {
    open_holder(desk)?;
    let Some(prompt) = &desk.prompt else { return Ok(()) };
    let (message_id, through) = (prompt.id.clone(), prompt.work_seq);
    if !prompt.was_given && !prompt.is_stored {
        finish_prompt(desk, decide, &message_id);
        decide.tell(failed(message_id, "withdrawn"));
        return Ok(());
    }
    let is_asked = |item: &Item| item.kind == ItemKind::Interrupt && item.through == Some(through);
    if desk.items.iter().any(is_asked) {
        return Ok(());
    }
    if !prompt.is_stored {
        withdraw(desk, decide, &message_id)?;
    }
    let body = json!({"through-work-seq": through}).to_string();
    put(desk, decide, ItemKind::Interrupt, NewItem::new(id, body), Some(through))
}

/// A prompt that the runner may have is to be left alone, if it has not begun. The item's id says which prompt: there is one at most.
pub(super) fn withdraw(desk: &mut Desk, decide: &mut Decide<'_>, message_id: &str) -> Result<(), NotTaken> {
    let id = withdrawal_id(message_id);
    if desk.items.iter().any(|item| item.id == id) {
        return Ok(());
    }
    let body = json!({"item-id": message_id}).to_string();
    put(desk, decide, ItemKind::Withdraw, NewItem::new(&id, body), None)
}

/// A UUID that follows from the message's, so that the same withdrawal has the same id.
fn withdrawal_id(message_id: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let digest = Sha256::new().chain_update("withdraw:").chain_update(message_id).finalize();
    let mut bytes = [0_u8; 16];
    for (to, from) in bytes.iter_mut().zip(digest) {
        *to = from;
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

/// An item as it is given out. The body is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The item.
    pub item: Item,
    /// Under which lease.
    pub lease: u64,
    /// After how many milliseconds nobody wants it any more.
    pub expires_in_ms: Option<i64>,
    /// For a prompt: its run and attempt, for which a token is made now.
    pub run: Option<(u64, u64)>,
}

/// Items for the runner, controls first, the others in their order and none before the one before it was acknowledged or given out with it. At most so many, and so many bytes of
/// bodies. None when the runner does not have the session.
pub fn fetch(
    desk: &mut Desk,
    decide: &Decide<'_>,
    runner_key: &str,
    max_items: usize,
    max_bytes: usize,
) -> Option<Vec<Given>> {
    let is_opening = matches!(desk.held_by(runner_key)?.open, Open::Needed { .. });
    let mut left = (max_items.min(limits::MAX_SESSION_ITEMS), max_bytes);
    let mut given = Vec::new();
    let mut take = |item: &mut Item| {
        let is_out = item.given_at.is_some_and(|at| at.saturating_add(limits::REDELIVER_MS) > decide.now);
        if is_out || left.0 == 0 || item.bytes > left.1 {
            return false;
        }
        left = (left.0.saturating_sub(1), left.1.saturating_sub(item.bytes));
        item.given_at = Some(decide.now);
        given.push(item.clone());
        true
    };
    // Bounded by MAX_WAITING_ITEMS.
    for item in desk.items.iter_mut().filter(|item| item.kind.is_control()) {
        take(item);
    }
    for item in desk.items.iter_mut().filter(|item| !item.kind.is_control()) {
        // What opens the session is not there yet.
        if is_opening && item.kind == ItemKind::Prompt || !take(item) {
            break;
        }
    }
    let lease = desk.lease;
    let prompt = desk.prompt.as_mut();
    let ttl = decide.times.order_ttl_ms;
    let is_given = |id: &str| given.iter().any(|item: &Item| item.id == id);
    let run = prompt.filter(|prompt| is_given(&prompt.id)).map(|prompt| {
        prompt.was_given = true;
        (prompt.id.clone(), prompt.run, prompt.attempt, prompt.created_at)
    });
    let with_lease = |item: Item| {
        let run = run.as_ref().filter(|(id, ..)| *id == item.id);
        Given {
            lease,
            expires_in_ms: run.map(|(.., created)| created.saturating_add(ttl).saturating_sub(decide.now).max(0)),
            run: run.map(|(_, run, attempt, _)| (*run, *attempt)),
            item,
        }
    };
    Some(given.into_iter().map(with_lease).collect())
}

/// What a runner says of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The item.
    pub item_id: String,
    /// Its number: the acknowledgement of an earlier copy does not count.
    pub work_seq: u64,
    /// What became of it.
    pub result: AckResult,
}

/// What became of an item at the runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AckResult {
    /// It is in the mailbox.
    Stored,
    /// It will never be; why.
    Refused(String),
}

/// The runner acknowledges an item. Unknown ones are ignored.
pub fn on_ack(desk: &mut Desk, decide: &mut Decide<'_>, runner_key: &str, ack: &Ack) {
    let now = decide.now;
    if desk.held_by(runner_key).is_none() {
        return;
    }
    let is_it = |item: &Item| item.id == ack.item_id && item.work_seq == ack.work_seq && item.given_at.is_some();
    let Some(at) = desk.items.iter().position(is_it) else { return };
    let item = desk.items.remove(at);
    quiet(desk);
    if item.kind != ItemKind::Prompt {
        decide.push(Effect::DropBody(item.id.clone()));
    }
    match &ack.result {
        AckResult::Stored => {
            if let Some(holder) = &mut desk.holder {
                holder.stored = holder.stored.max(item.work_seq);
                if item.kind == ItemKind::Open && holder.open == (Open::Asked { acked_at: None }) {
                    holder.open = Open::Asked { acked_at: Some(now) };
                }
            }
            if let Some(prompt) = desk.prompt.as_mut().filter(|prompt| prompt.id == item.id) {
                prompt.is_stored = true;
            }
        }
        AckResult::Refused(why) => refused(desk, decide, &item, why),
    }
}

fn refused(desk: &mut Desk, decide: &mut Decide<'_>, item: &Item, why: &str) {
    match item.kind {
        ItemKind::Prompt => {
            if finish_prompt(desk, decide, &item.id) {
                decide.tell(failed(item.id.clone(), why));
            }
        }
        ItemKind::Open => super::take::open_failed(desk, decide, why, "the runner refused to open the session"),
        ItemKind::Push => {
            decide.tell(Told::push_failed(item.id.clone(), why));
        }
        // Whatever the runner does or does not do: nothing counts any more that it says.
        ItemKind::Cancel | ItemKind::Close => super::take::closed(desk, decide, None),
        ItemKind::Withdraw | ItemKind::Answer | ItemKind::Interrupt => {}
    }
}
