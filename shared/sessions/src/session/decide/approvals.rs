//! Tools of the agent that wait for a decision (agents.md 18.1, B23, B61). What cannot be decided is denied.

use serde_json::{Value, json};

use super::Decide;
use super::turns::ask_to_stop;
use crate::acp::{Answer, PermissionRequest, Unreadable, request};
use crate::event::{Draft, Kind};
use crate::request::{MAX_PATTERN_BYTES, MAX_PATTERNS};
use crate::session::{Approval, ApprovalState, Effect, Job, MAX_OPEN_APPROVALS, Phase, State, StopCause};

/// How often an answer is tried to be delivered.
const MAX_ATTEMPTS: u32 = 3;

/// What is decided without asking anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Allowed.
    Allow,
    /// Refused.
    Deny,
    /// A person is asked.
    Ask,
}

/// What a person decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The tool may be used.
    Granted,
    /// It may not.
    Denied,
}

/// Why a decision was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecisionError {
    /// No such approval.
    #[error("not found")]
    Unknown,
    /// It was decided before.
    #[error("already decided")]
    Decided,
    /// The option does not exist, or means the contrary.
    #[error("invalid body")]
    Option,
}

/// The agent asks before it uses a tool. `request_id` is our own new name for it.
pub fn on_permission(
    state: &mut State,
    decide: &mut Decide<'_>,
    request_id: &str,
    reply_to: Value,
    request: Result<PermissionRequest, Unreadable>,
    policy: Policy,
) {
    let turn =
        state.turn.as_ref().filter(|turn| matches!(turn.phase, Phase::Sending | Phase::Waiting | Phase::Running));
    let (Some(turn), Ok(request)) = (turn.map(|turn| turn.number), request) else {
        answer_now(decide, &reply_to, Answer::Cancelled);
        return;
    };
    let open = state.approvals.iter().filter(|approval| approval.state == ApprovalState::Open).count();
    let at_once = match policy {
        Policy::Allow => request.grant(None).or(Some(Answer::Cancelled)),
        Policy::Deny => request.deny(None),
        Policy::Ask if open >= MAX_OPEN_APPROVALS => request.deny(None),
        Policy::Ask => None,
    };
    if let Some(answer) = at_once {
        answer_now(decide, &reply_to, answer);
        return;
    }
    let deadline = decide.after(decide.times.approval);
    let approval = Approval {
        request_id: request_id.to_owned(),
        reply_to,
        turn,
        request,
        state: ApprovalState::Open,
        deadline,
        option_id: None,
        attempts: 0,
    };
    decide.append(state, Draft::new(Kind::ApprovalRequested, approval.shown()));
    decide.push(Effect::PutApproval(approval.clone()));
    state.approvals.push(approval);
}

fn answer_now(decide: &mut Decide<'_>, reply_to: &Value, answer: Answer<'_>) {
    decide.push(Effect::Start(Job::Tell(request::permission_answer(reply_to, answer))));
}

impl Approval {
    /// What people see of it: the data of `agent.approval_requested`.
    pub fn shown(&self) -> Value {
        json!({
            "request-id": self.request_id,
            "call-id": self.request.call_id,
            "tool": self.request.tool,
            "title": self.request.title,
            "options": self.request.options,
            "expires-at": self.deadline,
        })
    }

    /// The answer that was decided.
    pub fn answer(&self) -> Answer<'_> {
        self.option_id.as_deref().map_or(Answer::Cancelled, Answer::Selected)
    }

    fn told(&self, kind: Kind, by: &str, reason: Option<&str>) -> Draft {
        let data = json!({"by": by, "reason": reason, "request-id": self.request_id, "call-id": self.request.call_id});
        Draft::new(kind, data)
    }
}

