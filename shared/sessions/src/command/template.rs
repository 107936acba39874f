//! The clone command that an operator configured (agents.md 5.3.6).

use std::borrow::Cow;

use super::{Clone, Command, CommandError, scripts::CLONE_SECONDS};

/// Where in the operator's text a placeholder stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    None,
    Single,
    Double,
}

/// The configured clone command. Its text is the operator's code; the placeholders `{repo_url}`, `{session_id}` and
/// `{repo_dir}` in it become references to variables, never values, so that a repository's URL is code in no template.
pub fn configured_clone(template: &str, clone: &Clone<'_>, session_id: &str) -> Result<Command, CommandError> {
    let values =
        [("AGENT_REPO_URL", clone.repo_url), ("AGENT_REPO_DIR", clone.directory), ("AGENT_SESSION_ID", session_id)];
    Ok(Command::bash(Cow::Owned(with_references(template)), &values)?.within(CLONE_SECONDS))
}

/// The template with each placeholder replaced by a reference that is one word where it stands.
pub(super) fn with_references(template: &str) -> String {
    let mut text = String::with_capacity(template.len());
    let mut quotes = Quotes::None;
    let mut rest = template;
    // Each turn takes at least one character of the template, which the operator wrote.
    while let Some(character) = rest.chars().next() {
        if let Some((placeholder, variable)) = placeholder(rest) {
            let (before, after) = match quotes {
                Quotes::None => ("\"$", "\""),
                Quotes::Double => ("${", "}"),
                Quotes::Single => ("'\"$", "\"'"),
            };
            text.extend([before, variable, after]);
            rest = rest.strip_prefix(placeholder).unwrap_or_default();
            continue;
        }
        text.push(character);
        rest = rest.strip_prefix(character).unwrap_or_default();
        match (character, quotes) {
            ('\'', Quotes::None) => quotes = Quotes::Single,
            ('"', Quotes::None) => quotes = Quotes::Double,
            ('\'', Quotes::Single) | ('"', Quotes::Double) => quotes = Quotes::None,
            // A backslash takes the meaning from what follows, except within single quotes.
            ('\\', Quotes::None | Quotes::Double) => {
                if let Some(next) = rest.chars().next() {
                    text.push(next);
                    rest = rest.strip_prefix(next).unwrap_or_default();
                }
            }
            _ => {}
        }
    }
    text
}

fn placeholder(text: &str) -> Option<(&'static str, &'static str)> {
    [("{repo_url}", "AGENT_REPO_URL"), ("{repo_dir}", "AGENT_REPO_DIR"), ("{session_id}", "AGENT_SESSION_ID")]
        .into_iter()
        .find(|(placeholder, _)| text.starts_with(placeholder))
}
