//! Terminals in a sandbox (agents.md 5.3.8, 6.5).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::{Value, json};
use web::{Fetch, Host, Incoming};

use super::envd::{Envd, refused};
use crate::connect::{self, Code, Failure, Part};
use crate::runtime::exchange::exchange;
use crate::runtime::{OpenedTerminal, RuntimeError, TerminalOrder, TerminalOutput, TerminalSaid, TerminalSize};

/// The longest message that is taken of a terminal, in bytes. The daemon reads 16 KiB at a time.
const MESSAGE_BYTES: usize = 1 << 20;
/// How long it may take to tell a terminal something, in milliseconds.
const ORDER_MS: u32 = 10_000;

/// One message of a terminal. What is left out has its usual value.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    event: Said,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    start: Option<Start>,
    data: Option<Data>,
    end: Option<End>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Start {
    pid: u32,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    pty: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct End {
    exit_code: i64,
}

/// What a terminal writes.
#[derive(Debug)]
pub struct E2bTerminal<B> {
    body: B,
    parser: connect::Parser,
    chunk: Vec<u8>,
    /// How much of the chunk was read.
    at: usize,
}

impl<B: Incoming> E2bTerminal<B> {
    async fn message(&mut self) -> Result<Said, Broken> {
        // Each round takes in one chunk, as it comes.
        loop {
            let mut input = self.chunk.get(self.at..).unwrap_or_default();
            let part = self.parser.read::<Message>(&mut input);
            self.at = self.chunk.len().saturating_sub(input.len());
            match part {
                Some(Ok(Part::Message(message))) => return Ok(message.event),
                Some(Ok(Part::End(Err(failure)))) => return Err(Broken::Refused(failure)),
                Some(Ok(Part::End(Ok(())))) => {}
                Some(Err(error)) => return Err(Broken::Lost(error.to_string())),
                None => {
                    let chunk = self.body.chunk().await.map_err(|failure| Broken::Lost(failure.0))?;
                    self.chunk = chunk.ok_or_else(|| Broken::Lost("the terminal's stream ended".to_owned()))?;
                    self.at = 0;
                }
            }
        }
    }
}

impl<B: Incoming> TerminalOutput for E2bTerminal<B> {
    async fn next(&mut self) -> Result<TerminalSaid, RuntimeError> {
        let said = self.message().await?;
        if let Some(end) = said.end {
            return Ok(TerminalSaid::Exited(end.exit_code));
        }
        let written = said.data.and_then(|data| data.pty).unwrap_or_default();
        let bytes = STANDARD.decode(written);
        bytes.map(TerminalSaid::Output).map_err(|error| RuntimeError::Failed(error.to_string()))
    }
}

/// Why nothing comes of a stream any more.
enum Broken {
    /// The daemon says so.
    Refused(Failure),
    /// It does not say anything that can be read.
    Lost(String),
}

impl From<Broken> for RuntimeError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Refused(failure) => refused(&failure),
            Broken::Lost(text) => Self::Unavailable(text),
        }
    }
}

