//! Bodies of items (session-mailbox.md 7.4).

use serde_json::{Value, json};

use crate::acp::request::{self, ResourceLink};
use crate::mailbox::limits::MAX_ITEM_BYTES;
use crate::object::core::Core;
use crate::repository::sandbox_directory;
use crate::session::store::Order;

/// The directory that the agent works in: that of the conversation, if it goes on; else that of a sandbox, so that a conversation that begins here
/// can go on there, where agents find their files by the directory.
pub(super) fn directory(core: &Core) -> String {
    let kept = resumed(core).map(|kept| kept.directory.clone()).filter(|directory| !directory.is_empty());
    kept.unwrap_or_else(|| sandbox_directory(core.task.repo_url()))
}

/// The conversation that the agent is to go on with. One agent does not read the files of another.
fn resumed(core: &Core) -> Option<&crate::session::transcript::Kept> {
    core.state.transcript.kept.as_ref().filter(|kept| core.task.launch().agent.as_deref() == Some(kept.agent.as_str()))
}

/// The name of the conversation that the agent is to go on with.
pub(super) fn resumed_session(core: &Core) -> Option<&str> {
    resumed(core).filter(|kept| kept.sha256.is_some()).map(|kept| kept.native_session_id.as_str())
}

/// What opens the agent's session.
pub(super) fn open(core: &Core) -> String {
    let mut task = core.task.0.clone();
    if let Some(agent) = task.get_mut("agent") {
        crate::event::strip_agent(agent);
    }
    let launch = core.task.launch();
    let resume = resumed(core).and_then(|kept| {
        let sha256 = kept.sha256.as_deref()?;
        Some(json!({
            "run": kept.run, "epoch": core.state.transcript.epoch.unwrap_or_default(), "sha256": sha256,
        }))
    });
    json!({
        "task": task,
        "agent": launch.agent,
        "mode": launch.mode_id(),
        "cwd": directory(core),
        "resume": resume,
    })
    .to_string()
}

/// What a person said. `before` is what an agent is told first that does not know the conversation, where there is room for it.
pub(super) fn prompt(core: &Core, order: &Order, before: Option<&str>) -> String {
    let attachments = if core.state.attachments_sent { Vec::new() } else { core.task.attachments() };
    let links: Vec<ResourceLink<'_>> = attachments.iter().map(|uri| ResourceLink::of_attachment(uri)).collect();
    let role = if order.by == core.state.requested_by { "owner" } else { "member" };
    let files: [Value; 0] = [];
    let mut body =
        json!({"by": order.by, "role": role, "content": request::blocks(&order.message, &links), "files": files});
    let plain = body.to_string();
    let (Some(before), Some(members)) = (before, body.as_object_mut()) else { return plain };
    members.insert("recovery".to_owned(), before.into());
    let whole = body.to_string();
    if whole.len() > MAX_ITEM_BYTES { plain } else { whole }
}
