//! What GitHub tells of pull requests: which of it a session wants to hear, and of whom (agents.md 20.4).

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{by_login, order};
use crate::repository::{Repository, checkpoint_key};
use crate::settings::FollowUpSettings;

/// The longest name of a member of GitHub, and of an App with its mark, in bytes.
const MAX_LOGIN_BYTES: usize = 100;

/// What something is about, in its repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum About {
    /// The pull request with this number.
    Pull(u64),
    /// A commit, by its id: the results of checks. It binds them to what a session pushed last.
    Commit(String),
}

/// What there is to hear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum News {
    /// Somebody wrote something, or a check failed: text for the agent, quoted.
    Said {
        /// Who is behind it, as events name them.
        by: String,
        /// The text.
        text: String,
    },
    /// The pull request was closed.
    Closed {
        /// Who did it.
        by: String,
        /// Whether it was merged.
        merged: bool,
    },
}

/// Something that a session may want to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The repository, as `registry::pulls` has it.
    pub repository: String,
    /// What it is about.
    pub about: About,
    /// What it is.
    pub news: News,
}

impl Heard {
    /// What an event of GitHub says; none for everything that nobody is to hear of. `event` is the header `x-github-event`.
    pub fn read(event: &str, body: &Value, settings: &FollowUpSettings) -> Option<Self> {
        let repository = repository(body)?;
        let action = text(body, "/action")?;
        let (about, news) = match (event, action) {
            ("pull_request_review", "submitted") => review(body, settings)?,
            ("pull_request_review_comment", "created") => line_comment(body, settings)?,
            ("issue_comment", "created") => comment(body, settings)?,
            ("check_run" | "check_suite" | "workflow_run", "completed") => check(event, body, settings)?,
            ("pull_request", "closed") => closed(body)?,
            _ => return None,
        };
        Some(Self { repository, about, news })
    }
}

fn text<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    value.pointer(path).and_then(Value::as_str)
}

fn filled<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    text(value, path).filter(|text| !text.trim().is_empty())
}

fn repository(body: &Value) -> Option<String> {
    let name = text(body, "/repository/full_name")?;
    let repository = Repository::parse(&format!("https://github.com/{name}")).ok()?;
    checkpoint_key(&repository.remote_url())
}

/// A name that GitHub gives out: letters, digits and hyphens, for Apps with `[bot]` at the end, underscores in some companies.
fn login<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    let is_plain = |name: &&str| {
        (1..=MAX_LOGIN_BYTES).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'[' | b']'))
    };
    text(value, path).filter(is_plain)
}

/// The author of something, if they are listened to. `at` is where it stands in the body.
fn author<'a>(body: &'a Value, at: &str, settings: &FollowUpSettings) -> Option<&'a str> {
    let is_person = |path: &str| text(body, path) != Some("Bot");
    // Whoever wrote it and whoever made GitHub tell of it are the same; neither may be a program.
    if !is_person("/sender/type") || !is_person(&format!("{at}/user/type")) {
        return None;
    }
    let via = body.pointer(&format!("{at}/performed_via_github_app/id"));
    if via.is_some_and(|app| settings.is_own_app(app)) {
        return None;
    }
    let author = login(body, &format!("{at}/user/login"))?;
    let is_of_project =
        matches!(text(body, &format!("{at}/author_association")), Some("OWNER" | "MEMBER" | "COLLABORATOR"));
    (is_of_project || settings.listens_to(author)).then_some(author)
}

fn pull(body: &Value, path: &str) -> Option<About> {
    body.pointer(path)?.as_u64().filter(|number| *number > 0).map(About::Pull)
}

fn said(by: &str, heading: &str, text: &str) -> News {
    News::Said { by: by_login(by), text: order::quoted(heading, text) }
}

fn review(body: &Value, settings: &FollowUpSettings) -> Option<(About, News)> {
    let about = pull(body, "/pull_request/number")?;
    let by = author(body, "/review", settings)?;
    let written = filled(body, "/review/body");
    let state = text(body, "/review/state")?.to_ascii_lowercase();
    let (what, written) = match (state.as_str(), written) {
        ("changes_requested", written) => ("asks for changes", written.unwrap_or("(without a text)")),
        ("commented", Some(written)) => ("has reviewed it", written),
        _ => return None,
    };
    Some((about, said(by, &format!("@{by} {what}:"), written)))
}

