//! Streams in the store of bridges' logs: each is a bridge that follows nothing, whose changes are written by clients.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use database::local::SqlError;
use database::local_sqlite::Rusqlite;
use durable_streams::{Extent, MAX_MESSAGES, Messages, Page};
use pg_sync::bridge::{Bridge, Commit, Source, Stored};
use pg_sync::change::{Change, Operation};
use pg_sync::events::{extent, page};
use pg_sync::options::{OnGap, Options, Replica};
use pg_sync::store::Store;
use serde_json::value::RawValue;
use tokio::sync::watch;

/// How the bytes of a stream are told apart and told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Each message is a JSON value, and a body an array of them.
    Json,
    /// Bodies follow each other.
    Text,
    /// The same, which events carry in base64.
    Bytes,
}

impl Form {
    /// Of a content type.
    fn of(kind: &str) -> Self {
        match kind {
            "application/json" => Self::Json,
            _ if kind.starts_with("text/") => Self::Text,
            _ => Self::Bytes,
        }
    }
}

/// A stream.
pub(crate) struct Stream {
    store: Store<Rc<Rusqlite>>,
    stored: Stored,
    pub(crate) content_type: String,
    pub(crate) form: Form,
    /// Grows with each message; closes when the stream is deleted.
    pub(crate) grown: watch::Sender<u64>,
}

/// All of them, by path.
pub(crate) struct Streams {
    sql: Rc<Rusqlite>,
    pub(crate) by_path: HashMap<String, Stream>,
    made: u64,
}

/// A content type as it is compared: without parameters, in lower case.
pub(crate) fn kind(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The messages of a body, as they are stored; `None` when it is no JSON.
pub(crate) fn messages(form: Form, body: &[u8]) -> Option<Vec<String>> {
    if form != Form::Json {
        return Some(if body.is_empty() { Vec::new() } else { vec![STANDARD.encode(body)] });
    }
    // One level of arrays is several messages.
    if let Ok(values) = serde_json::from_slice::<Vec<Box<RawValue>>>(body) {
        return Some(values.iter().map(|value| value.get().to_owned()).collect());
    }
    let value: Box<RawValue> = serde_json::from_slice(body).ok()?;
    Some(vec![value.get().to_owned()])
}

impl Streams {
    pub(crate) fn new(sql: Rusqlite) -> Result<Self, SqlError> {
        pg_sync::store::create_tables(&sql)?;
        Ok(Self { sql: Rc::new(sql), by_path: HashMap::new(), made: 0 })
    }

    /// A new stream, empty.
    pub(crate) fn create(&mut self, path: &str, content_type: &str) -> Result<&mut Stream, SqlError> {
        self.made += 1;
        let options = Options {
            table: path.to_owned(),
            columns: None,
            filter: None,
            params: None,
            replica: Replica::Default,
            on_gap: OnGap::Event,
        };
        let source = Source { id: self.made.to_string(), owner: String::new(), connection: String::new(), options };
        // A stream that was deleted has a smaller incarnation than the next of its name.
        let stored = Stored::new(source, i64::try_from(self.made).unwrap_or(i64::MAX));
        let store = Store::new(Rc::clone(&self.sql), self.made);
        store.create(&stored)?;
        let stream = Stream {
            store,
            stored,
            content_type: content_type.to_owned(),
            form: Form::of(&kind(content_type)),
            grown: watch::channel(0).0,
        };
        self.by_path.insert(path.to_owned(), stream);
        self.by_path.get_mut(path).ok_or_else(|| SqlError::Other("the stream is not there".into()))
    }

    /// Removes a stream, and says whether there was one.
    pub(crate) fn delete(&mut self, path: &str) -> Result<bool, SqlError> {
        self.by_path.remove(path).map_or(Ok(false), |stream| stream.store.remove().map(|()| true))
    }
}

impl Stream {
    /// Adds messages, as a bridge adds the changes of one answer.
    pub(crate) fn append(&mut self, messages: Vec<String>, now: i64) -> Result<(), SqlError> {
        let changes: Vec<Change> = (1..)
            .zip(messages)
            .map(|(at, text)| Change {
                seq: self.stored.ring.last_seq + at,
                gap_seq: 0,
                key: String::new(),
                operation: Operation::Insert,
                value: text.into(),
                old_value: None,
                position: None,
                at: now,
                partial: false,
                truncated: false,
                synthetic: false,
            })
            .collect();
        let ring = &mut self.stored.ring;
        ring.last_seq += changes.len() as u64;
        ring.bytes += changes.iter().map(Change::bytes).sum::<u64>();
        let delete = ring.trim(&self.store, &changes, now)?;
        let first_seq = ring.first_seq;
        let changes = changes.into_iter().filter(|change| change.seq >= first_seq).collect();
        let commit = Commit { changes, delete, bridge: true, ..Commit::default() };
        self.store.store(&Bridge::open(self.stored.clone(), []), &commit)?;
        self.grown.send_replace(self.stored.ring.last_seq);
        Ok(())
    }
}

impl Messages for Stream {
    type Error = SqlError;

    fn extent(&self) -> Extent {
        extent(&self.stored)
    }

    fn content_type(&self) -> &str {
        &self.content_type
    }

    fn page(&self, after: u64) -> Result<Page, SqlError> {
        let (changes, last_seq) = page(&self.store, self.extent(), after, MAX_MESSAGES)?;
        let texts: Vec<&str> = changes.iter().map(|change| &*change.value).collect();
        let body = match self.form {
            Form::Json => format!("[{}]", texts.join(",")).into_bytes(),
            Form::Text | Form::Bytes => {
                let decoded: Result<Vec<_>, _> = texts.into_iter().map(|text| STANDARD.decode(text)).collect();
                decoded.map_err(|error| SqlError::Other(error.to_string()))?.concat()
            }
        };
        Ok(Page { body, last_seq })
    }

    fn event_data<'b>(&self, body: &'b [u8]) -> Cow<'b, str> {
        match self.form {
            Form::Json | Form::Text => String::from_utf8_lossy(body),
            Form::Bytes => STANDARD.encode(body).into(),
        }
    }
}
