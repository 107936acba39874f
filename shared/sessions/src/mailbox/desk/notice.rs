//! What a runner reports of its own (session-mailbox.md 7.6).

use serde_json::Value;

use super::batch::Refused;
use super::said::Said;
use super::take::take;
use super::{Decide, Desk, Told};
use crate::mailbox::limits;

/// A report.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// What: a word, or the kind of an event that the runner reports in the agent's place.
    pub code: String,
    /// In words.
    pub message: String,
    /// Under which lease; only what stands for an event says so.
    pub lease: Option<u64>,
    /// What stands for the event's data.
    pub data: Option<Value>,
}

/// A report arrived, for the first time: whoever calls this knows the ids of the last day.
///
/// # Errors
/// [`Refused::NotHeld`], [`Refused::LeaseLost`]; then nothing was changed, and the id is not to be remembered.
pub fn on_notice(desk: &mut Desk, decide: &mut Decide<'_>, runner_key: &str, notice: Notice) -> Result<(), Refused> {
    if desk.held_by(runner_key).is_none() {
        return Err(Refused::NotHeld);
    }
    let data = notice.data.unwrap_or(Value::Null);
    if let Some(said) = Said::read(&notice.code, data).ok().filter(Said::is_runners) {
        if notice.lease != Some(desk.lease) {
            return Err(Refused::LeaseLost(desk.lease));
        }
        take(desk, decide, said);
        return Ok(());
    }
    let message = notice.message.chars().take(limits::MAX_NOTICE_CHARS).collect();
    decide.tell(Told::Notice { code: notice.code, message });
    Ok(())
}