fn line_comment(body: &Value, settings: &FollowUpSettings) -> Option<(About, News)> {
    let about = pull(body, "/pull_request/number")?;
    let by = author(body, "/comment", settings)?;
    let mut place = order::name(text(body, "/comment/path").unwrap_or_default());
    let line = ["/comment/line", "/comment/original_line"].into_iter().find_map(|path| body.pointer(path)?.as_u64());
    if let Some(line) = line {
        // Writing to a text does not fail.
        let _ = write!(place, ", line {line}");
    }
    Some((about, said(by, &format!("@{by} comments on {place}:"), filled(body, "/comment/body")?)))
}

fn comment(body: &Value, settings: &FollowUpSettings) -> Option<(About, News)> {
    // Issues have comments too.
    body.pointer("/issue/pull_request").filter(|pull| pull.is_object())?;
    let about = pull(body, "/issue/number")?;
    let by = author(body, "/comment", settings)?;
    Some((about, said(by, &format!("@{by} comments:"), filled(body, "/comment/body")?)))
}

fn check(event: &str, body: &Value, settings: &FollowUpSettings) -> Option<(About, News)> {
    let of = |name: &str| format!("/{event}/{name}");
    let conclusion = text(body, &of("conclusion"))?;
    let how = match conclusion {
        "failure" => "has failed",
        "timed_out" => "took too long",
        _ => return None,
    };
    let commit = text(body, &of("head_sha"))?;
    let commit = crate::publish::CommitId::parse(commit)?;
    if body.pointer(&of("app/id")).is_some_and(|app| settings.is_own_app(app)) {
        return None;
    }
    let name = filled(body, &of("name")).or_else(|| filled(body, &of("app/name"))).unwrap_or("checks");
    let what = match event {
        "check_run" => "The check",
        "check_suite" => "A suite of checks",
        _ => "The workflow",
    };
    let heading = format!("{what} \"{}\" {how}:", order::name(name));
    let output = ["output/title", "output/summary", "output/text", "html_url"].into_iter();
    let output: Vec<&str> = output.filter_map(|name| filled(body, &of(name))).collect();
    let output = if output.is_empty() { "(without a text)".to_owned() } else { output.join("\n") };
    let by = login(body, "/sender/login").unwrap_or("checks");
    Some((About::Commit(commit.as_str().to_owned()), said(by, &heading, &output)))
}

