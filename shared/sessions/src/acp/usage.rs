//! What agents say about their use (agents.md 4.4, 20.1).

use serde_json::Value;

use crate::session::budget::Report;

/// What an envelope reports, if it reports anything.
///
/// `usage` in the result of a prompt is not stable in ACP: its schema calls `totalTokens` the sum of the agent's session.
pub fn usage(envelope: &Value) -> Option<Report> {
    if let Some(result) = envelope.get("result") {
        let usage = result.get("usage")?;
        let sum = ["totalTokens", "total_tokens"].into_iter().find_map(|key| usage.get(key)?.as_u64());
        return sum.map(Report::Tokens);
    }
    let update = envelope.get("params")?.get("update")?;
    if update.get("sessionUpdate").and_then(Value::as_str) != Some("usage_update") {
        return None;
    }
    let cost = update.get("cost").and_then(|cost| {
        let currency = cost.get("currency")?.as_str()?;
        Some((cost.get("amount")?.as_f64()?, currency.to_owned()))
    });
    Some(Report::Context { tokens: update.get("used").and_then(Value::as_u64), cost })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_reported_is_found() {
        let update =
            |update: Value| json!({"method": "session/update", "params": {"sessionId": "r", "update": update}});
        let full = json!({"sessionUpdate": "usage_update", "used": 53000, "size": 200_000, "cost": {"amount": 0.045, "currency": "USD"}});
        let context = |tokens, cost| Some(Report::Context { tokens, cost });
        for (envelope, expected) in [
            (update(full), context(Some(53_000), Some((0.045, "USD".to_owned())))),
            (update(json!({"sessionUpdate": "usage_update"})), context(None, None)),
            (update(json!({"sessionUpdate": "usage_update", "used": -1, "cost": {"amount": 1}})), context(None, None)),
            (update(json!({"sessionUpdate": "tool_call", "used": 5})), None),
            (
                json!({"id": 1, "result": {"stopReason": "end_turn", "usage": {"totalTokens": 7}}}),
                Some(Report::Tokens(7)),
            ),
            (json!({"id": 1, "result": {"stopReason": "end_turn"}}), None),
            (json!({"id": 1, "result": {"usage": "much"}}), None),
        ] {
            assert_eq!(usage(&envelope), expected, "{envelope}");
        }
    }
}
