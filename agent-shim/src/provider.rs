//! What a failed prompt means: wait, go on without the conversation, or an error for a person
//! (docs/spec/session-mailbox.md 4.6). Agents tell it in words, and each in its own. Pure.

use serde_json::Value;

use crate::acp::Refusal;

/// How long is waited when the provider does not say, in milliseconds.
const USUAL_WAIT_MS: i64 = 60_000;
/// Words of failures that pass.
const PASSING: [&str; 8] = [
    "rate limit",
    "rate_limit",
    "too many requests",
    "overloaded",
    "429",
    "529",
    "temporarily unavailable",
    "econnreset",
];
/// Words of a conversation that is gone.
const GONE: [&str; 5] =
    ["session not found", "unknown session", "invalid session", "no conversation found", "no such conversation"];

/// What is done about a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The same prompt again, after so many milliseconds.
    Wait(i64),
    /// The conversation is gone: the next prompt begins a new one.
    Forget,
    /// A person is told.
    Tell,
}

/// Judges a refusal.
pub(crate) fn judge(refusal: &Refusal) -> Verdict {
    let text = format!(
        "{} {}",
        refusal.message,
        if refusal.data.is_null() { String::new() } else { refusal.data.to_string() }
    );
    let text = text.to_lowercase();
    if GONE.iter().any(|words| text.contains(words)) {
        Verdict::Forget
    } else if PASSING.iter().any(|words| text.contains(words)) {
        Verdict::Wait(wait(&refusal.data))
    } else {
        Verdict::Tell
    }
}

fn wait(data: &Value) -> i64 {
    let number = |key: &str| data.get(key).and_then(Value::as_i64);
    let milliseconds = number("retryAfterMs").or_else(|| number("retry_after_ms"));
    let seconds = || number("retryAfter").or_else(|| number("retry_after")).or_else(|| number("retry-after"));
    milliseconds.or_else(|| Some(seconds()?.saturating_mul(1000))).unwrap_or(USUAL_WAIT_MS).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn judged(message: &str, data: Value) -> Verdict {
        judge(&Refusal { code: -32603, message: message.into(), data })
    }

    #[test]
    fn limits_are_waited_for_as_long_as_the_provider_says() {
        assert_eq!(judged("Rate limit exceeded", Value::Null), Verdict::Wait(60_000));
        assert_eq!(judged("x", json!({"type": "overloaded_error", "retry_after": 7})), Verdict::Wait(7_000));
        assert_eq!(judged("API Error 429", json!({"retryAfterMs": 250})), Verdict::Wait(250));
        assert_eq!(judged("429", json!({"retryAfter": -5})), Verdict::Wait(0));
    }

    #[test]
    fn what_does_not_pass_is_told_and_a_lost_conversation_forgotten() {
        assert_eq!(judged("the agent failed as it was told to", Value::Null), Verdict::Tell);
        assert_eq!(judged("Authentication required", Value::Null), Verdict::Tell);
        assert_eq!(judged("Session not found", Value::Null), Verdict::Forget);
        assert_eq!(
            judged("Internal error", json!({"details": "No conversation found with session ID"})),
            Verdict::Forget
        );
    }
}
