//! Requests for a shape (pg-sync.md 2.8, 4.7).

use serde::{Deserialize, Serialize};
use url::Url;

use crate::connection::is_reserved;
use crate::decode::MAX_BODY_BYTES;
use crate::options::{Options, Replica};
use crate::rows::MAX_ROWS_BODY_BYTES;

/// The longest address that is asked, in bytes.
pub const MAX_REQUEST_URL_BYTES: usize = 8 * 1024;
/// The longest handle or offset that is taken, in bytes.
const MAX_TOKEN_BYTES: usize = 256;

/// Which changes a log holds. It is part of what a shape is, so a handle of the one is unknown to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogMode {
    /// Changes alone: no snapshot is made. What new cursors get.
    ChangesOnly,
    /// With the rows that were there.
    Full,
}

impl LogMode {
    const fn as_str(self) -> &'static str {
        match self {
            Self::ChangesOnly => "changes_only",
            Self::Full => "full",
        }
    }
}

/// A place in a log. Its parts belong together: they are stored and dropped as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Which log.
    pub handle: String,
    /// Where in it.
    pub offset: String,
    /// How the log was asked for, and has to be from then on.
    pub log_mode: LogMode,
}

impl Cursor {
    /// A cursor of what an answer says. Every offset that a service gives is a place in its log, `0_inf` too; the words for the
    /// beginning and the end are none.
    pub fn new(handle: &str, offset: &str, log_mode: LogMode) -> Option<Self> {
        let is_token = |text: &str| {
            !text.is_empty() && text.len() <= MAX_TOKEN_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let is_place = is_token(offset) && offset != "now" && offset != "-1";
        (is_token(handle) && is_place).then(|| Self { handle: handle.to_owned(), offset: offset.to_owned(), log_mode })
    }
}

impl Cursor {
    /// Whether it could have been made.
    pub fn is_readable(&self) -> bool {
        Self::new(&self.handle, &self.offset, self.log_mode).is_some()
    }
}

/// What is asked of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Where its end is.
    Now(LogMode),
    /// What follows a cursor; answered at once.
    CatchUp(Cursor),
    /// All rows of the log's shape at one moment, instead of what follows a cursor.
    Rows(Cursor),
    /// What follows a cursor, as soon as there is something. The second part echoes the answer before.
    Live(Cursor, String),
}

impl Ask {
    /// The longest body of an answer that is read, in bytes.
    pub const fn max_body_bytes(&self) -> usize {
        match self {
            Self::Rows(_) => MAX_ROWS_BODY_BYTES,
            Self::Now(_) | Self::CatchUp(_) | Self::Live(..) => MAX_BODY_BYTES,
        }
    }
}

/// Everything that a request says.
#[derive(Clone, Copy, Debug)]
pub struct ShapeRequest<'a> {
    /// The address of the service; its query is kept, but for what is set here.
    pub base: &'a Url,
    /// What is observed.
    pub options: &'a Options,
    /// Whose source it is.
    pub owner: &'a str,
    /// What opens the service.
    pub secret: Option<&'a str>,
    /// A text that no request had before: caches on the way keep answers for a minute and longer.
    pub cache_buster: &'a str,
    /// What is asked.
    pub ask: &'a Ask,
}

impl ShapeRequest<'_> {
    /// The address to ask. `None` when it would be too long.
    pub fn url(&self) -> Option<Url> {
        let mut url = self.base.clone();
        let own: Vec<(String, String)> =
            self.base.query_pairs().filter(|(name, _)| !is_reserved(name)).map(|(n, v)| (n.into(), v.into())).collect();
        url.set_query(None);
        url.set_fragment(None);
        {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(own);
            query.append_pair("table", &self.options.table);
            if let Some(columns) = &self.options.columns {
                query.append_pair("columns", &quoted(columns));
            }
            if let Some(filter) = &self.options.filter {
                query.append_pair("where", filter);
            }
            if let Some(params) = &self.options.params {
                for (number, value) in params.numbered() {
                    query.append_pair(&format!("params[{number}]"), value);
                }
            }
            if self.options.replica == Replica::Full {
                query.append_pair("replica", self.options.replica.as_str());
            }
            match self.ask {
                Ask::Now(log_mode) => {
                    query.append_pair("offset", "now").append_pair("log", log_mode.as_str());
                }
                Ask::CatchUp(cursor) => place(&mut query, cursor),
                Ask::Rows(cursor) => {
                    place(&mut query, cursor);
                    query.append_pair("subset__where", "true");
                }
                Ask::Live(cursor, echo) => {
                    place(&mut query, cursor);
                    query.append_pair("live", "true").append_pair("cursor", echo);
                }
            }
            if !matches!(self.ask, Ask::Live(..)) {
                query.append_pair("cache-buster", self.cache_buster);
            }
            if let Some(secret) = self.secret {
                query.append_pair("secret", secret);
            }
            // Last, so that nothing said before takes its place.
            query.append_pair("electric_agents_principal_kind", "user");
            query.append_pair("electric_agents_principal_id", self.owner);
        }
        (url.as_str().len() <= MAX_REQUEST_URL_BYTES).then_some(url)
    }
}

fn place(query: &mut url::form_urlencoded::Serializer<'_, url::UrlQuery<'_>>, cursor: &Cursor) {
    query.append_pair("offset", &cursor.offset);
    query.append_pair("handle", &cursor.handle);
    query.append_pair("log", cursor.log_mode.as_str());
}

/// Columns as identifiers: one way for all requests, so that all mean the same shape.
fn quoted(columns: &[String]) -> String {
    let quoted: Vec<_> = columns.iter().map(|column| format!("\"{}\"", column.replace('"', "\"\""))).collect();
    quoted.join(",")
}
