//! Resuming over a scripted machine (transcripts.md 4.6): what is written before what is asked.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};
use transcripts::bundle::Described;
use transcripts::capture::capture;
use transcripts::hydrate::Mark;
use transcripts::places::Places;
use transcripts::{Bundle, sha256_hex};
use web::Call;

use super::{AgentServer, FIRST_USE_MS, Files, Opened, Opening, Resume, ServerError};
use crate::acp::Launch;
use crate::legacy::{ApiSetting, Dialect};
use crate::runtime::testing::{Script, World};
use crate::runtime::{ProviderKind, Runtime};

const FILE: &str = "/h/.claude/projects/-w-dir/n1.jsonl";

/// What a machine does that has files and an agent.
#[derive(Default)]
struct Machine {
    files: BTreeMap<String, Vec<u8>>,
    /// What was done, in a word each.
    told: Vec<String>,
    can_load: bool,
    refuses: bool,
    full: bool,
}

impl Machine {
    fn answer(&mut self, call: &Call) -> Script {
        let (path, query) = call.url.strip_prefix("https://a.test").unwrap().split_once('?').unwrap_or((&call.url, ""));
        let named = web::url::decode(query.split("path=").nth(1).unwrap_or_default()).unwrap_or_default();
        let missing = || Script::json(400, &json!({"detail": "invalid request: path not found: x"}));
        let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
        match (call.method.as_str(), path) {
            ("GET", "/v1/fs/file") => match self.files.get(&named) {
                Some(bytes) => Script::text(200, "application/octet-stream", bytes.clone()),
                None => missing(),
            },
            ("GET", "/v1/fs/stat") => match self.files.get(&named) {
                Some(bytes) => Script::json(200, &json!({"entryType": "file", "size": bytes.len()})),
                None => missing(),
            },
            ("PUT", "/v1/fs/file") if self.full || call.body.len() > 2 << 20 => {
                Script::text(413, "text/plain", "length limit")
            }
            ("PUT", "/v1/fs/file") => {
                self.told.push(format!("write {named}"));
                self.files.insert(named, call.body.clone());
                Script::json(200, &json!({}))
            }
            ("POST", "/v1/fs/mkdir") => Script::json(200, &json!({})),
            _ if call.url.ends_with("/v1/processes/run") => {
                let words: Vec<&str> =
                    body["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
                self.run(body["command"].as_str().unwrap(), &words)
            }
            _ => self.speak(&body),
        }
    }

    fn run(&mut self, command: &str, words: &[&str]) -> Script {
        let said = match (command, words) {
            ("printenv", ["HOME"]) => "/h\n".to_owned(),
            ("chmod", [mode, path]) => {
                assert!(self.files.contains_key(*path) && *mode == "600");
                String::new()
            }
            ("mv", ["-f", from, to]) => {
                self.told.push(format!("move {to}"));
                let bytes = self.files.remove(*from).unwrap();
                self.files.insert((*to).to_owned(), bytes);
                String::new()
            }
            ("sh", ["-c", script, "sh", part, path]) => {
                assert_eq!(*script, "cat \"$1\" >> \"$2\" && rm -f \"$1\"");
                let piece = self.files.remove(*part).unwrap();
                self.files.get_mut(*path).unwrap().extend(piece);
                String::new()
            }
            ("find", ["-P", path, "-maxdepth", "0", "-type", "f"]) => format!("{path}\n"),
            other => panic!("{other:?}"),
        };
        Script::json(200, &json!({"exitCode": 0, "stdout": said, "stdoutTruncated": false}))
    }

    fn speak(&mut self, body: &Value) -> Script {
        let method = body["method"].as_str().unwrap();
        self.told.push(format!("{method} {}", body["id"]));
        let result = match method {
            "initialize" => json!({"agentCapabilities": {"loadSession": self.can_load}}),
            "session/load" if self.refuses => {
                return Script::json(200, &json!({"id": body["id"], "error": {"code": -32000, "message": "changed"}}));
            }
            "session/load" => {
                assert_eq!(body["params"], json!({"sessionId": "n1", "cwd": "/w/dir", "mcpServers": []}));
                Value::Null
            }
            "session/new" => json!({"sessionId": "fresh"}),
            _ => json!({}),
        };
        Script::json(200, &json!({"id": body["id"], "result": result}))
    }
}

fn runtime() -> Runtime {
    let runtime = json!({"provider": ProviderKind::E2b, "base-url": "https://a.test/", "server-id": "s 1", "session-id": "n1",
        "dialect": "acp", "directory": "/w/dir"});
    serde_json::from_value(runtime).unwrap()
}

fn bundle(bytes: &[u8]) -> Bundle {
    let members = vec![(FILE.trim_start_matches("/h/").to_owned(), 0o600, bytes.to_vec())];
    Bundle::new(Described::default(), members, 8 << 20).unwrap()
}

fn resume(bundle: Option<Bundle>) -> Resume {
    Resume {
        mark: Mark { session: "s".into(), epoch: 0, run_seq: 3 },
        bundle,
        native_session_id: "n1".into(),
        directory: "/w/dir".into(),
        continues: false,
    }
}

fn open(machine: &Rc<RefCell<Machine>>, resume: &Resume) -> Result<Opened, ServerError> {
    let server = Rc::clone(machine);
    let world = World::new(move |call| server.borrow_mut().answer(call));
    let (clock, runtime, launch) = (&world.clock, runtime(), Launch::of(&json!({"provider": "claude"})));
    let server = AgentServer::of(&runtime, &world, clock);
    let opening = Opening {
        launch: &launch,
        directory: "/w/dir",
        first_rpc_id: 5,
        start_ms: FIRST_USE_MS,
        resume: Some(resume),
        tools: None,
    };
    clock.run(server.open(ApiSetting::Auto, opening))
}

fn machine(change: impl FnOnce(&mut Machine)) -> Rc<RefCell<Machine>> {
    let mut machine = Machine { can_load: true, ..Machine::default() };
    change(&mut machine);
    Rc::new(RefCell::new(machine))
}

fn spoken(machine: &Rc<RefCell<Machine>>) -> Vec<String> {
    machine.borrow().told.iter().filter(|it| !it.starts_with("write") && !it.starts_with("move")).cloned().collect()
}

/// Fact 28 of transcripts.md 3: the files are there before the agent is started, and the agent before it opens them.
#[test]
fn files_come_before_the_agent() {
    let machine = machine(|_| {});
    let opened = open(&machine, &resume(Some(bundle(b"one\n")))).unwrap();
    assert_eq!(opened, Opened { session_id: "n1".into(), dialect: Dialect::Acp, can_load: true, has_tools: false });
    let told = &machine.borrow().told;
    let at = |word: &str| told.iter().position(|it| it == word).unwrap_or_else(|| panic!("{word}: {told:?}"));
    assert!(at(&format!("move {FILE}")) < at("initialize 5") && at("initialize 5") < at("session/load 6"));
    assert!(told.contains(&"session/set_mode 8".to_owned()) && !told.iter().any(|it| it.starts_with("session/new")));
    assert_eq!(machine.borrow().files[FILE], b"one\n");
    assert_eq!(machine.borrow().files.len(), 2, "the file and its watermark, and nothing that is left over");
}

#[test]
fn what_the_machine_has_is_kept() {
    let machine = machine(|_| {});
    open(&machine, &resume(Some(bundle(b"one\n")))).unwrap();
    machine.borrow_mut().told.clear();
    open(&machine, &resume(Some(bundle(b"one\n")))).unwrap();
    assert!(!machine.borrow().told.iter().any(|it| it.starts_with("write")));
    // Even without the store, when the watermark proves it.
    assert_eq!(open(&machine, &resume(None)).unwrap().session_id, "n1");
    machine.borrow_mut().files.get_mut(FILE).unwrap().push(b'x');
    let error = open(&machine, &resume(None)).unwrap_err();
    assert!(matches!(error, ServerError::NotHydrated(_)), "an unknown file is not gone on with: {error}");
    let continues = Resume { continues: true, ..resume(None) };
    assert_eq!(open(&machine, &continues).unwrap().session_id, "fresh");
}

#[test]
fn without_its_conversation_the_agent_is_not_started() {
    let machine = machine(|machine| machine.full = true);
    let error = open(&machine, &resume(Some(bundle(b"one\n")))).unwrap_err();
    assert!(error.to_string().starts_with("hydrate_failed: "), "{error}");
    assert_eq!(spoken(&machine), Vec::<String>::new());
    let continues = Resume { continues: true, ..resume(Some(bundle(b"one\n"))) };
    assert_eq!(open(&machine, &continues).unwrap().session_id, "fresh");
}

#[test]
fn an_agent_that_refuses_or_cannot_begins_anew() {
    let refusing = machine(|machine| machine.refuses = true);
    assert_eq!(open(&refusing, &resume(Some(bundle(b"one\n")))).unwrap().session_id, "fresh");
    assert_eq!(spoken(&refusing), ["initialize 5", "session/load 6", "session/new 7", "session/set_mode 8"]);
    let unable = machine(|machine| machine.can_load = false);
    let opened = open(&unable, &resume(Some(bundle(b"one\n")))).unwrap();
    assert_eq!((opened.session_id.as_str(), opened.can_load), ("fresh", false));
    assert_eq!(spoken(&unable), ["initialize 5", "session/new 6", "session/set_mode 7"]);
    let elsewhere = machine(|_| {});
    let resume = Resume { directory: "/other".into(), ..resume(Some(bundle(b"one\n"))) };
    assert_eq!(open(&elsewhere, &resume).unwrap().session_id, "fresh");
    assert!(elsewhere.borrow().files.is_empty(), "another directory is another conversation");
}

#[test]
fn long_files_go_in_pieces_and_come_back_whole() {
    let machine = machine(|_| {});
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[2]).collect();
    open(&machine, &resume(Some(bundle(&bytes)))).unwrap();
    assert_eq!(sha256_hex(&machine.borrow().files[FILE]), sha256_hex(&bytes));
    let server = Rc::clone(&machine);
    let world = World::new(move |call| server.borrow_mut().answer(call));
    let (clock, runtime) = (&world.clock, runtime());
    let files = Files(AgentServer::of(&runtime, &world, clock));
    let patterns = Places::default().of("claude", "n1", "/w/dir");
    let members = clock.run(capture(&files, "/h", &patterns, 8 << 20)).unwrap();
    assert_eq!(sha256_hex(&members[0].2), sha256_hex(&bytes));
    assert!(clock.run(capture(&files, "/h", &patterns, 4 << 20)).is_err());
}
