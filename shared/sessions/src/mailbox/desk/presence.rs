//! Whether the runner is there (session-mailbox.md 7.8).

use super::holder::released;
use super::state::Outage;
use super::{Decide, Desk, Open, Released, Told};
use crate::mailbox::{Offline, Presence};

/// The runner's object says whether the runner is there. What it said before, or says again, changes nothing.
pub fn on_presence(desk: &mut Desk, decide: &mut Decide<'_>, runner_key: &str, presence: Presence) {
    let Some(holder) = desk.holder.as_mut().filter(|holder| holder.runner_key == runner_key) else { return };
    if presence.number < holder.presence {
        return;
    }
    holder.presence = presence.number;
    holder.last_seen_at = holder.last_seen_at.max(presence.last_seen_at);
    let runner_id = holder.runner_id.clone();
    match (presence.offline, holder.outage) {
        (Some(reason), None) => {
            let since = holder.last_seen_at;
            holder.outage = Some(Outage { reason, since });
            decide.tell(Told::Offline { runner_id, reason, last_seen_at: since });
        }
        (None, Some(outage)) => {
            holder.outage = None;
            // Its time to open the session begins anew.
            if let Open::Asked { acked_at: Some(at) } = &mut holder.open {
                *at = decide.now;
            }
            let offline_ms = decide.now.saturating_sub(outage.since).max(0);
            decide.tell(Told::Online { runner_id, offline_ms });
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    if presence.offline == Some(Offline::Revoked) {
        released(desk, decide, Released::Revoked);
    }
}
