//! How git in a sandbox gets tokens when none lies there (agents.md 20.6): a helper asks this service with the token of the run.

use std::fmt;

use serde_json::{Map, Value};
use transcripts::run_token::{Claims, GIT, Run, RunTokens, TokenError};

/// The claim that names the sandbox that a token is for.
pub const BOUND_TO: &str = "sandbox";

/// Makes what the helper of one session asks with.
#[derive(Clone)]
pub struct GitBroker {
    url: String,
    tokens: RunTokens,
    user: String,
    session: String,
    run: Option<Run>,
    attempt: u64,
    epoch: u64,
}

impl fmt::Debug for GitBroker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("GitBroker").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Whom tokens are for.
#[derive(Clone, Debug)]
pub struct Holder<'a> {
    /// The user.
    pub user: &'a str,
    /// The session.
    pub session: &'a str,
    /// The last run that began; none before the first.
    pub run: Option<Run>,
    /// Its attempt.
    pub attempt: u64,
    /// The epoch of the conversation.
    pub epoch: u64,
}

impl GitBroker {
    /// The broker of a session, below the address of this service. None when that has characters that no address of ours has: it is
    /// written into a file that another program reads.
    pub fn new(base: &str, tokens: &RunTokens, holder: Holder<'_>) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/[]%".contains(&byte);
        if !base.bytes().all(is_plain) {
            return None;
        }
        Some(Self {
            url: format!("{base}/sessions/{}/git-credentials", web::url::encode(holder.session)),
            tokens: tokens.clone(),
            user: holder.user.to_owned(),
            session: holder.session.to_owned(),
            run: holder.run,
            attempt: holder.attempt,
            epoch: holder.epoch,
        })
    }

    /// What the helper's `curl` reads: where to ask, and with which token. `now` is in milliseconds since 1970, `jti` names the token.
    ///
    /// # Errors
    /// There is no key to sign with.
    pub fn file(&self, sandbox_id: &str, now: i64, jti: String) -> Result<String, TokenError> {
        let claims = Claims {
            sub: self.user.clone(),
            sid: self.session.clone(),
            run: self.run.clone(),
            att: self.attempt,
            ep: self.epoch,
            scope: vec![GIT.to_owned()],
            iat: 0,
            exp: 0,
            jti: String::new(),
            rest: Map::from_iter([(BOUND_TO.to_owned(), Value::from(sandbox_id))]),
        };
        let token = self.tokens.issue(&claims.renewed(now, jti))?;
        Ok(format!("url = \"{}\"\nheader = \"authorization: Bearer {token}\"\n", self.url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(base: &str) -> Option<GitBroker> {
        let run = Some(Run { run: "run-3".to_owned(), seq: 3 });
        let holder = Holder { user: "ann", session: "a/b \"c", run, attempt: 1, epoch: 2 };
        GitBroker::new(base, &RunTokens::development(), holder)
    }

    #[test]
    fn the_file_names_the_service_and_holds_a_token_for_git_alone() {
        let broker = broker("https://agents.example").unwrap();
        let file = broker.file("sbx1", 1_000_000, "j".to_owned()).unwrap();
        let (url, header) = file.split_once('\n').unwrap();
        assert_eq!(url, "url = \"https://agents.example/sessions/a%2Fb%20%22c/git-credentials\"");
        let token = header.strip_prefix("header = \"authorization: Bearer ").unwrap().trim_end().trim_end_matches('"');
        let claims = RunTokens::development().verify(token, 1_000_000).unwrap();
        assert_eq!((claims.sub.as_str(), claims.sid.as_str(), claims.ep), ("ann", "a/b \"c", 2));
        assert_eq!((claims.scope, claims.run.unwrap().seq), (vec![GIT.to_owned()], 3));
        assert_eq!((&claims.rest[BOUND_TO], claims.exp), (&Value::from("sbx1"), 1_900));
        assert!(!format!("{broker:?}").contains("key"));
    }

    #[test]
    fn an_address_cannot_end_its_line() {
        for base in [
            "https://a.example\"\nproxy = \"http://evil.example",
            "https://a.example\\",
            "https://a b",
            "https://a.example\n",
        ] {
            assert!(broker(base).is_none(), "{base}");
        }
        assert!(broker("http://[::1]:8787").is_some());
    }
}
