//! The daemon in a sandbox: commands and files (agents.md 6.2, 6.4, 6.6).

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};
use web::{Call, CallError, Fetch, Host, Incoming, ReplyError};

use super::api::Sandbox;
use crate::acp::component;
use crate::command::Command;
use crate::connect;
use crate::runtime::agent_server::secret_header;
use crate::runtime::exchange::{exchange, within};
use crate::runtime::{Ran, RuntimeError};

/// The port of the daemon.
const PORT: &str = "49983";
/// Bytes that are kept of what a command writes, of each of its outputs (agents.md 2.8).
const OUTPUT_BYTES: usize = 256 << 10;
/// How long reading a file may take, in milliseconds.
const FILE_MS: u32 = 60_000;
/// What the transport may take beyond the command's own limit, in milliseconds.
const SLACK_MS: u32 = 10_000;

/// The daemon of one sandbox.
pub(super) struct Envd<'a, F, H> {
    pub(super) fetch: &'a F,
    pub(super) host: &'a H,
    pub(super) sandbox: &'a Sandbox,
}

#[derive(Serialize)]
struct Start<'a> {
    process: Process<'a>,
    stdin: bool,
}

#[derive(Serialize)]
struct Process<'a> {
    cmd: &'a str,
    args: Vec<&'a str>,
    #[serde(skip_serializing_if = "HashMap::is_empty")]
    envs: HashMap<&'a str, &'a str>,
}

/// One message of a running command. What is left out has its usual value.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    event: Said,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    data: Option<Data>,
    end: Option<End>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    stdout: Option<String>,
    stderr: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct End {
    exit_code: i64,
}

