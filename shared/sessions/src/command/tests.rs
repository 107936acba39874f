use super::template::with_references;
use super::*;
use crate::repository::BranchName;

#[test]
fn a_command_shows_no_value() {
    let command = health(Some("a secret"), 2468).unwrap();
    let text = format!("{command:?}");
    assert!(text.contains("AGENT_TOKEN") && !text.contains("a secret"), "{text}");
    assert!(command.arguments().all(|argument| !argument.contains("a secret")));
    assert!(command.environment().any(|variable| variable == ("AGENT_TOKEN", "a secret")));
}

#[test]
fn values_are_bounded() {
    let url = |length| "u".repeat(length);
    let made = |url: &str| clone(&Clone { repo_url: url, directory: "/w/d", branch: None }).map(|_| ());
    assert_eq!(made(&url(MAX_VALUE_BYTES)), Ok(()));
    assert_eq!(made(&url(MAX_VALUE_BYTES + 1)), Err(CommandError::TooLong));
    assert_eq!(made("a\0b"), Err(CommandError::Nul));
}

#[test]
fn the_words_that_tell_the_commands_apart_stand_in_the_last_argument() {
    let last = |command: &Command| command.arguments().last().unwrap().to_owned();
    let branch = BranchName::parse("dev").unwrap();
    let what = Clone { repo_url: "https://github.com/acme/app", directory: "/w/app", branch: Some(&branch) };
    assert!(last(&clone(&what).unwrap()).contains("git clone"));
    assert!(last(&clone(&Clone { branch: None, ..what }).unwrap()).contains("git clone"));
    let server = AgentServer { token: None, port: 1, directory: "/w/app" };
    assert!(last(&agent_server(&server).unwrap()).contains("sandbox-agent server"));
    assert!(last(&health(None, 1).unwrap()).contains("__HEALTH_OK__"));
    assert_eq!(last(&configured_clone("clone it", &what, "s").unwrap()), "clone it");
}

#[test]
fn versions_of_the_agent_server() {
    assert!(VersionChannel::parse("0.3.x").is_ok());
    assert!(VersionChannel::parse(&"1".repeat(32)).is_ok());
    for text in ["", "0.3.x;id", "../x", "a/b", "0 3", "ä", &"1".repeat(33)] {
        assert_eq!(VersionChannel::parse(text), Err(CommandError::Version), "{text}");
    }
}

#[test]
fn variables_of_a_user_are_data() {
    let command = secure_credentials().unwrap().with_environment([
        ("FOO", "$(id)"),
        ("odd name", "x"),
        ("A=B", "x"),
        ("", "x"),
        ("NUL", "a\0b"),
        ("GIT_ALLOW_PROTOCOL", "ext"),
    ]);
    let variables: Vec<_> = command.environment().collect();
    assert_eq!(
        variables,
        [("GIT_TERMINAL_PROMPT", "0"), ("GIT_ALLOW_PROTOCOL", "https:http:ssh"), ("FOO", "$(id)"), ("odd name", "x")]
    );
    assert_eq!(command.to_bash(), Err(QuoteError::Variable));
}

#[test]
fn words_for_bash() {
    assert_eq!(quote(&["git", "it's", ""]).unwrap(), r#"'git' 'it'"'"'s' ''"#);
    assert_eq!(quote::<&str>(&[]), Err(QuoteError::Empty));
    assert_eq!(quote(&["", "x"]), Err(QuoteError::Empty));
    assert_eq!(quote(&["-x"]), Err(QuoteError::Program));
    assert_eq!(quote(&["git", "a\0b"]), Err(QuoteError::Nul));
}

#[test]
fn placeholders_become_references() {
    for (template, text) in [
        ("clone {repo_url} {repo_dir}", r#"clone "$AGENT_REPO_URL" "$AGENT_REPO_DIR""#),
        (r#"clone "{repo_url}.git""#, r#"clone "${AGENT_REPO_URL}.git""#),
        ("clone '{session_id}'", r#"clone ''"$AGENT_SESSION_ID"''"#),
        (r#"echo \"{repo_url}"#, r#"echo \""$AGENT_REPO_URL""#),
        (r#"echo "it's \" {repo_url}""#, r#"echo "it's \" ${AGENT_REPO_URL}""#),
        (r"echo \{repo_url} {other}", r"echo \{repo_url} {other}"),
        ("end \\", "end \\"),
    ] {
        assert_eq!(with_references(template), text, "{template}");
    }
}
