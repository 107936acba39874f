//! Who has signed in to the status page: in memory alone, by a random id that a cookie holds (self-host.md 4.5).

use std::num::NonZeroUsize;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyed::Cache;

/// How long a session lasts, in milliseconds.
pub(super) const LASTS_MS: i64 = 12 * 60 * 60 * 1000;

/// Sessions at once; the one that was there first ends.
const SESSIONS: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();

/// Bytes of an id.
const ID_BYTES: usize = 32;

/// Whoever has signed in.
pub(crate) struct Sessions(Cache<String, String>);

impl Default for Sessions {
    fn default() -> Self {
        Self(Cache::new(SESSIONS))
    }
}

impl Sessions {
    /// A session of whoever has this token, which is asked for what it lets in each time: one that is revoked ends its sessions.
    /// None: the system has no random bytes.
    pub(super) fn begin(&self, token: &str, now_ms: i64) -> Option<String> {
        let mut bytes = [0; ID_BYTES];
        getrandom::fill(&mut bytes).ok()?;
        let id = URL_SAFE_NO_PAD.encode(bytes);
        self.0.put(id.clone(), token.to_owned(), now_ms..now_ms.saturating_add(LASTS_MS));
        Some(id)
    }

    /// The token of a session.
    pub(super) fn token(&self, id: &str, now_ms: i64) -> Option<String> {
        self.0.get(id, now_ms)
    }

    /// Ends a session.
    pub(super) fn end(&self, id: &str) {
        self.0.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lasts_until_its_end() {
        let sessions = Sessions::default();
        let id = sessions.begin("token", 0).unwrap();
        assert_ne!(sessions.begin("token", 0).unwrap(), id);
        assert_eq!(sessions.token(&id, LASTS_MS - 1).as_deref(), Some("token"));
        assert_eq!(sessions.token(&id, LASTS_MS), None);
        assert_eq!(sessions.token("guessed", 0), None);
        let id = sessions.begin("token", 0).unwrap();
        sessions.end(&id);
        assert_eq!(sessions.token(&id, 1), None);
    }
}
