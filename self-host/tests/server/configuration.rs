//! What is configured, what is refused, and with which exit code.

use super::support::{binary, run, said};

#[test]
fn all_that_is_wrong_is_told_and_nothing_is_touched() {
    let data = tempfile::tempdir().unwrap();
    let data_dir = data.path().join("never");
    let output = binary(&data_dir)
        .args(["serve", "--log-level", "loud"])
        .envs([("DB_SYNC_PROT", "1"), ("DB_SYNC_PORT", "many")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    for line in [
        "error: DB_SYNC_PROT (environment): unknown, did you mean DB_SYNC_PORT?\n",
        "error: DB_SYNC_PORT (environment): must be a whole number from 0 to 65535, not \"many\"\n",
        "error: --log-level (flag): must be debug or info or warn or error, not \"loud\"\n",
    ] {
        assert!(said.contains(line), "{said}");
    }
    assert!(!data_dir.exists());
}

#[test]
fn a_failure_for_machines_is_one_object() {
    let data = tempfile::tempdir().unwrap();
    let output = run(data.path(), &["serve", "--json", "--port", "x"]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), &told["status"], &told["error"]["code"]),
        (Some(78), &"error".into(), &"configuration".into())
    );
    let output = run(data.path(), &["user", "nothing", "--json"]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &told["error"]["code"]), (Some(2), &"usage".into()));
}

#[test]
fn the_configuration_is_shown_without_secrets() {
    let data = tempfile::tempdir().unwrap();
    let data_dir = data.path().join("never");
    let output = binary(&data_dir)
        .args(["serve", "--print-config", "--port", "9"])
        .env("DB_SYNC_ADMIN_TOKEN", "a-hidden-token")
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(shown.contains("port = 9  # flag --port\n") && shown.contains("auth.admin_token = \"***\""), "{shown}");
    assert!(!shown.contains("hidden") && !data_dir.exists());
}

#[test]
fn a_server_that_nobody_can_enter_does_not_start() {
    let data = tempfile::tempdir().unwrap();
    let output = run(data.path(), &["serve", "--port", "0"]);
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("user add") && text.contains("DB_SYNC_AUTH_TOKEN") && text.contains("COGNITO_ISSUER"),
        "{text}"
    );
    said(data.path(), &["user", "add", "ann", "--quiet"]);
    let output = run(data.path(), &["serve", "--check"]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn exit_codes_tell_what_is_wrong() {
    let data = tempfile::tempdir().unwrap();
    let start = |data: &std::path::Path, port: &str| {
        let mut command = binary(data);
        command.args(["serve", "--bind", "127.0.0.1", "--port", port]).env("DB_SYNC_AUTH_TOKEN", "a-long-enough-token");
        command.env("DB_SYNC_AUTH_DRIVER", "static").output().unwrap().status.code()
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(start(data.path(), &taken.local_addr().unwrap().port().to_string()), Some(69));
    let file = data.path().join("file");
    std::fs::write(&file, b"").unwrap();
    assert_eq!(start(&file, "0"), Some(73));
    // Of its own: what lies in a log beside the file would heal it.
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("index.sqlite"), "damaged ".repeat(1000)).unwrap();
    assert_eq!(start(data.path(), "0"), Some(74));
    std::fs::write(data.path().join(".format"), r#"{"format":9,"min_reader":9,"written_by":"9.9.9"}"#).unwrap();
    assert_eq!(start(data.path(), "0"), Some(78));
}
