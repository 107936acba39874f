//! Notifications: what somebody else's server is told of a session (agents.md 20.3). Pure; the session's object sends them.

mod notice;
mod signature;

pub use notice::{MAX_BODY_BYTES, Notice, Topic};
pub use signature::{Secret, signature};

use sha2::{Digest as _, Sha256};

/// The name of a delivery: the same for the same event and webhook, so that whatever is made twice is one.
pub fn delivery_id(event_id: &str, webhook_id: &str) -> String {
    // Neither holds a line break, so no two pairs give the same text.
    let digest = Sha256::digest(format!("{event_id}\n{webhook_id}"));
    let (half, _) = digest.split_at(16);
    format!("msg_{}", base16ct::lower::encode_string(half))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_has_one_name() {
        let id = delivery_id("event", "webhook");
        assert_eq!(id, delivery_id("event", "webhook"));
        assert_eq!((id.len(), id.starts_with("msg_")), (36, true));
        for (event, webhook) in
            [("event", "webhook2"), ("event2", "webhook"), ("eventw", "ebhook"), ("webhook", "event")]
        {
            assert_ne!(id, delivery_id(event, webhook));
        }
    }
}
