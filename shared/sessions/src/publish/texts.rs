//! The texts of commits and pull requests (agents.md 10.3).

/// The text of a pull request without one of its own.
pub const DEFAULT_BODY: &str = "Automated changes from agent session.";
/// The message of a commit without one of its own (agents.md 5.3.9).
pub const DEFAULT_COMMIT_MESSAGE: &str = "chore(agent): update files";
/// Longest text of a pull request and longest commit message, in bytes (agents.md 2.8).
pub const MAX_BODY_BYTES: usize = 60 * 1_024;

const MAX_TITLE_CHARS: usize = 72;
const MAX_CHAT_MESSAGE_CHARS: usize = 120;

/// The first line that says something, without the marks of headings and lists.
pub fn summary_line(text: &str) -> Option<String> {
    // One walk over a text that is bounded like the body of a pull request.
    text.lines().map(unmarked).find(|line| !line.is_empty()).map(str::to_owned)
}

fn unmarked(line: &str) -> &str {
    let line = line.trim().trim_start_matches('#').trim_start();
    let line = strip_mark(line, |mark| matches!(mark, "-" | "*" | "+"));
    strip_mark(line, |mark| {
        mark.strip_suffix('.')
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// The line without its first word, when that word is a mark.
fn strip_mark(line: &str, is_mark: impl Fn(&str) -> bool) -> &str {
    match line.split_once(char::is_whitespace) {
        Some((mark, rest)) if is_mark(mark) => rest.trim_start(),
        None if is_mark(line) => "",
        _ => line,
    }
}

/// The text of the pull request.
pub fn body(requested: Option<&str>) -> &str {
    filled(requested).unwrap_or(DEFAULT_BODY)
}

/// The title of the pull request: the one that was asked for, else the first line of its text, cut to 72 characters.
pub fn title(requested: Option<&str>, body: &str, session_id: &str) -> String {
    if let Some(title) = filled(requested) {
        return title.to_owned();
    }
    match summary_line(body) {
        Some(line) if line.chars().count() > MAX_TITLE_CHARS => {
            line.chars().take(MAX_TITLE_CHARS - 3).chain("...".chars()).collect()
        }
        Some(line) => line,
        None => format!("Agent updates for session {session_id}"),
    }
}

/// The message of the commit. Control characters other than line breaks and tabs are dropped: a commit cannot hold NUL,
/// and the rest would only reach terminals of people who read the log.
pub fn commit_message(requested: Option<&str>) -> String {
    let kept = |character: &char| !character.is_control() || matches!(character, '\n' | '\t');
    let message: String = requested.unwrap_or_default().chars().filter(kept).collect();
    filled(Some(&message)).unwrap_or(DEFAULT_COMMIT_MESSAGE).to_owned()
}

/// The text of a pull request that a chat message asked for: what the agent said last, cut to what GitHub takes.
pub fn chat_body(assistant: Option<&str>) -> Option<String> {
    let text = filled(assistant)?;
    let end = (0..=MAX_BODY_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end))?;
    text.get(..end).map(str::to_owned)
}

/// The commit message of a publish that a chat message asked for: what the agent said last, on one line of at most 120
/// characters.
pub fn chat_commit_message(assistant: Option<&str>) -> Option<String> {
    let mut line = String::new();
    // A word takes at least one character, so the walk ends after 120 of them.
    for word in assistant?.split_whitespace().take(MAX_CHAT_MESSAGE_CHARS) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().take(MAX_CHAT_MESSAGE_CHARS));
    }
    let line: String = line.chars().take(MAX_CHAT_MESSAGE_CHARS).collect();
    filled(Some(&line)).map(str::to_owned)
}

fn filled(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}
