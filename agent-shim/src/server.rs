//! An agent behind a sandbox-agent server of this process's own (docs/spec/session-mailbox.md 4.7; docs/spec/agents.md 4.1,
//! 4.2): what is sent to the agent is posted, what it says comes as an event stream. The server descends from this process, so
//! that it ends with the agent and all tools.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::acp::{self, Incoming, MAX_LINE, PERMISSION};
use crate::ahead::Ahead;
use crate::http::{self, Request};
use crate::session::Event;

/// In the arguments of a server: its port, and the token that it asks for.
pub(crate) const PORT: &str = "{port}";
const TOKEN: &str = "{token}";
/// The server sends a comment every 15 s: after this it is asked anew.
const SILENCE: Duration = Duration::from_mins(1);
/// How often a stream that broke is opened again without a word from it.
const TRIES: u32 = 20;
/// Between two looks at a server that starts, and between two tries.
const STEP: Duration = Duration::from_millis(100);
/// How many questions are remembered.
const MAX_ASKED: usize = 256;
/// How much of an answer is read.
const MAX_ANSWER: u64 = 64 << 10;

/// A server that is about to be started.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    authorization: String,
    path: String,
    agent: String,
}

impl Server {
    /// Takes a free port, and fills it into the arguments. Nothing when they name no port: then the agent is started itself.
    pub(crate) fn prepare(
        arguments: &[String],
        agent: &str,
        number: u64,
    ) -> std::io::Result<Option<(Self, Vec<String>)>> {
        if !arguments.iter().any(|argument| argument.contains(PORT)) {
            return Ok(None);
        }
        // Another process may take it before the server does: then it does not start, and is tried again with another one.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let token = token()?;
        let filled = arguments.iter().map(|one| one.replace(PORT, &address.port().to_string()).replace(TOKEN, &token));
        let filled = filled.collect();
        let path = format!("/v1/acp/logseq-{number}");
        Ok(Some((Self { address, authorization: format!("Bearer {token}"), path, agent: encode(agent) }, filled)))
    }

    /// Posts what is sent to the agent, until it is given up.
    pub(crate) fn post_all(self, number: u64, messages: &Receiver<Value>, ahead: &Arc<Ahead>, events: &Sender<Event>) {
        let server = Arc::new(self);
        let mut first = Some(Arc::clone(ahead));
        // Ends when the agent is dropped.
        for message in messages {
            let Some(ahead) = first.take() else {
                let (server, events) = (Arc::clone(&server), events.clone());
                // A prompt is answered at its end: each has a thread. Their number is bounded by the turns, one at a time.
                let posted = std::thread::Builder::new()
                    .name("post".into())
                    .spawn(move || server.post(&message, false, number, &events));
                if posted.is_err() {
                    return;
                }
                continue;
            };
            // The first one starts the agent; before that there is no stream.
            server.until_healthy();
            server.post(&message, true, number, events);
            let (server, events) = (Arc::clone(&server), events.clone());
            let reading = std::thread::Builder::new().name("stream".into());
            if reading.spawn(move || server.read_all(number, &ahead, &events)).is_err() {
                return;
            }
        }
    }

    fn until_healthy(&self) {
        let deadline = Instant::now() + SILENCE;
        // Bounded by the deadline; whether it helped, the first message shows.
        while Instant::now() < deadline {
            let asked = self.ask("GET", "/v1/health", &[], "", Some(SILENCE));
            if asked.is_ok_and(|(status, _)| status == 200) {
                return;
            }
            std::thread::sleep(STEP);
        }
    }

