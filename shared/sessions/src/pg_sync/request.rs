//! Bodies of routes about databases (pg-sync.md 4.2, 4.11).

use pg_sync::connection::{MAX_TABLES, Tables};
use pg_sync::fields::Fields;
use pg_sync::options::{MAX_PARAM_BYTES, Options, Replica};
use pg_sync::wake::{Wake, WakeError};
use serde::Deserialize as _;
use serde_json::Value;

use super::PgSyncError;
use crate::settings::POLL_MS;

/// The longest body of these routes, in bytes.
pub const MAX_PG_SYNC_BODY_BYTES: usize = 16 * 1024;
/// The longest secret, in bytes.
const MAX_SECRET_BYTES: usize = 4 * 1024;

/// Where the rows come from, as a body names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A connection by name.
    Connection(String),
    /// An address.
    Url(String),
}

impl Origin {
    /// Reads `connection` or `url` out of a body: one of them.
    ///
    /// # Errors
    /// [`PgSyncError::InvalidOptions`].
    pub fn read(body: &Value) -> Result<Self, PgSyncError> {
        let text = |name: &str| body.get(name).map(|value| value.as_str().map(str::to_owned));
        match (text("connection"), text("url")) {
            (Some(Some(name)), None) => Ok(Self::Connection(name)),
            (None, Some(Some(url))) => Ok(Self::Url(url)),
            (Some(None) | None, None) => Err(PgSyncError::InvalidOptions(vec!["connection".into()])),
            (None, Some(None)) => Err(PgSyncError::InvalidOptions(vec!["url".into()])),
            (Some(_), Some(_)) => Err(PgSyncError::InvalidOptions(vec!["connection".into(), "url".into()])),
        }
    }

    /// As it is stored: a name, or the address itself. No name holds a colon, every address does.
    pub fn as_str(&self) -> &str {
        let (Self::Connection(text) | Self::Url(text)) = self;
        text
    }
}

/// What a session wants to observe.
#[derive(Clone, Debug, PartialEq)]
pub struct Observe {
    /// What is observed.
    pub options: Options,
    /// What wakes the session.
    pub wake: Wake,
    /// Whether it takes the place of another wake.
    pub replace: bool,
}

impl Observe {
    /// Reads the rest of a body. `replica` is what holds where none is given.
    ///
    /// # Errors
    /// [`PgSyncError::InvalidOptions`] with the names of what is wrong, [`PgSyncError::FilterNeedsFullReplica`].
    pub fn read(body: &Value, replica: Replica) -> Result<Self, PgSyncError> {
        let mut fields = Fields::of(body).ok_or_else(|| PgSyncError::InvalidOptions(Vec::new()))?;
        let is_text = |value: &Value| value.as_str().map(drop);
        let (_, _) = (fields.optional("connection", is_text), fields.optional("url", is_text));
        let options = Options::read(&mut fields, replica);
        let wake = fields.optional("wake", |wake| Some(Wake::read(wake, options.replica)));
        let replace = fields.optional("replace", Value::as_bool).unwrap_or(false);
        if let Some(Err(WakeError::Fields(names))) = &wake {
            for name in names {
                fields.refuse(format!("wake.{name}"));
            }
        }
        fields.finish().map_err(PgSyncError::InvalidOptions)?;
        match wake.unwrap_or_else(|| Ok(Wake::default())) {
            Ok(wake) => Ok(Self { options, wake, replace }),
            Err(_) => Err(PgSyncError::FilterNeedsFullReplica),
        }
    }
}

/// What becomes of the secret of a connection.
#[derive(Clone, PartialEq, Eq)]
pub enum NewSecret {
    /// It stays.
    Keep,
    /// It goes.
    Remove,
    /// This takes its place.
    Set(String),
}

/// A connection that a user wants. Whether its address may be asked is decided elsewhere.
#[derive(Clone, PartialEq, Eq)]
pub struct NewConnection {
    /// Where the service is.
    pub url: String,
    /// What opens it.
    pub secret: NewSecret,
    /// Tables that it lets through.
    pub tables: Vec<String>,
    /// What holds where nothing is asked for.
    pub replica: Replica,
    /// Whether requests wait for changes.
    pub is_live: bool,
    /// The pause between two requests that do not, in milliseconds.
    pub poll_ms: Option<i64>,
}

