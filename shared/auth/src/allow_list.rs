//! Which of those may enter for whom an issuer vouches.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use crate::Claims;

/// Users by id, and verified addresses. Empty: all. A clone is the same list: what replaces one replaces all.
#[derive(Clone, Debug, Default)]
pub struct AllowList(Arc<RwLock<Lists>>);

#[derive(Clone, Debug, Default)]
struct Lists {
    subs: Vec<String>,
    emails: Vec<String>,
}

/// What a list says about somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// May enter.
    In,
    /// May not.
    Out,
    /// The token names no address: that of the stored user decides.
    AskForAddress,
}

impl AllowList {
    /// The lists of `DB_SYNC_ALLOW_SUBS` and `DB_SYNC_ALLOW_EMAILS`. Entries are separated by commas; `*@example.org` stands for
    /// all addresses of a domain.
    pub fn parse(subs: &str, emails: &str) -> Self {
        let entries = |list: &str| -> Vec<String> {
            list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
        };
        let lists = Lists { subs: entries(subs), emails: entries(&emails.to_lowercase()) };
        Self(Arc::new(RwLock::new(lists)))
    }

    /// Puts another list in the place of this one.
    pub fn replace(&self, other: &Self) {
        let lists = other.lists().clone();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = lists;
    }

    fn lists(&self) -> RwLockReadGuard<'_, Lists> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the list says about whoever has these claims. Users whom the server itself knows are not subject to it.
    pub fn judge(&self, claims: &Claims) -> Verdict {
        let lists = self.lists();
        let all = lists.subs.is_empty() && lists.emails.is_empty();
        if all || claims.is_own() || claims.sub().is_some_and(|sub| lists.subs.iter().any(|listed| listed == sub)) {
            return Verdict::In;
        }
        match claims.email() {
            Some(email) if claims.email_verified() == Some(true) && lists.admits(email) => Verdict::In,
            None if !lists.emails.is_empty() => Verdict::AskForAddress,
            _ => Verdict::Out,
        }
    }

    /// Whether a verified address may enter.
    pub fn admits(&self, email: &str) -> bool {
        self.lists().admits(email)
    }
}

impl Lists {
    fn admits(&self, email: &str) -> bool {
        let email = email.to_lowercase();
        self.emails.iter().any(|listed| match listed.strip_prefix('*') {
            Some(domain) => domain.starts_with('@') && email.ends_with(domain) && email.len() > domain.len(),
            None => *listed == email,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, Value};

    fn claims(sub: &str, email: Option<(&str, bool)>) -> Claims {
        let mut claims = Map::from_iter([("sub".to_owned(), Value::from(sub))]);
        if let Some((email, verified)) = email {
            claims.insert("email".to_owned(), email.into());
            claims.insert("email_verified".to_owned(), verified.into());
        }
        Claims::new(claims)
    }

    #[test]
    fn an_empty_list_lets_everybody_in() {
        assert_eq!(AllowList::parse(" , ", "").judge(&claims("u", None)), Verdict::In);
    }

    #[test]
    fn ids_and_verified_addresses_are_let_in() {
        let list = AllowList::parse("u1, u2", "Ann@Example.org, *@friends.test, *everybody");
        for (sub, email, verdict) in [
            ("u1", None, Verdict::In),
            ("u2", Some(("x@y", false)), Verdict::In),
            ("u", Some(("ANN@example.org", true)), Verdict::In),
            ("u", Some(("ann@example.org", false)), Verdict::Out),
            ("u", Some(("bob@Friends.test", true)), Verdict::In),
            ("u", Some(("@friends.test", true)), Verdict::Out),
            ("u", Some(("bob@evilfriends.test", true)), Verdict::Out),
            ("u", Some(("bob@everybody", true)), Verdict::Out),
            ("u", None, Verdict::AskForAddress),
        ] {
            assert_eq!(list.judge(&claims(sub, email)), verdict, "{sub} {email:?}");
        }
        assert_eq!(AllowList::parse("u1", "").judge(&claims("u", None)), Verdict::Out);
        assert_eq!(list.judge(&Claims::of_stored_user("u", None, "ann")), Verdict::In);
        let clone = list.clone();
        list.replace(&AllowList::parse("u3", ""));
        assert_eq!(clone.judge(&claims("u1", None)), Verdict::Out, "a clone is the same list");
    }
}
