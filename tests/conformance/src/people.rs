//! Whom the server under test knows: that depends on how it finds out who asks.

use std::sync::{Mutex, PoisonError};

use crate::cases::Case;
use crate::client::Client;
use crate::tokens::Issuer;

/// What cases presume of the way in which the server finds out who asks. Cognito has all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presumes {
    /// Tokens that a Cognito pool makes, and counts as it does.
    CognitoTokens,
    /// Tokens whose claims the suite chooses.
    IssuedTokens,
    /// Several people, or one whom no other case has met.
    Newcomers,
    /// Whoever shows no token is refused.
    Refusals,
}

/// Cases that cannot be had where what they presume is missing.
pub struct LeftOut {
    /// What they presume.
    pub presumes: Presumes,
    /// What they need it for.
    pub reason: &'static str,
    /// Beginnings of their names, behind `suite::`.
    pub cases: &'static [&'static str],
}

/// How a new person comes about.
pub enum People {
    /// The issuer says who somebody is: there are as many as anybody wants.
    Issued,
    /// The server has stored them, with a token each: `PEOPLE` names a file of lines `user token`.
    Stored(Mutex<Vec<(String, String)>>),
    /// Everybody is this one user: `ONE_USER` is the name, and after a space the token, if there is one.
    One(String, Option<String>),
}

/// Which pages the server under test lets ask, where the request names none: all, unless nobody is asked for a token. Such a server tells
/// browsers which pages may ask.
pub fn pages_that_may_ask() -> &'static str {
    let nobody_is_asked = std::env::var("ONE_USER").is_ok_and(|one| !one.contains(' '));
    if nobody_is_asked { "" } else { "*" }
}

impl People {
    /// Whether the issuer is a Cognito pool, whose access tokens count like its identity tokens.
    pub fn have_access_tokens(&self) -> bool {
        matches!(self, Self::Issued) && std::env::var_os("OIDC").is_none()
    }

    /// What the environment says.
    pub fn from_environment() -> Self {
        if let Ok(one) = std::env::var("ONE_USER") {
            let (user, token) = one.split_once(' ').unwrap_or((&one, ""));
            return Self::One(user.to_owned(), Some(token.to_owned()).filter(|token| !token.is_empty()));
        }
        let Some(file) = std::env::var_os("PEOPLE") else { return Self::Issued };
        let text = std::fs::read_to_string(file).expect("PEOPLE names a file");
        let people = text.lines().filter_map(|line| line.split_once(' '));
        Self::Stored(Mutex::new(people.map(|(user, token)| (user.to_owned(), token.to_owned())).collect()))
    }

    /// Whether the server under test has what a case presumes.
    fn have(&self, presumed: Presumes) -> bool {
        match presumed {
            Presumes::CognitoTokens => self.have_access_tokens(),
            Presumes::IssuedTokens => matches!(self, Self::Issued),
            Presumes::Newcomers => !matches!(self, Self::One(..)),
            Presumes::Refusals => !matches!(self, Self::One(_, None)),
        }
    }

    /// Those of the cases that can be had with these people. Whoever takes a name out of the suite takes it out of the lists.
    pub fn cases(&self, all: Vec<Case>, left_out: &[LeftOut]) -> Vec<Case> {
        let is_one =
            |case: &Case, name: &str| case.name.split_once("suite::").is_some_and(|(_, it)| it.starts_with(name));
        for LeftOut { cases, reason, .. } in left_out {
            for name in *cases {
                assert!(all.iter().any(|case| is_one(case, name)), "{name} is no case ({reason})");
            }
        }
        let missing: Vec<&str> =
            left_out.iter().filter(|list| !self.have(list.presumes)).flat_map(|list| list.cases).copied().collect();
        all.into_iter().filter(|case| !missing.iter().any(|name| is_one(case, name))).collect()
    }

    /// Somebody whom no other case has met, unless there is one user alone.
    pub fn person(&self, base: &str, name: &str, issuer: &Issuer) -> Client {
        match self {
            Self::Issued => {
                let user = format!("{name}-{}", uuid::Uuid::new_v4().simple());
                Client::new(base, &user, Some(issuer.token(&user)))
            }
            Self::Stored(people) => {
                let next = people.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let (user, token) = next.expect("PEOPLE names enough of them");
                Client::new(base, &user, Some(token))
            }
            Self::One(user, token) => Client::new(base, user, token.clone()),
        }
    }
}