impl NewConnection {
    /// Reads a body.
    ///
    /// # Errors
    /// [`PgSyncError::InvalidConnection`] with the names of what is wrong.
    pub fn read(body: &Value) -> Result<Self, PgSyncError> {
        let mut fields = Fields::of(body).ok_or_else(|| PgSyncError::InvalidConnection(Vec::new()))?;
        let url = fields.required("url", |value| value.as_str().map(str::to_owned));
        let secret = fields.optional("secret", |value| match value {
            Value::Null => Some(NewSecret::Remove),
            Value::String(text) if (1..=MAX_SECRET_BYTES).contains(&text.len()) => Some(NewSecret::Set(text.clone())),
            _ => None,
        });
        let tables = fields.optional("tables", |value| {
            let names = value.as_array().filter(|names| (1..=MAX_TABLES).contains(&names.len()))?;
            let short = |name: &Value| name.as_str().filter(|name| name.len() <= MAX_PARAM_BYTES).map(str::to_owned);
            let names: Vec<String> = names.iter().map(short).collect::<Option<_>>()?;
            Tables::read(&names.iter().map(String::as_str).collect::<Vec<_>>()).map(|_| names)
        });
        let replica = fields.optional("replica", |value| Replica::deserialize(value).ok());
        let is_live = fields.optional("mode", |value| match value.as_str()? {
            "live" => Some(true),
            "interval" => Some(false),
            _ => None,
        });
        let poll_ms = fields.optional("poll_ms", |value| value.as_i64().filter(|ms| POLL_MS.contains(ms)));
        fields.finish().map_err(PgSyncError::InvalidConnection)?;
        Ok(Self {
            url: url.unwrap_or_default(),
            secret: secret.unwrap_or(NewSecret::Keep),
            tables: tables.unwrap_or_else(|| vec!["*".to_owned()]),
            replica: replica.unwrap_or_default(),
            is_live: is_live.unwrap_or(false),
            poll_ms,
        })
    }
}

/// A table over which a connection is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe(pub Options);

impl Probe {
    /// Reads a body `{table}`.
    ///
    /// # Errors
    /// [`PgSyncError::InvalidOptions`].
    pub fn read(body: &Value) -> Result<Self, PgSyncError> {
        let is_one = body.as_object().is_some_and(|members| members.len() == 1);
        let mut fields = Fields::of(body).ok_or_else(|| PgSyncError::InvalidOptions(Vec::new()))?;
        let options = Options::read(&mut fields, Replica::Default);
        match fields.finish() {
            Ok(()) if is_one => Ok(Self(options)),
            Ok(()) => Err(PgSyncError::InvalidOptions(Vec::new())),
            Err(names) => Err(PgSyncError::InvalidOptions(names)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_observed() {
        let body = json!({"connection": "main", "table": "t", "replica": "full", "wake": {"filter": {"a": null}}});
        let read = Observe::read(&body, Replica::Default).unwrap();
        assert_eq!((read.options.table.as_str(), read.options.replica, read.replace), ("t", Replica::Full, false));
        assert_eq!(Origin::read(&body), Ok(Origin::Connection("main".into())));
        let fields = |body: Value| match Observe::read(&body, Replica::Default) {
            Err(PgSyncError::InvalidOptions(fields)) => fields,
            other => panic!("{other:?}"),
        };
        assert_eq!(fields(json!({"table": " ", "timeoutMs": 5, "columns": []})), ["columns", "table", "timeoutMs"]);
        assert_eq!(fields(json!({"table": "t", "wake": {"ops": ["upsert"], "x": 1}})), ["wake.ops", "wake.x"]);
        assert_eq!(
            Observe::read(&json!({"table": "t", "wake": {"filter": {"a": "1"}}}), Replica::Default),
            Err(PgSyncError::FilterNeedsFullReplica)
        );
        for body in [json!({}), json!({"connection": "a", "url": "b"}), json!({"url": 5}), json!([])] {
            assert!(Origin::read(&body).is_err(), "{body}");
        }
    }

    #[test]
    fn connections() {
        let read = |body: Value| NewConnection::read(&body);
        let plain = read(json!({"url": "https://e.example"})).unwrap();
        assert!(plain.secret == NewSecret::Keep && plain.tables == ["*"] && !plain.is_live);
        assert!(read(json!({"url": "https://e.example", "secret": null})).unwrap().secret == NewSecret::Remove);
        for (body, expected) in [
            (json!({}), vec!["url"]),
            (json!({"url": "x", "tables": []}), vec!["tables"]),
            (json!({"url": "x", "tables": ["a.b.c"], "secret": ""}), vec!["secret", "tables"]),
            (json!({"url": "x", "mode": "push", "poll_ms": 1, "more": 1}), vec!["mode", "more", "poll_ms"]),
        ] {
            let Err(PgSyncError::InvalidConnection(fields)) = read(body.clone()) else { panic!("{body}") };
            assert_eq!(fields, expected);
        }
    }
}
