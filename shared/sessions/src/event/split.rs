//! Secrets that an agent says in pieces: no chunk of a stream shows one, although none holds all of it (agents.md 3.15).
//!
//! The end of a chunk that may be the beginning of a secret is held back until the next one comes. What is held when a turn ends is not
//! shown any more: the whole message, which is redacted as a whole, has it.

use serde_json::Value;

use super::{Draft, Redactor};

/// How many texts are followed at once: what each speaker says, and thinks. A hostile agent has any number of them.
const MAX_TEXTS: usize = 16;
/// Bytes that are held back at most. Longer secrets have no such beginning.
const MAX_HELD_BYTES: usize = 8 << 10;
/// So much of a text that was shown is remembered: fewer bytes than this are not held, as they begin ordinary words too.
pub(super) const MIN_OPEN_BYTES: usize = 4;

/// Texts that are being shown in pieces.
#[derive(Debug, Default)]
pub struct Pieces(Vec<Text>);

#[derive(Debug)]
struct Text {
    session: String,
    kind: String,
    /// The end of what was shown.
    shown: String,
    /// What is held back.
    held: String,
}

impl Pieces {
    /// The chunk as it is shown now; none when all of it is held back. What is no chunk of a text stays as it is.
    pub fn pass(&mut self, mut draft: Draft, redactor: &Redactor) -> Option<Draft> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let session = draft.data.get("session-id").and_then(text);
        let update = draft.data.get_mut("update");
        let kind = update.as_ref().and_then(|update| update.get("sessionUpdate")).and_then(text);
        let place = update.and_then(|update| update.get_mut("content")?.get_mut("text"));
        let (Some(kind), Some(place)) = (kind.filter(|kind| kind.ends_with("_chunk")), place) else {
            return Some(draft);
        };
        let Some(chunk) = place.as_str() else { return Some(draft) };
        let now = self.text(session.unwrap_or_default(), kind).take(chunk, redactor);
        if now.is_empty() && !chunk.is_empty() {
            return None;
        }
        if now != chunk {
            *place = now.into();
        }
        Some(draft)
    }

    /// A turn has ended.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn text(&mut self, session: String, kind: String) -> &mut Text {
        let found = self.0.iter().position(|text| text.session == session && text.kind == kind);
        let at = found.unwrap_or_else(|| {
            if self.0.len() >= MAX_TEXTS {
                self.0.remove(0);
            }
            self.0.push(Text { session, kind, shown: String::new(), held: String::new() });
            self.0.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "the place was found, or was just made")]
        &mut self.0[at]
    }
}

