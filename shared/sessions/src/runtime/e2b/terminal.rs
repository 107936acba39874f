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
