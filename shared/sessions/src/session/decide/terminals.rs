//! Terminals come and go (agents.md 5.3.8).

use super::Decide;
use crate::event::Draft;
use crate::runtime::Runtime;
use crate::session::{Effect, Job, OpenTerminal, State};

/// A terminal was opened in the runtime, whose sandbox was resumed for it. False when the session has no use for it any more: then
/// it is to be killed.
pub fn on_terminal_opened(
    state: &mut State,
    decide: &mut Decide<'_>,
    opened_in: &Runtime,
    pid: u32,
    by: &str,
    opened: Draft,
) -> bool {
    let is_same = state.runtime.as_ref().is_some_and(|runtime| runtime.sandbox_id == opened_in.sandbox_id);
    if state.status.is_terminal() || !is_same {
        return false;
    }
    if let Some(runtime) = &mut state.runtime {
        runtime.sandbox_domain.clone_from(&opened_in.sandbox_domain);
        runtime.secrets.envd_token.clone_from(&opened_in.secrets.envd_token);
        runtime.secrets.traffic_token.clone_from(&opened_in.secrets.traffic_token);
    }
    state.runtime_active = true;
    state.terminals.push(OpenTerminal { pid, by: by.to_owned(), sandbox_id: opened_in.sandbox_id.clone() });
    decide.append(state, opened);
    true
}

/// Something was typed: the session is not quiet, and its sandbox lives on.
pub fn on_terminal_used(state: &mut State, decide: &mut Decide<'_>) {
    state.active_at = decide.now;
    if state.runtime.is_some() && state.ending.is_none() {
        decide.push(Effect::Start(Job::Extend));
    }
}

/// The terminal with this process of a sandbox has ended.
pub fn on_terminal_closed(
    state: &mut State,
    decide: &mut Decide<'_>,
    sandbox_id: Option<&str>,
    pid: u32,
    closed: Draft,
) {
    let before = state.terminals.len();
    state.terminals.retain(|terminal| terminal.pid != pid || terminal.sandbox_id.as_deref() != sandbox_id);
    if state.terminals.len() != before {
        decide.append(state, closed);
    }
}