    /// Posts a message. What it is answered is on the stream too, but for failures of the server itself.
    fn post(&self, message: &Value, first: bool, number: u64, events: &Sender<Event>) {
        let path = if first { format!("{}?agent={}", self.path, self.agent) } else { self.path.clone() };
        let json = [("content-type", "application/json"), ("accept", "application/json")];
        let failed = match self.ask("POST", &path, &json, &message.to_string(), None) {
            // 504: the server has waited as long as it does, and the agent goes on.
            Ok((200..=299 | 504, _)) => return,
            Ok((status, body)) => {
                let mut text = Vec::new();
                // What cannot be read says nothing.
                let _ = body.take(MAX_ANSWER).read_to_end(&mut text);
                format!("the agent server answered {status}: {}", String::from_utf8_lossy(&text))
            }
            Err(error) => format!("the agent server does not answer: {error}"),
        };
        let Some(id) = message.get("id").filter(|_| message.get("method").is_some()) else { return };
        let answer = json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32603, "message": failed}});
        // A session that is over needs no answer.
        let _ = events.send(Event::Line { number, line: answer.to_string().into_bytes() });
    }

    /// Reads the stream, and goes on where it broke.
    fn read_all(&self, number: u64, ahead: &Ahead, events: &Sender<Event>) {
        let (mut last, mut asked) = (None, Asked::default());
        let mut tries = 0;
        while tries < TRIES {
            let before = last;
            if !self.read(number, &mut last, &mut asked, ahead, events) {
                return;
            }
            asked.begin_again();
            tries = if last == before { tries + 1 } else { 0 };
            std::thread::sleep(STEP);
        }
        let _ = events.send(Event::Ended { number });
    }

    /// Reads one stream to its end. Whether another one is worth it.
    fn read(
        &self,
        number: u64,
        last: &mut Option<u64>,
        asked: &mut Asked,
        ahead: &Ahead,
        events: &Sender<Event>,
    ) -> bool {
        let since = last.map(|id| id.to_string()).unwrap_or_default();
        let mut headers = vec![("accept", "text/event-stream")];
        if last.is_some() {
            headers.push(("last-event-id", &since));
        }
        let Ok((200, body)) = self.ask("GET", &self.path, &headers, "", Some(SILENCE)) else { return true };
        let mut body = BufReader::new(body);
        let mut frame = Frame::default();
        // Ends with the stream: the server sends something at least every 15 s.
        while let Some(line) = line(&mut body) {
            let Some((id, data)) = frame.take(&line) else { continue };
            // Repeats of what was read: those of a stream that was opened again.
            if id.is_some() && id <= *last {
                continue;
            }
            *last = id.or(*last);
            if asked.is_repeat(&data) {
                continue;
            }
            let bytes = data.len();
            let event = if data.contains("_adapter/agent_exited") && is_exit(&data) {
                Event::Ended { number }
            } else {
                Event::Line { number, line: data.into_bytes() }
            };
            let over = matches!(event, Event::Ended { .. });
            if !ahead.enter(bytes) || events.send(event).is_err() || over {
                return false;
            }
        }
        true
    }

    fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
        silence: Option<Duration>,
    ) -> std::io::Result<(u16, http::Body)> {
        let mut all = vec![("authorization", self.authorization.as_str())];
        all.extend(headers);
        http::ask(self.address, &Request { method, path, headers: &all, body, silence })
    }
}

/// Questions of the agent's that were passed on. A stream that is opened again repeats those that had no answer then, as new messages: whoever has
/// answered one meanwhile would answer it twice, and the server passes both on.
#[derive(Debug, Default)]
struct Asked {
    /// Digests of those of earlier streams, the newest last.
    earlier: VecDeque<[u8; 32]>,
    /// Of this stream.
    now: VecDeque<[u8; 32]>,
}

impl Asked {
    /// Whether a message is a question of an earlier stream. Else it is noted, if it is a question.
    fn is_repeat(&mut self, data: &str) -> bool {
        if !data.contains(PERMISSION) {
            return false;
        }
        let Incoming::Permission { rpc_id, params } = acp::read(data.as_bytes()) else { return false };
        let digest: [u8; 32] = Sha256::digest(format!("{rpc_id} {params}")).into();
        if self.earlier.contains(&digest) {
            return true;
        }
        if self.now.len() >= MAX_ASKED {
            self.now.pop_front();
        }
        self.now.push_back(digest);
        false
    }

