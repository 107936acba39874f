//! Who shares a bridge (pg-sync.md 4.3). Content-addressed: equal sources of one owner are one source.

use sha2::{Digest as _, Sha256};

use crate::js;
use crate::options::Options;

/// Where a source's rows come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    /// A connection by name: its address and secret may change without another identity.
    Connection(&'a str),
    /// An address that a user named.
    Url(&'a str),
}

/// The name of a source: 32 hexadecimal digits. `owner` is the user who created the session.
pub fn source_id(owner: &str, origin: Origin<'_>, options: &Options) -> String {
    let mut text = String::from("{\"v\":1,\"owner\":");
    js::write_text(owner, &mut text);
    let (name, value) = match origin {
        Origin::Connection(name) => ("connection", name),
        Origin::Url(url) => ("url", url),
    };
    text.push_str(",\"");
    text.push_str(name);
    text.push_str("\":");
    js::write_text(value, &mut text);
    options.write_canonical(&mut text);
    text.push('}');
    digest(&text)
}

/// The name of what one session observes: repeating a request makes nothing new.
pub fn subscription_id(session: &str, source_id: &str) -> String {
    let mut text = String::from("{\"v\":1,\"session\":");
    js::write_text(session, &mut text);
    text.push_str(",\"source\":");
    js::write_text(source_id, &mut text);
    text.push('}');
    digest(&text)
}

/// The segment of a path that stands for an owner (pg-sync.md 4.14).
pub fn owner_hash(owner: &str) -> String {
    let mut text = String::from("{\"v\":1,\"owner\":");
    js::write_text(owner, &mut text);
    text.push('}');
    digest(&text)
}

/// The first 128 bits of SHA-256.
fn digest(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    base16ct::lower::encode_string(hash.get(..16).unwrap_or_default())
}
