//! Which commands of a chat reach the agent (docs/spec/session-mailbox.md 2.6, 4.10). Pure.

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// May change what the session is.
    Owner,
    /// May talk to it.
    Member,
}

impl Role {
    /// Reads the word of an item; anything else is nobody.
    pub fn read(word: &str) -> Option<Self> {
        match word {
            "owner" => Some(Self::Owner),
            "member" => Some(Self::Member),
            _ => None,
        }
    }
}

/// What becomes of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to the agent.
    Pass,
    /// It is dropped, and nobody is told.
    Drop,
    /// It is refused, and its author is told.
    Deny,
}

/// Words that only make sense at a terminal.
pub const DROPPED: &[&str] = &["/help", "/login", "/logout", "/doctor", "/config", "/remote-control"];
/// Words that change the session or tell of it.
pub const FOR_OWNERS: &[&str] = &["/clear", "/compact", "/context", "/cost", "/files"];

/// Judges a text by its first word. Where nothing is known about its author, what is for owners is refused.
pub fn judge(text: &str, role: Option<Role>) -> Verdict {
    let word = text.split_whitespace().next().unwrap_or_default().to_lowercase();
    if DROPPED.contains(&word.as_str()) {
        Verdict::Drop
    } else if FOR_OWNERS.contains(&word.as_str()) && role != Some(Role::Owner) {
        Verdict::Deny
    } else {
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fact_34_commands_of_terminals_are_dropped_those_of_owners_denied_to_others_and_unknown_ones_pass() {
        for word in DROPPED {
            assert_eq!(judge(&format!("  {} now", word.to_uppercase()), Some(Role::Owner)), Verdict::Drop);
        }
        for word in FOR_OWNERS {
            assert_eq!(judge(word, Some(Role::Owner)), Verdict::Pass);
            assert_eq!(judge(word, Some(Role::Member)), Verdict::Deny);
            assert_eq!(judge(word, Role::read("admin")), Verdict::Deny, "no role is no right");
        }
        for text in ["/review", "say /clear", "clear", "", "/", "/clearly"] {
            assert_eq!(judge(text, Some(Role::Member)), Verdict::Pass, "{text}");
        }
    }
}