    /// Another stream begins.
    fn begin_again(&mut self) {
        self.earlier.append(&mut self.now);
        let excess = self.earlier.len().saturating_sub(MAX_ASKED);
        self.earlier.drain(..excess);
    }
}

fn is_exit(data: &str) -> bool {
    serde_json::from_str::<Value>(data)
        .is_ok_and(|message| message.get("method").and_then(Value::as_str) == Some("_adapter/agent_exited"))
}

/// A random token, which is worth something as long as this server lives.
fn token() -> std::io::Result<String> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(base16ct::lower::encode_string(&bytes))
}

/// A text as a value in a query.
fn encode(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// A line of the stream; of one that is too long its beginning. Nothing at the end.
fn line(body: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    let read = body.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut line).ok()?;
    (read > 0).then(|| String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
}

/// A frame of the stream, as it grows.
#[derive(Debug, Default)]
struct Frame {
    id: Option<u64>,
    data: String,
}

impl Frame {
    /// Takes in a line. The frame that ends with it.
    fn take(&mut self, line: &str) -> Option<(Option<u64>, String)> {
        if line.is_empty() {
            let done = std::mem::take(self);
            return (!done.data.is_empty()).then_some((done.id, done.data));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = value.parse().ok(),
            "data" if self.data.len() + value.len() <= MAX_LINE => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_and_comments_passed_over() {
        let mut frame = Frame::default();
        let lines = [": heartbeat", "event: message", "id: 7", "data: {\"a\":", "data:1}", "", "", "data: x", ""];
        let read: Vec<_> = lines.iter().filter_map(|line| frame.take(line)).collect();
        assert_eq!(read, [(Some(7), "{\"a\":\n1}".to_owned()), (None, "x".to_owned())]);
    }

    #[test]
    fn a_question_is_a_repeat_when_an_earlier_stream_had_it() {
        let question = |id: &str, title: &str| {
            json!({"id": id, "method": PERMISSION, "params": {"toolCall": {"title": title}}}).to_string()
        };
        let mut asked = Asked::default();
        assert!(!asked.is_repeat(&question("1", "a")) && !asked.is_repeat(&question("1", "a")));
        asked.begin_again();
        assert!(asked.is_repeat(&question("1", "a")) && asked.is_repeat(&question("1", "a")));
        // Another one, another id, and what only speaks of questions.
        assert!(!asked.is_repeat(&question("1", "b")) && !asked.is_repeat(&question("2", "a")));
        let said = json!({"method": "session/update", "params": {"text": PERMISSION}}).to_string();
        for _ in 0..2 {
            assert!(!asked.is_repeat(&said));
            asked.begin_again();
        }
        for number in 0..2 * MAX_ASKED {
            assert!(!asked.is_repeat(&question("n", &number.to_string())));
        }
        asked.begin_again();
        assert!(asked.earlier.len() == MAX_ASKED && asked.now.is_empty());
        assert!(asked.is_repeat(&question("n", &(2 * MAX_ASKED - 1).to_string())));
    }

    #[test]
    fn arguments_with_a_port_are_those_of_a_server() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(Server::prepare(&words("--acp"), "claude", 1).unwrap().is_none());
        let (server, filled) =
            Server::prepare(&words("server --port {port} --token {token}"), "a b", 1).unwrap().unwrap();
        assert_eq!(filled[2], server.address.port().to_string());
        assert_eq!((server.authorization, server.agent.as_str()), (format!("Bearer {}", filled[4]), "a%20b"));
        assert!(server.address.ip().is_loopback());
    }

    #[test]
    fn an_exit_is_told_by_its_method_and_not_by_what_an_agent_says() {
        assert!(is_exit(r#"{"jsonrpc":"2.0","method":"_adapter/agent_exited","params":{"success":false}}"#));
        assert!(!is_exit(r#"{"method":"session/update","params":{"text":"_adapter/agent_exited"}}"#));
    }
}