/// A person decides. The answer is stored before it is sent, and sent again after a crash.
pub fn on_decision(
    state: &mut State,
    decide: &mut Decide<'_>,
    request_id: &str,
    decision: Decision,
    option_id: Option<&str>,
    by: &str,
    reason: Option<&str>,
) -> Result<(), DecisionError> {
    let approval =
        state.approvals.iter_mut().find(|approval| approval.request_id == request_id).ok_or(DecisionError::Unknown)?;
    if approval.state != ApprovalState::Open {
        return Err(DecisionError::Decided);
    }
    let answer = match decision {
        Decision::Granted => approval.request.grant(option_id),
        Decision::Denied => approval.request.deny(option_id),
    };
    let (kind, option) = match (answer.ok_or(DecisionError::Option)?, decision) {
        (Answer::Selected(option), Decision::Granted) => (Kind::ApprovalGranted, Some(option.to_owned())),
        (Answer::Selected(option), Decision::Denied) => (Kind::ApprovalDenied, Some(option.to_owned())),
        (Answer::Cancelled, _) => (Kind::ApprovalDenied, None),
    };
    approval.option_id = option;
    approval.state = ApprovalState::Decided;
    approval.deadline = decide.now.saturating_add(decide.times.sending());
    let (approval, draft) = (approval.clone(), approval.told(kind, by, reason));
    decide.append(state, draft);
    decide.push(Effect::PutApproval(approval));
    decide.push(Effect::Start(Job::Answer { request_id: request_id.to_owned() }));
    grow_silence(state, decide);
    Ok(())
}

/// The silence of a turn starts from zero when nothing waits for a person any more.
fn grow_silence(state: &mut State, decide: &Decide<'_>) {
    let until = decide.after(decide.times.silence);
    let is_waiting = state.approvals.iter().any(|approval| approval.state == ApprovalState::Open);
    if let Some(turn) = state.turn.as_mut().filter(|turn| turn.phase == Phase::Running && !is_waiting) {
        turn.until = until;
    }
}

/// An answer was delivered, or could not be.
pub fn on_answered(state: &mut State, decide: &mut Decide<'_>, request_id: &str, is_delivered: bool) {
    let Some(at) = state.approvals.iter().position(|approval| approval.request_id == request_id) else { return };
    let Some(approval) = state.approvals.get_mut(at) else { return };
    approval.attempts = approval.attempts.saturating_add(1);
    let is_lost = !is_delivered && approval.attempts >= MAX_ATTEMPTS;
    if is_delivered || is_lost {
        approval.state = ApprovalState::Closed;
        decide.push(Effect::PutApproval(approval.clone()));
        state.approvals.remove(at);
    } else {
        approval.deadline = decide.now.saturating_add(decide.times.order());
        decide.push(Effect::PutApproval(approval.clone()));
    }
    if is_lost && state.turn.as_ref().is_some_and(|turn| turn.phase == Phase::Running) {
        ask_to_stop(state, decide, StopCause::Watchdog);
    }
}

/// The agent takes a request back.
pub fn on_withdrawn(state: &mut State, decide: &mut Decide<'_>, reply_to: &Value) {
    let Some(approval) = state.approvals.iter().find(|approval| approval.reply_to == *reply_to) else { return };
    let request_id = approval.request_id.clone();
    close(state, decide, &request_id, "withdrawn");
}

/// The agent, or its runner, does not wait for an answer any more: nothing is sent to it.
pub fn on_voided(state: &mut State, decide: &mut Decide<'_>, reply_to: &Value, reason: &'static str) {
    let Some(approval) = state.approvals.iter_mut().find(|approval| approval.reply_to == *reply_to) else { return };
    let request_id = approval.request_id.clone();
    if approval.state == ApprovalState::Open {
        settle(state, decide, &request_id, reason);
    } else {
        on_answered(state, decide, &request_id, true);
    }
}