fn closed(body: &Value) -> Option<(About, News)> {
    let about = pull(body, "/pull_request/number")?;
    let by = by_login(login(body, "/sender/login").unwrap_or("unknown"));
    let merged = body.pointer("/pull_request/merged").and_then(Value::as_bool).unwrap_or(false);
    Some((about, News::Closed { by, merged }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::Settings;

    const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

    fn settings() -> FollowUpSettings {
        let set = [
            ("GITHUB_WEBHOOK_SECRET", "sixteen-letters-"),
            ("AGENT_PR_AUTHORS", "Carol, dave-x"),
            ("GITHUB_APP_ID", "42"),
        ];
        let find = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Settings::from_lookup(find).unwrap().follow_up
    }

    fn heard(event: &str, body: &Value) -> Option<Heard> {
        Heard::read(event, body, &settings())
    }

    fn by(association: &str, login: &str) -> Value {
        json!({"repository": {"full_name": "Acme/App"}, "sender": {"login": login, "type": "User"}, "action": "created",
            "issue": {"number": 5, "pull_request": {"url": "x"}}, "pull_request": {"number": 5},
            "comment": {"body": "Why?", "path": "a.rs", "line": 3, "author_association": association,
                "user": {"login": login, "type": "User"}}})
    }

    fn review_of(state: &str, text: impl Into<Value>) -> Value {
        let text = text.into();
        json!({"repository": {"full_name": "acme/app"}, "sender": {"login": "ann", "type": "User"}, "action": "submitted",
            "pull_request": {"number": 5}, "review": {"state": state, "body": text, "author_association": "OWNER",
                "user": {"login": "ann", "type": "User"}}})
    }

    fn check_of(event: &str, conclusion: impl Into<Value>) -> Value {
        let conclusion = conclusion.into();
        json!({"repository": {"full_name": "acme/app"}, "sender": {"login": "github-actions[bot]", "type": "Bot"},
            "action": "completed", event: {"name": "test", "conclusion": conclusion, "head_sha": SHA, "app": {"id": 7, "name": "CI"},
                "output": {"title": "2 failures", "summary": null}}})
    }

    fn text_of(heard: Option<Heard>) -> String {
        match heard.unwrap().news {
            News::Said { by, text } => format!("{by} {text}"),
            News::Closed { .. } => panic!("closed"),
        }
    }

    #[test]
    fn what_is_taken() {
        for (event, body, expected) in [
            ("issue_comment", by("OWNER", "ann"), "github:ann @ann comments:\n> Why?\n"),
            ("pull_request_review_comment", by("MEMBER", "ann"), "github:ann @ann comments on a.rs, line 3:\n> Why?\n"),
            (
                "pull_request_review",
                review_of("changes_requested", json!("No.")),
                "github:ann @ann asks for changes:\n> No.\n",
            ),
            (
                "pull_request_review",
                review_of("changes_requested", json!(null)),
                "github:ann @ann asks for changes:\n> (without a text)\n",
            ),
            ("pull_request_review", review_of("commented", json!("Hm.")), "github:ann @ann has reviewed it:\n> Hm.\n"),
            (
                "check_run",
                check_of("check_run", json!("failure")),
                "github:github-actions[bot] The check \"test\" has failed:\n> 2 failures\n",
            ),
            (
                "workflow_run",
                check_of("workflow_run", json!("timed_out")),
                "github:github-actions[bot] The workflow \"test\" took too long:\n> 2 failures\n",
            ),
        ] {
            let heard = heard(event, &body).unwrap_or_else(|| panic!("{event}"));
            assert_eq!(heard.repository, "github/acme/app");
            let about = if event.contains("run") { About::Commit(SHA.to_owned()) } else { About::Pull(5) };
            assert_eq!(heard.about, about, "{event}");
            assert_eq!(text_of(Some(heard)), expected);
        }
        let closed = json!({"action": "closed", "repository": {"full_name": "acme/app"}, "sender": {"login": "ann", "type": "User"},
            "pull_request": {"number": 5, "merged": true}});
        let expected = News::Closed { by: "github:ann".to_owned(), merged: true };
        assert_eq!(heard("pull_request", &closed).unwrap().news, expected);
    }

    #[test]
    fn what_is_ignored() {
        for (event, body) in [
            ("ping", json!({"zen": "x"})),
            ("push", by("OWNER", "ann")),
            ("pull_request", by("OWNER", "ann")),
            ("pull_request_review", review_of("approved", json!("Fine."))),
            ("pull_request_review", review_of("commented", json!(" "))),
            ("pull_request_review", review_of("commented", json!(null))),
            ("check_run", check_of("check_run", json!("success"))),
            ("check_run", check_of("check_run", json!(null))),
            ("check_suite", check_of("check_suite", json!("cancelled"))),
        ] {
            assert_eq!(heard(event, &body), None, "{event} {body}");
        }
        for (path, value) in [
            ("/action", json!("edited")),
            ("/issue/pull_request", json!(null)),
            ("/issue/number", json!(-1)),
            ("/issue/number", json!("5")),
            ("/comment/body", json!(null)),
            ("/comment/user/login", json!("ann\n> x")),
            ("/comment/user/login", json!("a".repeat(200))),
            ("/repository/full_name", json!("acme/../app")),
            ("/repository", json!(null)),
        ] {
            let mut body = by("OWNER", "ann");
            *body.pointer_mut(path).unwrap() = value.clone();
            assert_eq!(heard("issue_comment", &body), None, "{path} {value}");
        }
        let mut foreign = check_of("check_run", json!("failure"));
        foreign["check_run"]["head_sha"] = json!("main");
        assert_eq!(heard("check_run", &foreign), None);
        assert_eq!(heard("issue_comment", &json!([])), None);
    }

    #[test]
    fn only_some_authors_are_listened_to() {
        for (association, login, is_heard) in [
            ("OWNER", "ann", true),
            ("MEMBER", "ann", true),
            ("COLLABORATOR", "ann", true),
            ("CONTRIBUTOR", "ann", false),
            ("FIRST_TIME_CONTRIBUTOR", "ann", false),
            ("NONE", "ann", false),
            ("owner", "ann", false),
            ("NONE", "carol", true),
            ("NONE", "Dave-X", true),
            ("NONE", "dave", false),
        ] {
            for event in ["issue_comment", "pull_request_review_comment"] {
                assert_eq!(heard(event, &by(association, login)).is_some(), is_heard, "{association} {login}");
            }
        }
        for path in ["/sender/type", "/comment/user/type"] {
            let mut body = by("OWNER", "ann");
            *body.pointer_mut(path).unwrap() = json!("Bot");
            assert_eq!(heard("issue_comment", &body), None, "{path}");
        }
        // What our own App says, with the name of a person.
        for (app, is_heard) in [(json!(42), false), (json!(43), true), (json!(null), true)] {
            let mut body = by("OWNER", "ann");
            body["comment"]["performed_via_github_app"] = json!({"id": app});
            assert_eq!(heard("issue_comment", &body).is_some(), is_heard, "{app}");
        }
        let mut own = check_of("check_run", json!("failure"));
        own["check_run"]["app"]["id"] = json!(42);
        assert_eq!(heard("check_run", &own), None);
    }
}
