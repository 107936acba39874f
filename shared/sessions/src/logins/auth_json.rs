//! The credentials file of Codex (agents.md 12.3).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};
use time::UtcDateTime;

use super::Login;

/// Longest token whose claims are read, in bytes.
const MAX_TOKEN_BYTES: usize = 64 << 10;

/// The text of the file. With `share_refresh` the agent can renew its tokens by itself, which makes those that are stored here
/// useless after a while (agents.md 12.6).
pub fn auth_json(login: &Login, share_refresh: bool, now: i64) -> String {
    let tokens = &login.tokens;
    let account = tokens.id_token.as_deref().and_then(account_id);
    let account = account.or_else(|| tokens.access_token.as_deref().and_then(account_id));
    let refresh_token = tokens.refresh_token.clone().filter(|_| share_refresh);
    let mut members = Map::new();
    for (name, value) in [
        ("id_token", tokens.id_token.clone()),
        ("access_token", tokens.access_token.clone()),
        ("refresh_token", refresh_token),
        ("account_id", account),
        ("token_type", tokens.token_type.clone()),
        ("scope", tokens.scope.clone()),
    ] {
        members.extend(value.map(|value| (name.to_owned(), Value::from(value))));
    }
    members.insert("expires_at".to_owned(), login.expires_at.into());
    json!({
        "auth_mode": "chatgpt",
        "OPENAI_API_KEY": null,
        "tokens": members,
        "last_refresh": iso(now),
    })
    .to_string()
}

/// The account that a token names. Its signature is not checked: it is only handed back to whom it came from.
fn account_id(token: &str) -> Option<String> {
    let payload = Some(token).filter(|token| token.len() <= MAX_TOKEN_BYTES)?.split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let account = claims.get("https://api.openai.com/auth")?.get("chatgpt_account_id")?.as_str()?;
    Some(account.to_owned()).filter(|account| !account.is_empty())
}

fn iso(ms: i64) -> String {
    let time = UtcDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).unwrap_or(UtcDateTime::UNIX_EPOCH);
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second, ms) = (time.hour(), time.minute(), time.second(), time.millisecond());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logins::Tokens;

    fn jwt(claims: &str) -> String {
        format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims))
    }

    fn file(tokens: Tokens, share: bool) -> Value {
        let login = Login {
            auth_id: "a".to_owned(),
            user_id: "u".to_owned(),
            issued_at: 1,
            expires_at: 7,
            revoked_at: 0,
            tokens,
        };
        serde_json::from_str(&auth_json(&login, share, 1_772_000_000_123)).unwrap()
    }

    #[test]
    fn the_file_holds_what_is_known() {
        let id_token = jwt(r#"{"https://api.openai.com/auth":{"chatgpt_account_id":"acct-7"}}"#);
        let text = |text: &str| Some(text.to_owned());
        let tokens = Tokens {
            access_token: text("at"),
            refresh_token: text("rt"),
            id_token: Some(id_token.clone()),
            token_type: text("Bearer"),
            scope: text("openid"),
        };
        let expected = json!({
            "auth_mode": "chatgpt", "OPENAI_API_KEY": null, "last_refresh": "2026-02-25T06:13:20.123Z",
            "tokens": {"id_token": id_token, "access_token": "at", "refresh_token": "rt", "account_id": "acct-7",
                "token_type": "Bearer", "scope": "openid", "expires_at": 7},
        });
        assert_eq!(file(tokens.clone(), true), expected);
        assert!(file(tokens, false)["tokens"].get("refresh_token").is_none());
        assert_eq!(file(Tokens::default(), true)["tokens"], json!({"expires_at": 7}));
    }

    #[test]
    fn the_account_is_in_the_id_token_or_the_access_token() {
        let naming =
            |name: &str| Some(jwt(&format!(r#"{{"https://api.openai.com/auth":{{"chatgpt_account_id":{name}}}}}"#)));
        let account = |id_token: Option<String>, access_token: Option<String>| {
            file(Tokens { access_token, id_token, ..Tokens::default() }, true)["tokens"].get("account_id").cloned()
        };
        assert_eq!(account(naming("\"one\""), naming("\"two\"")), Some("one".into()));
        assert_eq!(account(None, naming("\"two\"")), Some("two".into()));
        for broken in
            [naming("5"), naming("\"\""), Some("x".to_owned()), Some("a.?.b".to_owned()), Some(jwt("[")), None]
        {
            assert_eq!(account(broken.clone(), None), None);
            assert_eq!(account(broken, naming("\"two\"")), Some("two".into()));
        }
        assert_eq!(account(Some("x".repeat(100_000)), None), None);
    }
}
