//! The files of the machine that an agent server runs on (agents.md 4.8), for transcripts. What the server's own calls do not
//! tell or do (links, rights, replacing a file at once) small programs do, started without a shell wherever that is possible.

use http::{HeaderValue, Method, StatusCode, header::ACCEPT, header::CONTENT_TYPE};
use serde_json::{Value, json};
use transcripts::places::Pattern;
use transcripts::target::{Entry, Target, TargetError};
use web::{Fetch, Host, ReplyError};

use super::{AgentServer, CALL_MS};
use crate::acp::{base_url, component};
use crate::runtime::exchange::{MAX_ERROR_BYTES, exchange, within};

/// Bytes of a file that go with one request: the server takes no more than two megabytes.
const PIECE_BYTES: usize = 1 << 20;
/// Bytes of one line of output that can be a path below a home.
const PATH_BYTES: usize = 4 << 10;
/// Joins a piece to a file. Paths are arguments and never part of it.
const JOIN: &str = "cat \"$1\" >> \"$2\" && rm -f \"$1\"";

/// The files behind an agent server.
pub struct Files<'a, F, H>(pub AgentServer<'a, F, H>);

impl<F: Fetch, H: Host> Files<'_, F, H> {
    /// The home of whoever the agent runs as.
    pub async fn home(&self) -> Result<String, TargetError> {
        let said = self.run("printenv", &["HOME"]).await?;
        let home = said.trim_end_matches(['\n', '/']);
        let is_path = home.starts_with('/') && home.len() <= PATH_BYTES && !home.contains(char::is_control);
        if is_path { Ok(home.to_owned()) } else { Err(TargetError::Refused("the agent has no home".to_owned())) }
    }

    fn url(&self, call: &str, path: &str) -> String {
        format!("{}/v1/fs/{call}?path={}", base_url(self.0.base_url), component(path))
    }

    /// What the server answers; none where there is no such path.
    async fn ask(&self, method: Method, url: String) -> Result<Option<Value>, TargetError> {
        let server = &self.0;
        let call = server.call(method, url, None, CALL_MS).map_err(|error| unreachable(&error))?;
        let answer = exchange(server.fetch, server.host, call).await.map_err(|error| unreachable(&error))?;
        if answer.status.is_success() {
            return serde_json::from_slice(&answer.body)
                .map(Some)
                .map_err(|error| TargetError::Refused(error.to_string()));
        }
        if is_missing(answer.status, &answer.body) { Ok(None) } else { Err(refused(answer.status, &answer.body)) }
    }

    /// Runs a program to its end; what it writes. One that fails is a refusal.
    async fn run(&self, command: &str, arguments: &[&str]) -> Result<String, TargetError> {
        let server = &self.0;
        let url = format!("{}/v1/processes/run", base_url(server.base_url));
        let body = json!({"command": command, "args": arguments});
        let answer =
            server.exchange(Method::POST, url, Some(&body), CALL_MS).await.map_err(|error| unreachable(&error))?;
        if !answer.status.is_success() {
            return Err(refused(answer.status, &answer.body));
        }
        let ran: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let is_whole = ran.get("exitCode").and_then(Value::as_i64) == Some(0)
            && ran.get("stdoutTruncated").and_then(Value::as_bool) != Some(true);
        let said = ran.get("stdout").and_then(Value::as_str).filter(|_| is_whole);
        said.map(str::to_owned).ok_or_else(|| TargetError::Refused(format!("{command} failed")))
    }

    async fn put(&self, path: &str, bytes: &[u8]) -> Result<(), TargetError> {
        let server = &self.0;
        let call = server.call(Method::PUT, self.url("file", path), None, CALL_MS);
        let mut call = call.map_err(|error| unreachable(&error))?;
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        call.body = bytes.to_vec();
        let answer = exchange(server.fetch, server.host, call).await.map_err(|error| unreachable(&error))?;
        if answer.status.is_success() { Ok(()) } else { Err(refused(answer.status, &answer.body)) }
    }
}