impl<F: Fetch, H: Host> Envd<'_, F, H> {
    pub(super) fn call(&self, path: &str) -> Result<Call, RuntimeError> {
        let failed = |error: CallError| RuntimeError::Unavailable(error.to_string());
        let Sandbox { id, domain, envd_token, .. } = self.sandbox;
        let mut call = Call::new(Method::POST, format!("https://{PORT}-{id}.{domain}{path}"));
        if let Some(token) = envd_token {
            secret_header(&mut call.headers, HeaderName::from_static("x-access-token"), token).map_err(failed)?;
        }
        if let Ok(id) = HeaderValue::from_str(id) {
            call.headers.insert("e2b-sandbox-id", id);
        }
        call.headers.insert("e2b-sandbox-port", HeaderValue::from_static(PORT));
        Ok(call)
    }

    /// A call that starts a process and is answered with what it writes. The daemon gives a sign of life every 50 seconds. Neither the
    /// head of the answer nor the rest has a limit of its own.
    pub(super) fn stream_call(&self) -> Result<Call, RuntimeError> {
        let mut call = self.call("/process.Process/Start")?;
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/connect+json"));
        call.headers.insert("connect-protocol-version", HeaderValue::from_static("1"));
        call.headers.insert("keepalive-ping-interval", HeaderValue::from_static("50"));
        call.limit_ms = None;
        Ok(call)
    }

    /// Runs a command to its end. One that ends with another code than 0 is no failure here.
    pub(super) async fn run(&self, command: &Command) -> Result<Ran, RuntimeError> {
        self.run_keeping(command, OUTPUT_BYTES).await
    }

    /// The same; so many bytes are kept of each of its outputs.
    pub(super) async fn run_keeping(&self, command: &Command, output_bytes: usize) -> Result<Ran, RuntimeError> {
        let limit = u32::try_from(command.limit().as_millis()).unwrap_or(u32::MAX);
        let mut call = self.stream_call()?;
        call.headers.insert("connect-timeout-ms", HeaderValue::from(limit));
        let start = Start {
            process: Process {
                cmd: command.program(),
                args: command.arguments().collect(),
                envs: command.environment().collect(),
            },
            stdin: false,
        };
        connect::write_message(&mut call.body, &start).map_err(|error| RuntimeError::Failed(error.to_string()))?;
        let running = self.output(call, output_bytes);
        within(self.host, limit.saturating_add(SLACK_MS), running).await.unwrap_or(Err(RuntimeError::TimedOut))
    }

    async fn output(&self, call: Call, most: usize) -> Result<Ran, RuntimeError> {
        let mut reply = self.fetch.fetch(call).await.map_err(|error| RuntimeError::Unavailable(error.to_string()))?;
        if !reply.status.is_success() {
            let status = reply.status.as_u16();
            let body = reply.bytes(connect::MAX_ENVELOPE_BYTES).await.unwrap_or_default();
            return Err(refused(&connect::Failure::of_answer(status, &body)));
        }
        let mut parser = connect::Parser::new(connect::MAX_ENVELOPE_BYTES);
        let (mut out, mut err, mut code) = (Vec::new(), Vec::new(), None);
        // Bounded in time by the caller; what is kept is bounded, the rest is read and dropped.
        while let Some(chunk) = reply.body.chunk().await.map_err(|failure| RuntimeError::Unavailable(failure.0))? {
            let mut input = chunk.as_slice();
            while let Some(part) = parser.read::<Message>(&mut input) {
                match part.map_err(|error| RuntimeError::Failed(error.to_string()))? {
                    connect::Part::Message(message) => {
                        let data = message.event.data.unwrap_or_default();
                        keep(&mut out, data.stdout.as_deref(), most);
                        keep(&mut err, data.stderr.as_deref(), most);
                        code = message.event.end.map(|end| end.exit_code).or(code);
                    }
                    connect::Part::End(Err(failure)) => return Err(refused(&failure)),
                    connect::Part::End(Ok(())) => {}
                }
            }
        }
        let code = code.ok_or_else(|| RuntimeError::Unavailable("the command's stream broke off".to_owned()))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Ran { stdout: text(&out), stderr: text(&err), exit_code: code })
    }

    /// Reads a file of at most so many bytes; none when there is none.
    pub(super) async fn read(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, RuntimeError> {
        let mut call = self.call(&format!("/files?path={}&username=user", component(path)))?;
        call.method = Method::GET;
        call.limit_ms = None;
        let reading = async {
            let unavailable = |text: String| RuntimeError::Unavailable(text);
            let reply = self.fetch.fetch(call).await.map_err(|error| unavailable(error.to_string()))?;
            let status = reply.status;
            if status == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            if !status.is_success() {
                return Err(unavailable(format!("a file could not be read: {}", status.as_u16())));
            }
            reply.bytes(limit).await.map(Some).map_err(|error| match error {
                ReplyError::TooLarge => RuntimeError::Failed("a file is too large".to_owned()),
                ReplyError::Broken(text) => unavailable(text),
            })
        };
        within(self.host, FILE_MS, reading).await.unwrap_or(Err(RuntimeError::TimedOut))
    }

    /// Writes a file; the folders above it come to be.
    pub(super) async fn write(&self, path: &str, content: &[u8]) -> Result<(), RuntimeError> {
        let boundary = format!("part-{}", self.host.random_uuid());
        let mut call = self.call(&format!("/files?path={}&username=user", component(path)))?;
        let kind = format!("multipart/form-data; boundary={boundary}");
        let kind = HeaderValue::from_str(&kind).map_err(|error| RuntimeError::Failed(error.to_string()))?;
        call.headers.insert(CONTENT_TYPE, kind);
        let name = path.rsplit('/').next().unwrap_or_default();
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        call.body = [head.as_bytes(), content, format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
        let answer = exchange(self.fetch, self.host, call).await;
        let answer = answer.map_err(|error| RuntimeError::Unavailable(error.to_string()))?;
        if answer.status.is_success() {
            return Ok(());
        }
        Err(RuntimeError::Failed(format!("a file could not be written: {}", answer.status.as_u16())))
    }
}

/// What the daemon refuses. A sandbox that does not run is unavailable, not missing: the API says which are missing.
pub(super) fn refused(failure: &connect::Failure) -> RuntimeError {
    RuntimeError::Unavailable(format!("the sandbox refused: {failure}"))
}

fn keep(kept: &mut Vec<u8>, base64: Option<&str>, most: usize) {
    let Some(bytes) = base64.and_then(|text| STANDARD.decode(text).ok()) else { return };
    let room = most.saturating_sub(kept.len());
    kept.extend_from_slice(bytes.get(..room).unwrap_or(&bytes));
}