impl Text {
    /// Takes in a chunk; what of all that is held now can be shown.
    fn take(&mut self, chunk: &str, redactor: &Redactor) -> String {
        let before = self.shown.len();
        let whole = format!("{}{}{chunk}", self.shown, self.held);
        let open = redactor.open_end(&whole).max(before);
        let open = if whole.len() - open > MAX_HELD_BYTES { whole.len() } else { open };
        let (shown, held) = whole.split_at(open);
        held.clone_into(&mut self.held);
        let now = redactor.clean_after(shown, before);
        let end = shown.ceil_char_boundary(shown.len().saturating_sub(MIN_OPEN_BYTES - 1));
        shown.get(end..).unwrap_or_default().clone_into(&mut self.shown);
        now
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::{Kind, REDACTED};

    const SECRET: &str = "sk-live-0123456789abcdef";

    fn chunk(kind: &str, text: &str) -> Draft {
        let update = json!({"sessionUpdate": kind, "content": {"type": "text", "text": text}});
        Draft::new(Kind::AgentRuntime, json!({"method": "session/update", "session-id": "r", "update": update}))
    }

    fn shown(pieces: &mut Pieces, kind: &str, text: &str) -> String {
        let redactor = Redactor::new([SECRET.to_owned()]);
        let draft = pieces.pass(chunk(kind, text), &redactor);
        draft.map(|draft| draft.data["update"]["content"]["text"].as_str().unwrap().to_owned()).unwrap_or_default()
    }

    /// Everything that is shown of a text that comes in pieces of so many characters.
    fn all(text: &str, size: usize) -> String {
        let mut pieces = Pieces::default();
        let characters: Vec<char> = text.chars().collect();
        characters
            .chunks(size)
            .map(|piece| shown(&mut pieces, "agent_message_chunk", &piece.iter().collect::<String>()))
            .collect()
    }

    #[test]
    fn a_secret_in_pieces_is_not_shown() {
        let base64 = "c2stbGl2ZS0wMTIzNDU2Nzg5YWJjZGVm";
        let run = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJlc2ln";
        for secret in
            [SECRET, base64, "ghs_0123456789abcdefghij", run, "736b2d6c6976652d30313233343536373839616263646566"]
        {
            let text = format!("The key é is {secret}, and no other. ");
            for size in 1..secret.len() + 3 {
                let shown = all(&text, size);
                // Three bytes may be out before it is clear what they begin.
                let left = shown.replace(REDACTED, "");
                assert!((3..secret.len() - 3).all(|at| !left.contains(&secret[at..at + 4])), "{size}: {shown}");
                assert!(shown.starts_with("The key é is ") && shown.ends_with(", and no other. "), "{size}: {shown}");
            }
        }
    }

    #[test]
    fn what_only_begins_like_a_secret_is_shown_with_the_next_chunk() {
        for (pieces_of_text, expected) in [
            (vec!["use sk-live-", "demo for tests"], vec!["use ", "sk-live-demo for tests"]),
            (vec!["a forbear", "ance"], vec!["a for", "bearance"]),
            (vec!["words", " and", " more"], vec!["words", " and", " more"]),
            (vec!["s", "k", "-", "x"], vec!["s", "k", "-", "x"]),
            (vec!["sk-", "lunch"], vec!["sk-", "lunch"]),
            (vec![""], vec![""]),
        ] {
            let mut pieces = Pieces::default();
            let said: Vec<String> =
                pieces_of_text.iter().map(|text| shown(&mut pieces, "agent_message_chunk", text)).collect();
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn texts_do_not_mix_and_nothing_is_held_without_end() {
        let mut pieces = Pieces::default();
        assert_eq!(shown(&mut pieces, "agent_message_chunk", "sk-live-0123"), "");
        assert_eq!(shown(&mut pieces, "agent_thought_chunk", "456789abcdef"), "456789abcdef");
        assert_eq!(shown(&mut pieces, "agent_message_chunk", "456789abcdef"), REDACTED);
        assert_eq!(shown(&mut pieces, "agent_message_chunk", "sk-live"), "");
        pieces.clear();
        assert_eq!(shown(&mut pieces, "agent_message_chunk", "next"), "next");
        let long = "a".repeat(MAX_HELD_BYTES + 10);
        assert_eq!(shown(&mut pieces, "agent_message_chunk", &format!(" ghs_{long}")), format!(" {REDACTED}"));
        for number in 0..100 {
            let draft = Draft::new(
                Kind::AgentRuntime,
                json!({"session-id": number.to_string(), "update": {"sessionUpdate": "agent_message_chunk", "content": {"text": "x"}}}),
            );
            assert!(pieces.pass(draft, &Redactor::default()).is_some());
        }
        assert!(pieces.0.len() <= MAX_TEXTS);
        for other in [
            json!({}),
            json!({"update": {"sessionUpdate": "tool_call", "content": {"text": "sk-live-"}}}),
            json!({"update": {"sessionUpdate": "agent_message_chunk", "content": {"text": 5}}}),
        ] {
            let draft = Draft::new(Kind::AgentRuntime, other);
            assert_eq!(pieces.pass(draft.clone(), &Redactor::new([SECRET.to_owned()])), Some(draft));
        }
    }
}
