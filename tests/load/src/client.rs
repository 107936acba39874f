//! One socket: a reader of its own tells what arrives, until the run is over.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::quantiles::Quantiles;
use crate::room::Room;

/// How long any answer may take: the machine may be busy with much else.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Memory that a socket has for reading and writing.
const BUFFER: usize = 4 << 10;

type Stream = WebSocketStream<TcpStream>;

/// What all sockets count together.
pub(crate) struct Counts {
    /// From a batch sent to `changed` at another client, and from its acknowledgement to it.
    pub(crate) since_sent: RefCell<Quantiles>,
    pub(crate) since_acknowledged: RefCell<Quantiles>,
    /// From a batch sent to its acknowledgement.
    pub(crate) acknowledged: RefCell<Quantiles>,
    /// Messages `changed` that arrived.
    pub(crate) told: Cell<u64>,
    /// The run is over: a socket that ends is none of our affair.
    pub(crate) over: Cell<bool>,
}

/// An open socket.
pub(crate) struct Client {
    pub(crate) room: Rc<Room>,
    sink: SplitSink<Stream, Message>,
    answers: mpsc::UnboundedReceiver<Value>,
    /// The highest counter that it was told.
    seen: watch::Receiver<i64>,
}

impl Client {
    /// Opens a socket and says hello.
    pub(crate) async fn open(base: &str, token: &str, room: Rc<Room>, counts: Rc<Counts>) -> Result<Self> {
        let address = base.strip_prefix("http://").context("the server is reached by http://")?;
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        let config = WebSocketConfig::default().read_buffer_size(BUFFER).write_buffer_size(BUFFER);
        let url = format!("ws://{address}/sync/{}?token={token}", room.id);
        let shaking = tokio_tungstenite::client_async_with_config(url, stream, Some(config));
        let (socket, _) = timeout(PATIENCE, shaking).await??;
        let (sink, stream) = socket.split();
        let (answer, answers) = mpsc::unbounded_channel();
        let (see, seen) = watch::channel(0);
        let (of_reader, shared) = (Rc::clone(&room), Rc::clone(&counts));
        tokio::task::spawn_local(async move {
            let ended = read(stream, &of_reader, &shared, &see, &answer).await;
            if let Err(error) = ended
                && !shared.over.get()
            {
                of_reader.failed.borrow_mut().push(format!("{error:#}"));
            }
        });
        let mut client = Self { room, sink, answers, seen };
        let (t, _) = client.hello().await?;
        client.room.begin(t);
        Ok(client)
    }

    /// Counter and checksum that the server tells this socket.
    pub(crate) async fn hello(&mut self) -> Result<(i64, String)> {
        let answer = self.ask(json!({ "type": "hello", "client": "load" }).to_string()).await?;
        let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default();
        match (text("type"), answer.get("t").and_then(Value::as_i64)) {
            ("hello", Some(t)) => Ok((t, text("checksum").to_owned())),
            _ => bail!("the answer to hello is {answer}"),
        }
    }

    /// Sends a batch; the counter after it.
    pub(crate) async fn send(&mut self, batch: String) -> Result<i64> {
        let answer = self.ask(batch).await?;
        match (answer.get("type").and_then(Value::as_str), answer.get("t").and_then(Value::as_i64)) {
            (Some("tx/batch/ok"), Some(t)) => Ok(t),
            _ => bail!("a batch was refused: {answer}"),
        }
    }

    /// Waits until this socket was told of `t`.
    pub(crate) async fn sees(&mut self, t: i64) -> Result<()> {
        let waited = timeout(PATIENCE, self.seen.wait_for(|seen| *seen >= t)).await.map(|seen| seen.map(drop));
        match waited {
            Ok(seen) => seen.map_err(|_| anyhow!("a socket of {} has ended", self.room.id)),
            Err(_) => bail!("a socket of {} was told of {} only, not of {t}", self.room.id, *self.seen.borrow()),
        }
    }

    async fn ask(&mut self, message: String) -> Result<Value> {
        self.sink.send(Message::text(message)).await?;
        let answer = timeout(PATIENCE, self.answers.recv()).await.context("no answer")?;
        answer.context("the socket has ended")
    }
}

/// Reads to the end, which is a failure unless the run is over.
async fn read(
    mut stream: SplitStream<Stream>,
    room: &Room,
    counts: &Counts,
    see: &watch::Sender<i64>,
    answer: &mpsc::UnboundedSender<Value>,
) -> Result<()> {
    while let Some(message) = stream.next().await {
        let text = match message? {
            Message::Text(text) => text,
            Message::Close(frame) => bail!("the server closed a socket: {frame:?}"),
            _ => continue,
        };
        let message: Value = serde_json::from_str(&text)?;
        match message.get("type").and_then(Value::as_str) {
            Some("changed") => {
                let t = message.get("t").and_then(Value::as_i64).context("a `changed` without a counter")?;
                let now = Instant::now();
                counts.told.set(counts.told.get() + 1);
                room.times(*see.borrow(), t, |sent, acknowledged| {
                    counts.since_sent.borrow_mut().add(now.saturating_duration_since(sent));
                    // It may come before the acknowledgement does: then it was no later.
                    let later = acknowledged.map_or(Duration::ZERO, |then| now.saturating_duration_since(then));
                    counts.since_acknowledged.borrow_mut().add(later);
                });
                see.send_replace(t);
            }
            Some("online-users" | "presence") => {}
            // Whoever has asked is told; an answer that nobody waits for is seen at the next question.
            _ => drop(answer.send(message)),
        }
    }
    bail!("a socket has ended")
}
