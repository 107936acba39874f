//! Bodies of runners that call us (session-mailbox.md 7.2–7.6). All of them are hostile until they were read here.

mod attach;
mod events;
mod register;
mod work;

pub use attach::{Attach, ClaimedSession};
pub use events::{Report, events};
pub use register::RegisterMailbox;
pub use work::{LeaseAsked, Leases, Poll, SessionAck, acks, acks_of};

use serde_json::{Map, Value};

use super::fields::Fields;
use crate::error::Error;

/// Bytes of a version, a short word, a name.
const MAX_WORD_BYTES: usize = 256;

/// A number that counts something; at least 0.
fn count(fields: Fields<'_>, name: &str) -> Result<u64, Error> {
    counted(fields, name)?.ok_or(Error::InvalidBody)
}

/// The same, where it may be missing.
fn counted(fields: Fields<'_>, name: &str) -> Result<Option<u64>, Error> {
    let number = fields.int(name)?;
    number.map(|number| u64::try_from(number).map_err(|_| Error::InvalidBody)).transpose()
}

/// A word that must be there.
fn word(fields: Fields<'_>, name: &str) -> Result<String, Error> {
    let text = fields.text_within(name, MAX_WORD_BYTES)?.filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or(Error::InvalidBody)
}

/// A UUID that must be there, in the one form in which UUIDs are compared.
fn id(fields: Fields<'_>, name: &str) -> Result<String, Error> {
    uuid(fields.required(name)?)
}

fn uuid(text: &str) -> Result<String, Error> {
    let is_plain = text.len() == 36;
    let id = uuid::Uuid::try_parse(text).ok().filter(|_| is_plain).ok_or(Error::InvalidBody)?;
    Ok(id.to_string())
}

/// The id of a session, as clients may choose them.
fn session(fields: Fields<'_>) -> Result<String, Error> {
    let id = fields.required("session-id")?;
    let is_id = !id.is_empty() && id.len() <= super::limits::MAX_SESSION_ID_BYTES;
    if is_id { Ok(id.to_owned()) } else { Err(Error::InvalidBody) }
}

/// The members of a list of objects; none is an empty list. At most so many.
fn objects<'a>(fields: Fields<'a>, name: &str, most: usize) -> Result<Vec<&'a Map<String, Value>>, Error> {
    let Some(list) = fields.0.get(name) else { return Ok(Vec::new()) };
    let list = list.as_array().filter(|list| list.len() <= most).ok_or(Error::InvalidBody)?;
    list.iter().map(|entry| entry.as_object().ok_or(Error::InvalidBody)).collect()
}
