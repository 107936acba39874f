//! `ws-test`: whether sockets reach a graph (sync.md 16).

use std::process::ExitCode;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::{Arg, ArgMatches, Command};
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::surface::{Surface, encoded, refused, whole};
use super::target::{GRAPHS, choose, with_target};
use crate::cli::failure::{Failure, exit};
use crate::cli::output::Output;
use crate::cli::{Outcome, text};

/// How long all answers may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The verb.
pub(super) fn command() -> Command {
    let id = Arg::new("graph-id").long("graph-id").value_name("ID").required(true).help("the graph");
    with_target(Command::new("ws-test").about("Say whether sockets reach a graph: hello, ping and pull"), GRAPHS)
        .arg(id)
}

/// Runs it.
pub(super) async fn run(matches: &ArgMatches, output: Output) -> Outcome {
    let graph_id = text(matches, "graph-id").unwrap_or_default();
    let (target, resolved) = choose(matches, output)?;
    let surface = Surface::open(&target, &resolved)?;
    let answered = timeout(PATIENCE, converse(&surface, &graph_id)).await;
    let answers =
        answered.map_err(|_| Failure::new("no-answer", exit::FAILED, "not all answers came within 10 s"))??;
    let words: Vec<String> = answers.iter().map(Value::to_string).collect();
    output.result(&json!({ "graph_id": graph_id, "answers": answers }), &words.join("\n"));
    Ok(ExitCode::SUCCESS)
}

async fn converse(surface: &Surface, graph_id: &str) -> Result<Vec<Value>, Failure> {
    let request = Request::builder()
        .uri(format!("/sync/{}", encoded(graph_id)))
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, STANDARD.encode(crate::host::random_uuid().as_bytes()))
        .body(Full::<Bytes>::default())
        .map_err(Failure::usage)?;
    let response = surface.send(request).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        if response.status().is_success() {
            return Err(broken("the server, or a proxy before it, does not let sockets through"));
        }
        return Err(refused(response.status(), &whole(response.into_body()).await?));
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(|error| broken(&error.to_string()))?;
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await;
    for message in [
        json!({ "type": "hello", "client": "logseq-sync" }),
        json!({ "type": "ping" }),
        // Beyond every counter: the answer is short however long the log is.
        json!({ "type": "pull", "since": 9_000_000_000_000_i64 }),
    ] {
        socket.send(Message::text(message.to_string())).await.map_err(|error| broken(&error.to_string()))?;
    }
    let mut answers = Vec::new();
    // Bounded by the time that all of it may take.
    while answers.len() < 3 {
        let message = socket.next().await.ok_or_else(|| broken("the server has closed it"))?;
        let Message::Text(text) = message.map_err(|error| broken(&error.to_string()))? else { continue };
        let told: Value = serde_json::from_str(&text).map_err(|error| broken(&error.to_string()))?;
        match told.get("type").and_then(Value::as_str) {
            Some("hello" | "pong" | "pull/ok") => answers.push(told),
            Some("error") => return Err(broken(&told.to_string())),
            // Who else is there, and what changes meanwhile.
            _ => {}
        }
    }
    let _ = socket.close(None).await;
    Ok(answers)
}

fn broken(why: &str) -> Failure {
    Failure::new("socket-failed", exit::FAILED, format!("the socket: {why}"))
}