impl<F: Fetch, H: Host> Envd<'_, F, H> {
    /// Starts a shell in a terminal: in the directory, or where the sandbox begins when the directory does not exist.
    pub(super) async fn open_terminal(
        &self,
        directory: &str,
        size: TerminalSize,
    ) -> Result<OpenedTerminal<E2bTerminal<F::Body>>, RuntimeError> {
        match self.start_terminal(Some(directory), size).await? {
            // Nothing was started: the daemon looks at the directory before.
            Err(Broken::Refused(Failure { code: Code::InvalidArgument, .. })) => {
                Ok(self.start_terminal(None, size).await??)
            }
            opened => Ok(opened?),
        }
    }

    async fn start_terminal(
        &self,
        directory: Option<&str>,
        size: TerminalSize,
    ) -> Result<Result<OpenedTerminal<E2bTerminal<F::Body>>, Broken>, RuntimeError> {
        let mut start = json!({
            "process": {
                "cmd": "/bin/bash",
                "args": ["-i", "-l"],
                "envs": {"TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"},
            },
            "pty": {"size": size},
        });
        if let (Some(directory), Some(process)) = (directory, start.get_mut("process").and_then(Value::as_object_mut)) {
            process.insert("cwd".to_owned(), directory.into());
        }
        let mut call = self.stream_call()?;
        connect::write_message(&mut call.body, &start).map_err(|error| RuntimeError::Failed(error.to_string()))?;
        let reply = self.fetch.fetch(call).await.map_err(|error| RuntimeError::Unavailable(error.to_string()))?;
        if !reply.status.is_success() {
            let status = reply.status.as_u16();
            let body = reply.bytes(connect::MAX_ENVELOPE_BYTES).await.unwrap_or_default();
            return Ok(Err(Broken::Refused(Failure::of_answer(status, &body))));
        }
        let parser = connect::Parser::new(MESSAGE_BYTES);
        let mut output = E2bTerminal { body: reply.body, parser, chunk: Vec::new(), at: 0 };
        // The first message says which process it is. Signs of life may come before; the caller waits for so long.
        loop {
            match output.message().await {
                Ok(Said { start: Some(Start { pid }), .. }) => return Ok(Ok(OpenedTerminal { pid, output })),
                Ok(Said { data: None, end: None, .. }) => {}
                Ok(_) => return Ok(Err(Broken::Lost("the terminal did not say its process".to_owned()))),
                Err(broken) => return Ok(Err(broken)),
            }
        }
    }

    /// Tells a terminal what to do.
    pub(super) async fn steer_terminal(&self, pid: u32, order: TerminalOrder<'_>) -> Result<(), RuntimeError> {
        let process = json!({"pid": pid});
        let (method, body) = match order {
            TerminalOrder::Input(bytes) => {
                ("SendInput", json!({"process": process, "input": {"pty": STANDARD.encode(bytes)}}))
            }
            TerminalOrder::Resize(size) => ("Update", json!({"process": process, "pty": {"size": size}})),
            TerminalOrder::Kill => ("SendSignal", json!({"process": process, "signal": "SIGNAL_SIGKILL"})),
        };
        let mut call = self.call(&format!("/process.Process/{method}"))?;
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        call.headers.insert("connect-protocol-version", HeaderValue::from_static("1"));
        call.body = body.to_string().into_bytes();
        call.limit_ms = Some(ORDER_MS);
        let answer = exchange(self.fetch, self.host, call).await;
        let answer = answer.map_err(|error| RuntimeError::Unavailable(error.to_string()))?;
        if answer.status.is_success() {
            return Ok(());
        }
        let failure = Failure::of_answer(answer.status.as_u16(), &answer.body);
        if order == TerminalOrder::Kill && failure.code == Code::NotFound {
            return Ok(());
        }
        Err(refused(&failure))
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use serde_json::{Value, json};
    use web::Call;

    use super::*;
    use crate::legacy::Dialect;
    use crate::runtime::testing::{Clock, Piece, Script, World, settings};
    use crate::runtime::{E2bProvider, Provider, ProviderKind, RunnerProvider, Runtime, RuntimeSecrets};

    const SIZE: TerminalSize = TerminalSize { cols: 100, rows: 30 };

    fn runtime() -> Runtime {
        Runtime {
            provider: ProviderKind::E2b,
            base_url: "https://2468-sbx1.e2b.test".to_owned(),
            server_id: "s".to_owned(),
            session_id: "r1".to_owned(),
            dialect: Dialect::default(),
            directory: "/home/user/workspace/app".to_owned(),
            runner_id: None,
            sandbox_id: Some("sbx1".to_owned()),
            transport: crate::runtime::Transport::default(),
            sandbox_domain: Some("e2b.test".to_owned()),
            sandbox_port: Some(2468),
            template: None,
            snapshot_id: None,
            agent_sid: None,
            github_token_at: None,
            broker_at: None,
            egress: Vec::new(),
            server_ended: false,
            agent_exited: false,
            can_load: false,
            has_tools: false,
            secrets: RuntimeSecrets { envd_token: Some("old-token".to_owned()), ..RuntimeSecrets::default() },
        }
    }

    fn provider(world: &World) -> E2bProvider<World, Clock> {
        E2bProvider::new(Rc::new(settings()), world.clone(), world.clock.clone())
    }

    fn envelopes(events: &[Value]) -> Vec<u8> {
        let mut body = Vec::new();
        for event in events {
            connect::write_message(&mut body, &json!({"event": event})).unwrap();
        }
        body
    }

    fn stream(body: Vec<Piece>) -> Script {
        Script::stream("application/connect+json", body)
    }

    fn begun(pid: u32, more: &[Value]) -> Vec<u8> {
        let mut events = vec![json!({"start": {"pid": pid}})];
        events.extend_from_slice(more);
        envelopes(&events)
    }

    fn written(text: &str) -> Value {
        json!({"data": {"pty": STANDARD.encode(text)}})
    }

    /// A world in which sandboxes can be resumed, and terminals begin as the script says.
    fn world(mut start: impl FnMut(&Value) -> Script + 'static) -> World {
        World::new(move |call| {
            if call.url.ends_with("/connect") {
                return Script::json(200, &json!({"sandboxID": "sbx1", "envdAccessToken": "new-token"}));
            }
            start(&body(call))
        })
    }

    fn body(call: &Call) -> Value {
        let at = if call.url.ends_with("/Start") { 5 } else { 0 };
        serde_json::from_slice(&call.body[at..]).unwrap()
    }

    type Opened = OpenedTerminal<E2bTerminal<crate::runtime::testing::Pieces>>;

    fn open(world: &World) -> Result<Opened, RuntimeError> {
        world.clock.run(provider(world).open_terminal(&mut runtime(), SIZE))
    }

    #[test]
    fn a_shell_begins_in_the_repository() {
        let world = world(|_| stream(vec![Piece::Bytes(begun(108, &[written("$ ")]))]));
        let mut runtime = runtime();
        let mut opened = world.clock.run(provider(&world).open_terminal(&mut runtime, SIZE)).unwrap();
        assert_eq!(opened.pid, 108);
        assert_eq!(world.clock.run(opened.output.next()), Ok(TerminalSaid::Output(b"$ ".to_vec())));
        assert_eq!(runtime.secrets.envd_token.as_deref(), Some("new-token"));
        let lines = world.lines();
        assert_eq!(
            lines,
            [
                "POST https://api.e2b.test/sandboxes/sbx1/connect",
                "POST https://49983-sbx1.e2b.test/process.Process/Start"
            ]
        );
        let start = world.calls().pop().unwrap();
        let header = |name: &str| start.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header("content-type"), Some("application/connect+json"));
        assert_eq!(header("x-access-token"), Some("new-token"));
        assert_eq!(header("connect-protocol-version"), Some("1"));
        assert_eq!(header("keepalive-ping-interval"), Some("50"));
        assert_eq!(header("connect-timeout-ms"), None, "a terminal has no time limit");
        assert_eq!(
            body(&start),
            json!({
                "process": {
                    "cmd": "/bin/bash", "args": ["-i", "-l"], "cwd": "/home/user/workspace/app",
                    "envs": {"TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"},
                },
                "pty": {"size": {"cols": 100, "rows": 30}},
            })
        );
    }

    #[test]
    fn a_directory_that_does_not_exist_is_left_out() {
        let no_directory = connect::Failure { code: Code::InvalidArgument, message: "cwd does not exist".to_owned() };
        for refusal in [
            Script::json(400, &json!({"code": "invalid_argument", "message": "cwd does not exist"})),
            stream(vec![Piece::Bytes({
                let mut body = Vec::new();
                connect::write_end(&mut body, Err(&no_directory)).unwrap();
                body
            })]),
        ] {
            let world = world(move |start| {
                if start["process"]["cwd"].is_string() {
                    refusal.clone()
                } else {
                    stream(vec![Piece::Bytes(begun(1, &[]))])
                }
            });
            assert_eq!(open(&world).unwrap().pid, 1);
        }
    }

    #[test]
    fn what_is_refused_otherwise_is_not_tried_again() {
        let error = json!({"error": {"code": "internal", "message": "no pty"}}).to_string().into_bytes();
        let mut end = vec![2, 0, 0, 0, u8::try_from(error.len()).unwrap()];
        end.extend_from_slice(&error);
        for script in [
            stream(vec![Piece::Bytes(end)]),
            Script::json(502, &json!({"message": "The sandbox was not found"})),
            stream(vec![Piece::Bytes(envelopes(&[written("$ ")]))]),
            stream(vec![Piece::Bytes(envelopes(&[json!({"keepalive": {}})])), Piece::Break]),
            stream(vec![]),
            stream(vec![Piece::Bytes(vec![0, 0xff, 0xff, 0xff, 0xff])]),
            stream(vec![Piece::Bytes(b"\0\0\0\0\x02[]".to_vec())]),
        ] {
            let world = world(move |_| script.clone());
            let failed = open(&world).map(|opened| opened.pid).unwrap_err();
            assert!(matches!(failed, RuntimeError::Unavailable(_)), "{failed:?}");
            assert!(!failed.to_string().contains("no pty"), "words of the sandbox are nobody's business");
            assert_eq!(world.lines().len(), 2);
        }
    }

    #[test]
    fn what_is_written_is_read_wherever_it_is_cut() {
        let mut end = begun(
            7,
            &[
                written("one"),
                json!({"keepalive": {}}),
                written("two"),
                json!({"end": {"exitCode": 3, "exited": true}}),
            ],
        );
        connect::write_end(&mut end, Ok(())).unwrap();
        for size in [1, 2, 7, end.len()] {
            let pieces = end.chunks(size).map(|chunk| Piece::Bytes(chunk.to_vec())).collect();
            let world = world(move |_| stream(Vec::clone(&pieces)));
            let mut output = open(&world).unwrap().output;
            let mut said = || world.clock.run(output.next());
            assert_eq!(said(), Ok(TerminalSaid::Output(b"one".to_vec())));
            assert_eq!(said(), Ok(TerminalSaid::Output(Vec::new())), "a sign of life");
            assert_eq!(said(), Ok(TerminalSaid::Output(b"two".to_vec())));
            assert_eq!(said(), Ok(TerminalSaid::Exited(3)));
            assert!(matches!(said(), Err(RuntimeError::Unavailable(_))), "nothing comes after the end");
        }
    }

    #[test]
    fn a_code_that_is_left_out_is_zero_and_a_connection_that_breaks_is_no_end() {
        let world = world(|_| stream(vec![Piece::Bytes(begun(7, &[json!({"end": {"exited": true}})]))]));
        assert_eq!(world.clock.run(open(&world).unwrap().output.next()), Ok(TerminalSaid::Exited(0)));
        let broken = self::world(|_| stream(vec![Piece::Bytes(begun(7, &[])), Piece::Break]));
        assert!(broken.clock.run(open(&broken).unwrap().output.next()).is_err());
        let odd = self::world(|_| stream(vec![Piece::Bytes(begun(7, &[json!({"data": {"pty": "%"}})]))]));
        assert!(odd.clock.run(open(&odd).unwrap().output.next()).is_err());
    }

    #[test]
    fn orders_go_to_the_process() {
        let world = World::new(|_| Script::json(200, &json!({})));
        for (order, method, expected) in [
            (TerminalOrder::Input(b"ls\n"), "SendInput", json!({"process": {"pid": 7}, "input": {"pty": "bHMK"}})),
            (
                TerminalOrder::Resize(SIZE),
                "Update",
                json!({"process": {"pid": 7}, "pty": {"size": {"cols": 100, "rows": 30}}}),
            ),
            (TerminalOrder::Kill, "SendSignal", json!({"process": {"pid": 7}, "signal": "SIGNAL_SIGKILL"})),
        ] {
            world.forget();
            world.clock.run(provider(&world).steer_terminal(&runtime(), 7, order)).unwrap();
            let call = world.calls().pop().unwrap();
            assert_eq!(call.url, format!("https://49983-sbx1.e2b.test/process.Process/{method}"));
            assert_eq!(body(&call), expected);
            assert_eq!(call.headers.get("content-type").unwrap(), "application/json");
            assert_eq!(call.headers.get("x-access-token").unwrap(), "old-token");
        }
    }

    #[test]
    fn a_process_that_is_gone_is_killed_already() {
        let world = World::new(|_| Script::json(404, &json!({"code": "not_found", "message": "no process 7"})));
        let steer = |order| world.clock.run(provider(&world).steer_terminal(&runtime(), 7, order));
        assert_eq!(steer(TerminalOrder::Kill), Ok(()));
        assert!(steer(TerminalOrder::Input(b"x")).is_err());
        let silent = World::new(|_| Script::Hang);
        let killed = silent.clock.run(provider(&silent).steer_terminal(&runtime(), 7, TerminalOrder::Kill));
        assert!(killed.is_err());
        assert_eq!(silent.clock.elapsed(), i64::from(ORDER_MS));
    }

    #[test]
    fn a_runner_has_no_terminals() {
        let world = World::new(|_| panic!("nothing is asked"));
        let runner = RunnerProvider::runners(Rc::new(settings()), world.clone(), world.clock.clone());
        let opened = world.clock.run(runner.open_terminal(&mut runtime(), SIZE));
        assert!(matches!(opened, Err(RuntimeError::Unsupported(_))));
    }
}
