use super::*;

fn read(settings: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    Settings::from_lookup(|name| settings.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
}

fn one(name: &str, value: &str) -> Settings {
    read(&[(name, value)]).unwrap_or_else(|error| panic!("{name}={value}: {error}"))
}

#[test]
fn without_any_there_are_the_defaults() {
    let Settings {
        base_url,
        strict_access,
        rate_limits,
        secrets_key,
        share_refresh_token,
        session,
        github,
        runtime,
        ..
    } = read(&[]).unwrap();
    assert_eq!((base_url, strict_access, rate_limits, secrets_key), (None, false, true, None));
    assert!(share_refresh_token && session.chat_publish && !session.snapshot_on_stop && !session.push_to_base);
    assert_eq!(session.idle_timeout_ms, 900_000);
    assert_eq!((session.max_event_rows, session.max_events_bytes), (200_000, 268_435_456));
    assert_eq!((session.max_event_bytes, session.max_orders, session.max_active_sessions), (262_144, 50, 20));
    assert_eq!((session.prompt_post_ms, session.turn_silence_ms), (30_000, 1_800_000));
    assert_eq!((session.stop_grace_ms, session.approval_timeout_ms, session.deadline_divisor), (30_000, 1_800_000, 1));
    assert_eq!((&*github.api_base, &*github.user_agent), ("https://api.github.com", "logseq-worker/1.0"));
    assert!(!github.is_configured() && github.slug.is_none() && github.installation_id.is_none());
    assert_eq!((runtime.provider, runtime.e2b_api, runtime.sandbox_ttl_days), (None, E2bApi::V1, 30));
    assert_eq!((&*runtime.e2b_domain, runtime.e2b_agent_port, runtime.e2b_timeout_ms), ("e2b.app", 2_468, 1_800_000));
    assert_eq!((runtime.e2b_health_retries, runtime.e2b_health_interval_ms), (30, 300));
    assert_eq!(runtime.agent_version, VersionChannel::parse("0.3.x").unwrap());
    assert_eq!((&*runtime.agent_url, runtime.agent_api), ("http://127.0.0.1:2468", ApiSetting::Auto));
    assert_eq!(
        (runtime.runner_ttl_ms, runtime.runner_fallback_e2b, runtime.runner_allow_private),
        (60_000, false, false)
    );
    assert!(runtime.model_variables.is_empty() && runtime.environment.is_none());
}

#[test]
fn blank_values_are_none() {
    let names = [
        "PUBLIC_BASE_URL",
        "AGENT_ACCESS_MODE",
        "MANAGED_AUTH_KEY",
        "AGENT_IDLE_TIMEOUT_MS",
        "AGENT_EVENT_MAX_BYTES",
        "GITHUB_APP_INSTALLATION_ID",
        "GITHUB_APP_PRIVATE_KEY",
        "GITHUB_API_BASE",
        "E2B_API_VERSION",
        "E2B_SANDBOX_AGENT_PORT",
        "SANDBOX_AGENT_VERSION",
        "LOCAL_RUNNER_FALLBACK",
        "OPENAI_API_KEY",
    ];
    for name in names {
        for blank in ["", "  ", "\n"] {
            let settings = one(name, blank);
            assert_eq!(settings.session.idle_timeout_ms, 900_000);
            assert!(settings.github.private_key.is_none() && settings.runtime.model_variables.is_empty());
        }
    }
}

#[test]
fn values_are_read() {
    assert!(one("AGENT_GIT_CREDENTIALS", "Broker").github.is_brokered);
    assert!(
        !one("AGENT_GIT_CREDENTIALS", "env").github.is_brokered && !one("AGENT_GIT_CREDENTIALS", "").github.is_brokered
    );
    assert_eq!(one("AGENT_EGRESS_ALLOW", "a.test, *.b.test").runtime.egress.map(|rules| rules.len()), Some(2));
    assert_eq!(one("AGENT_EGRESS_ALLOW", " ").runtime.egress, None);
    assert!(one("AGENT_ACCESS_MODE", " Strict ").strict_access);
    assert!(!one("AGENT_RATE_LIMITS", "OFF").rate_limits);
    assert!(!one("MANAGED_AUTH_SHARE_REFRESH", "0").share_refresh_token);
    assert!(!one("AGENT_CHAT_PUBLISH", "0").session.chat_publish);
    assert!(one("AGENT_SNAPSHOT_ON_STOP", "1").session.snapshot_on_stop);
    assert!(!one("AGENT_SNAPSHOT_ON_STOP", "yes").session.snapshot_on_stop);
    assert_eq!(one("AGENT_RUNTIME_PROVIDER", " Local-Runner ").runtime.provider, Some(ProviderKind::LocalRunner));
    assert_eq!(one("AGENT_RUNTIME_PROVIDER", "daytona").runtime.provider, None);
    assert_eq!(one("E2B_API_VERSION", "auto").runtime.e2b_api, E2bApi::Auto);
    assert_eq!(one("E2B_SANDBOX_AGENT_PORT", "3468").runtime.e2b_agent_port, 3_468);
    assert_eq!(one("GITHUB_APP_INSTALLATION_ID", "987654").github.installation_id, Some(987_654));
    assert_eq!(one("GITHUB_API_BASE", "http://127.0.0.1:1/gh//").github.api_base, "http://127.0.0.1:1/gh");
    assert_eq!(one("GITHUB_APP_NAME", "n").github.slug.as_deref(), Some("n"));
    assert!(one("GITHUB_APP_ID", "app-name-4242").github.is_configured());
    assert!(one("LOCAL_RUNNER_FALLBACK", "e2b").runtime.runner_fallback_e2b);
    assert_eq!(one("MANAGED_AUTH_KEY", &format!("{}=", "A".repeat(43))).secrets_key, Some([0; 32]));
    let keys = one("OPENAI_BASE_URL", "https://openai.example.test").runtime.model_variables;
    assert_eq!(keys, [("OPENAI_BASE_URL", "https://openai.example.test".to_owned())]);
    let both = read(&[("PUBLIC_BASE_URL", "https://a.test/"), ("DB_SYNC_BASE_URL", "https://b.test")]).unwrap();
    assert_eq!(both.base_url.as_deref(), Some("https://a.test"));
    assert_eq!(one("DB_SYNC_BASE_URL", "https://b.test").base_url.as_deref(), Some("https://b.test"));
}

#[test]
fn a_runner_is_not_gone_within_a_second() {
    for (value, ttl) in [("1", 1_000), ("500", 1_000), ("1000", 1_000), ("1001", 1_001), ("600000", 600_000)] {
        assert_eq!(one("LOCAL_RUNNER_HEARTBEAT_TTL_MS", value).runtime.runner_ttl_ms, ttl);
    }
}

#[test]
fn a_value_that_means_nothing_is_refused_by_name() {
    let long = "x".repeat(33);
    for (name, value) in [
        ("AGENT_IDLE_TIMEOUT_MS", "soon"),
        ("AGENT_IDLE_TIMEOUT_MS", "0"),
        ("AGENT_IDLE_TIMEOUT_MS", "-5"),
        ("AGENT_IDLE_TIMEOUT_MS", "+5"),
        ("AGENT_IDLE_TIMEOUT_MS", "1.5"),
        ("AGENT_IDLE_TIMEOUT_MS", "9007199254740992"),
        ("AGENT_EVENTS_MAX_ROWS", "99999999999999999999"),
        ("AGENT_EVENT_MAX_BYTES", "1e3"),
        ("AGENT_EVENT_MAX_BYTES", "1900001"),
        ("AGENT_MAX_ORDERS", "2147483648"),
        ("AGENT_SANDBOX_TTL_DAYS", "0"),
        ("E2B_SANDBOX_AGENT_PORT", "65536"),
        ("E2B_HEALTH_RETRIES", "x"),
        ("E2B_HEALTH_INTERVAL_MS", "60001"),
        ("LOCAL_RUNNER_HEARTBEAT_TTL_MS", "abc"),
        ("GITHUB_APP_INSTALLATION_ID", "abc"),
        ("GITHUB_API_BASE", "api.github.com"),
        ("SANDBOX_AGENT_URL", "http://"),
        ("PUBLIC_BASE_URL", "https://a.test/?x"),
        ("PUBLIC_BASE_URL", "https://user@a.test"),
        ("GITHUB_WEBHOOK_SECRET", "too short"),
        ("AGENT_PR_AUTHORS", "ann, bob smith"),
        ("AGENT_PR_AUTHORS", &"a,".repeat(101)),
        ("AGENT_PR_MAX_ROUNDS", "0"),
        ("AGENT_PR_MAX_ROUNDS", "101"),
        ("AGENT_GIT_CREDENTIALS", "brokr"),
        ("AGENT_EGRESS_ALLOW", "https://a.test"),
        ("AGENT_ACCESS_MODE", "stric"),
        ("E2B_API_VERSION", "v3"),
        ("LOCAL_RUNNER_FALLBACK", "e3b"),
        ("SANDBOX_AGENT_VERSION", "../x"),
        ("SANDBOX_AGENT_VERSION", &long),
        ("DB_SYNC_AUTH_DRIVER", "ldap"),
    ] {
        let error = read(&[(name, value)]).err().unwrap_or_else(|| panic!("{name}={value} was taken")).to_string();
        assert!(error.starts_with(name), "{error}");
    }
}

#[test]
fn a_key_is_32_bytes_and_never_shown() {
    for value in ["AAAA", &"A".repeat(42), &"A".repeat(44), "not base64 at all, not base64 at all, no!!!"] {
        let error = read(&[("MANAGED_AUTH_KEY", value)]).err().unwrap();
        assert_eq!(error.to_string(), "MANAGED_AUTH_KEY must be 32 bytes in base64");
    }
}

#[test]
fn the_pull_request_loop_is_off_without_a_secret() {
    let off = read(&[]).unwrap().follow_up;
    assert_eq!((off.secret, off.max_rounds), (None, 3));
    let on = read(&[
        ("GITHUB_WEBHOOK_SECRET", " 0123456789abcdef "),
        ("AGENT_PR_AUTHORS", " Ann,, @bob-b , "),
        ("AGENT_PR_MAX_ROUNDS", "1"),
    ]);
    let on = on.unwrap().follow_up;
    assert_eq!((on.secret.as_deref(), on.max_rounds), (Some("0123456789abcdef"), 1));
    assert!(on.listens_to("ann") && on.listens_to("BOB-B") && !on.listens_to("") && !on.listens_to("bob"));
}

#[test]
fn only_builds_for_tests_have_short_deadlines() {
    let divisor = one("AGENT_TEST_DEADLINE_DIVISOR", "50").session.deadline_divisor;
    assert_eq!(divisor, if cfg!(feature = "test-deadlines") { 50 } else { 1 });
}

#[test]
fn secrets_lie_in_clear_in_development_only() {
    let seal = |settings: &[(&str, &str)]| read(settings).unwrap().seal();
    assert!(!seal(&[]).allows_clear && seal(&[]).key.is_none());
    assert!(seal(&[("DB_SYNC_AUTH_DRIVER", "none")]).allows_clear);
    assert!(seal(&[("DB_SYNC_AUTH_DRIVER", "static"), ("DB_SYNC_AUTH_TOKEN", "t")]).allows_clear);
    assert!(seal(&[("MANAGED_AUTH_KEY", &"A".repeat(43))]).key.is_some());
}