impl<F: Fetch, H: Host> Target for Files<'_, F, H> {
    async fn stat(&self, path: &str) -> Result<Option<Entry>, TargetError> {
        let Some(found) = self.ask(Method::GET, self.url("stat", path)).await? else { return Ok(None) };
        let size = found.get("size").and_then(Value::as_u64);
        let (Some("file"), Some(size)) = (found.get("entryType").and_then(Value::as_str), size) else {
            return Ok(Some(Entry::Other));
        };
        // The server follows links.
        let plain = self.run("find", &["-P", path, "-maxdepth", "0", "-type", "f"]).await?;
        Ok(Some(if plain.trim_end_matches('\n') == path { Entry::File(size) } else { Entry::Other }))
    }

    async fn read(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, TargetError> {
        let server = &self.0;
        let call = server.call(Method::GET, self.url("file", path), None, CALL_MS);
        let mut call = call.map_err(|error| unreachable(&error))?;
        call.headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        let read = async {
            let answer = server.fetch.fetch(call).await.map_err(|error| unreachable(&error))?;
            let status = answer.status;
            let most = if status.is_success() { limit } else { MAX_ERROR_BYTES };
            let body = answer.bytes(most).await.map_err(|error| match error {
                ReplyError::TooLarge => TargetError::Refused("a file is too large".to_owned()),
                ReplyError::Broken(text) => TargetError::Unreachable(text),
            })?;
            match status {
                status if status.is_success() => Ok(Some(body)),
                status if is_missing(status, &body) => Ok(None),
                status => Err(refused(status, &body)),
            }
        };
        let late = || Err(TargetError::Unreachable("no answer in time".to_owned()));
        within(server.host, CALL_MS, read).await.unwrap_or_else(late)
    }

    async fn write(&self, path: &str, bytes: &[u8]) -> Result<(), TargetError> {
        let (first, rest) = bytes.split_at(bytes.len().min(PIECE_BYTES));
        self.put(path, first).await?;
        let part = format!("{path}.part");
        // At most the bytes of a bundle.
        for piece in rest.chunks(PIECE_BYTES) {
            self.put(&part, piece).await?;
            self.run("sh", &["-c", JOIN, "sh", &part, path]).await?;
        }
        Ok(())
    }

    async fn make_folder(&self, path: &str) -> Result<(), TargetError> {
        self.0.make_directory(path).await.map_err(|error| unreachable(&error))
    }

    async fn set_mode(&self, path: &str, mode: u32) -> Result<(), TargetError> {
        self.run("chmod", &[&format!("{mode:03o}"), path]).await.map(drop)
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), TargetError> {
        self.run("mv", &["-f", from, to]).await.map(drop)
    }

    async fn find(&self, home: &str, pattern: &Pattern, most: usize) -> Result<Vec<String>, TargetError> {
        let folder = format!("{home}/{}", pattern.folder());
        if !matches!(self.ask(Method::GET, self.url("stat", &folder)).await?, Some(Value::Object(_))) {
            return Ok(Vec::new());
        }
        let depth = pattern.depth().to_string();
        let words = ["-P", folder.as_str(), "-maxdepth", depth.as_str(), "-type", "f", "-name", pattern.name()];
        let said = self.run("find", &words).await?;
        let below = |line: &str| line.strip_prefix(home)?.strip_prefix('/').map(str::to_owned);
        let found: Vec<String> = said.lines().filter_map(below).filter(|path| pattern.matches(path)).collect();
        if found.len() > most { Err(TargetError::Refused("too many files".to_owned())) } else { Ok(found) }
    }

    async fn pause(&self, ms: u32) {
        self.0.host.sleep_ms(ms).await;
    }
}

fn unreachable(error: &impl ToString) -> TargetError {
    TargetError::Unreachable(error.to_string())
}

/// A path that is not there is a bad request to this server.
fn is_missing(status: StatusCode, body: &[u8]) -> bool {
    status == StatusCode::NOT_FOUND
        || (status == StatusCode::BAD_REQUEST && String::from_utf8_lossy(body).contains("path not found"))
}

fn refused(status: StatusCode, body: &[u8]) -> TargetError {
    let text = String::from_utf8_lossy(body.get(..300).unwrap_or(body)).into_owned();
    let text = format!("the agent server answered {}: {text}", status.as_u16());
    if status.is_server_error() { TargetError::Unreachable(text) } else { TargetError::Refused(text) }
}
