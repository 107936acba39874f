//! Addresses that a user names, so that the worker goes where the user cannot.

use attacks::sessions::{self, runtime};
use attacks::{Bystander, Trap};
use conformance::Server;
use serde_json::json;

super::cases![
    private_addresses_of_runners_are_refused,
    a_runtime_sends_the_worker_nowhere,
    what_a_session_names_is_not_fetched
];

/// Spellings of this machine, with and without a port, of its neighbours and of clouds' metadata.
fn addresses(port: u16) -> Vec<String> {
    let hosts = [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "0",
        "0.0.0.0",
        "0x7f.1",
        "0x7f000001",
        "0x7f.0x0.0x0.0x1",
        "2130706433",
        "017700000001",
        "0177.0.0.01",
        "127.0.0.1.",
        "%31%32%37.0.0.1",
        "127\u{3002}0\u{3002}0\u{3002}1",
        "\u{2460}\u{2461}\u{2466}.0.0.1",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[fe80::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[fec0::1]",
        "[ff02::1]",
        "localhost",
        "LocalHost",
        "localhost.",
        "a.localhost",
        "printer.local",
        "metadata.google.internal",
        "router.home.arpa",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "169.254.169.254",
        "169.254.170.2",
        "0xa9fea9fe",
        "2852039166",
        "[::ffff:169.254.169.254]",
        "198.18.0.1",
        "192.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
    ];
    let mut all: Vec<String> =
        hosts.iter().flat_map(|host| [format!("https://{host}"), format!("https://{host}:{port}/")]).collect();
    // Other schemes, credentials, and what one reader takes for a name and the next for a path.
    for text in [
        "http://public.example",
        "ftp://public.example",
        "file:///etc/passwd",
        "data:text/plain,x",
        "javascript:1",
        "gopher://127.0.0.1",
        "https://user@public.example",
        "https://user:password@public.example",
        "https://:@public.example",
        "https://@127.0.0.1",
        "https://public.example@127.0.0.1",
        "https://127.0.0.1@public.example",
        "https://public.example#@127.0.0.1",
        "https:\\\\127.0.0.1",
        "https:/127.0.0.1",
        "https:127.0.0.1",
        "https:///127.0.0.1",
        "//127.0.0.1",
        "127.0.0.1",
        "localhost",
        "https://127.0.\t0.1",
        "https://127.0.\n0.1",
        "https://public.example\\@127.0.0.1",
        "https://127.0.0.1\\.public.example",
        "https://",
        "https://[",
        "https://[::1",
        "https://\u{0}127.0.0.1",
        "  https://127.0.0.1  ",
        "https://x:99999",
    ] {
        all.push(text.to_owned());
        all.push(text.replace("127.0.0.1", &format!("127.0.0.1:{port}")));
    }
    all
}

fn private_addresses_of_runners_are_refused(server: &Server) {
    let bystander = Bystander::of_a_session(server);
    let (trap, person) = (Trap::set(), server.person("forger"));
    for address in addresses(trap.port) {
        let answer = person.post("/runners", &json!({ "runner-id": "r", "base-url": address, "max-sessions": 50 }));
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid body")), "{address:?}");
    }
    assert_eq!(person.get("/runners").json()["runners"], json!([]));
    // Nor is there a runner that a session could be bound to.
    let mut body = sessions::wanted(&sessions::id(), None);
    body["runtime-provider"] = json!("local-runner");
    body["runner-id"] = json!("r");
    person.post("/sessions", &body).error(409, "local runner unavailable, register or heartbeat your runner and retry");
    trap.is_untouched();
    bystander.is_content();
}

fn a_runtime_sends_the_worker_nowhere(server: &Server) {
    let (trap, person) = (Trap::set(), server.person("forger"));
    runtime().redirect_to(&format!("http://127.0.0.1:{}", trap.port));
    let id = format!("{}-{}", attacks::runtime::REDIRECTED, sessions::id());
    person.post("/sessions", &sessions::wanted(&id, None)).error(500, "server error");
    trap.is_untouched();
}

fn what_a_session_names_is_not_fetched(server: &Server) {
    let (trap, person) = (Trap::set(), server.person("forger"));
    let here = format!("http://127.0.0.1:{}", trap.port);
    let mut body = sessions::wanted(&sessions::id(), None);
    body["attachments"] = json!([format!("{here}/a.png"), format!("{here}/b")]);
    body["project"]["repo-url"] = json!(format!("{here}/owner/name.git"));
    body["agent"] = json!({ "provider": "claude", "env": { "ANTHROPIC_BASE_URL": here, "HTTPS_PROXY": here, "https_proxy": here } });
    body["base-url"] = json!(here);
    body["runtime"] = json!({ "base-url": here, "provider": "local-runner" });
    body["runner"] = json!({ "base-url": here });
    let id = body["session-id"].as_str().unwrap().to_owned();
    person.post("/sessions", &body).status(200);
    person.post(&format!("/sessions/{id}/messages"), &json!({ "message": "go on" })).status(200);
    for repo in
        [here.clone(), format!("{here}/github.com/a/b"), format!("https://github.com@127.0.0.1:{}/a/b", trap.port)]
    {
        let answer = person.get(&format!("/sessions/{id}/branches?repo-url={}", repo.replace(':', "%3A")));
        assert_eq!(answer.status, 500, "{repo}");
    }
    let headers = [("x-forwarded-host", "127.0.0.1"), ("forwarded", "host=127.0.0.1")];
    let answer = person.send("GET", &format!("/sessions/{id}"), &headers, None);
    assert_eq!(answer.status, 200);
    trap.is_untouched();
}