/// The process of the agent is gone: whatever it had asked is over, and so is its turn.
pub fn on_agent_gone(state: &mut State, decide: &mut Decide<'_>) {
    close_all(state, decide, "agent-gone");
    if let Some(runtime) = &mut state.runtime {
        runtime.server_ended = true;
        runtime.agent_exited = true;
    }
    decide.push(Effect::Start(Job::Detach));
    if state.turn.as_ref().is_some_and(|turn| turn.is_with_agent() && !turn.is_being_killed()) {
        super::turns::over(state, decide);
    }
}

/// Nobody decided in time.
pub(super) fn expire(state: &mut State, decide: &mut Decide<'_>) {
    let is_due = |approval: &&Approval| approval.state == ApprovalState::Open && approval.deadline <= decide.now;
    let due: Vec<String> = state.approvals.iter().filter(is_due).map(|approval| approval.request_id.clone()).collect();
    // At most MAX_OPEN_APPROVALS.
    for request_id in due {
        close(state, decide, &request_id, "expired");
    }
    let again = |approval: &&Approval| approval.state == ApprovalState::Decided && approval.deadline <= decide.now;
    let again: Vec<String> = state.approvals.iter().filter(again).map(|approval| approval.request_id.clone()).collect();
    for request_id in again {
        // Whoever was sending it was lost.
        on_answered(state, decide, &request_id, false);
        let Some(approval) = state.approvals.iter_mut().find(|approval| approval.request_id == request_id) else {
            continue;
        };
        approval.deadline = decide.now.saturating_add(decide.times.sending());
        decide.push(Effect::Start(Job::Answer { request_id }));
    }
}

/// Closes every open approval for one reason.
pub(super) fn close_all(state: &mut State, decide: &mut Decide<'_>, reason: &'static str) {
    let open = |approval: &&Approval| approval.state == ApprovalState::Open;
    let open: Vec<String> = state.approvals.iter().filter(open).map(|approval| approval.request_id.clone()).collect();
    for request_id in open {
        close(state, decide, &request_id, reason);
    }
}

/// The service denies. The agent is answered where it still lives: with its own refusal, or with a cancellation when the request or
/// the turn is taken back.
fn close(state: &mut State, decide: &mut Decide<'_>, request_id: &str, reason: &'static str) {
    let Some(approval) = settle(state, decide, request_id, reason) else { return };
    let answer = match reason {
        "expired" => approval.request.deny(None).unwrap_or(Answer::Cancelled),
        _ => Answer::Cancelled,
    };
    if reason != "agent-gone" {
        answer_now(decide, &approval.reply_to, answer);
    }
}

/// Closes an approval, and tells why.
fn settle(state: &mut State, decide: &mut Decide<'_>, request_id: &str, reason: &'static str) -> Option<Approval> {
    let at = state.approvals.iter().position(|approval| approval.request_id == request_id)?;
    let mut approval = state.approvals.remove(at);
    approval.state = ApprovalState::Closed;
    let draft = approval.told(Kind::ApprovalDenied, "system", Some(reason));
    decide.append(state, draft);
    decide.push(Effect::PutApproval(approval.clone()));
    grow_silence(state, decide);
    Some(approval)
}

impl Policy {
    /// The policy of a task for a request: the mode that allows all, else the lists of the task, deny first.
    pub fn of(task: &crate::task::Task, request: &PermissionRequest) -> Self {
        if task.launch().allows_all() {
            return Self::Allow;
        }
        let is_in = |list: &str| {
            let patterns = task.tools().get(list).and_then(Value::as_array);
            // So many patterns of such a length, against two texts that are cut.
            let patterns = patterns.into_iter().flatten().take(MAX_PATTERNS).filter_map(Value::as_str);
            patterns.filter(|pattern| pattern.len() <= MAX_PATTERN_BYTES).any(|pattern| {
                [&request.tool, &request.title].into_iter().flatten().any(|text| crate::publish::glob(pattern, text))
            })
        };
        if is_in("deny") {
            Self::Deny
        } else if is_in("allow") {
            Self::Allow
        } else {
            Self::Ask
        }
    }
}
