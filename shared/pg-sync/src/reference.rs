//! The identity that the compatibility route gives out: that of the reference, bit by bit (pg-sync.md 2.1).
//!
//! It is 64 bits wide and not cryptographic, so nothing of ours is shared by it: see [`crate::identity`].

use serde_json::{Value as Json, json};
use url::Url;

use crate::js;
use crate::options::Options;

/// The members of options in the order in which they are hashed; `metadata` follows them.
const MEMBERS: [&str; 6] = ["url", "table", "columns", "where", "params", "replica"];

/// Members of metadata that say where a request came from, not whose source it is.
const PASSING: [&str; 3] = ["wakeId", "runtimeConsumerId", "streamPath"];

/// The text that is hashed. It judges nothing: whatever members are there count as they are, unknown ones do not.
pub fn canonical(options: &Json, metadata: Option<&Json>) -> String {
    let mut text = String::from("{");
    let mut member = |name: &str, value: &str| {
        if text.len() > 1 {
            text.push(',');
        }
        js::write_text(name, &mut text);
        text.push(':');
        text.push_str(value);
    };
    for name in MEMBERS {
        let mut value = String::new();
        match options.get(name) {
            Some(given) => js::write_sorted(given, &mut value),
            None if name == "replica" => js::write_text("default", &mut value),
            None => continue,
        }
        member(name, &value);
    }
    if let Some(Json::Object(metadata)) = metadata {
        let kept = metadata.iter().filter(|(name, _)| !PASSING.contains(&name.as_str()));
        let kept: serde_json::Map<_, _> = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        if !kept.is_empty() {
            let mut value = String::new();
            js::write_sorted(&Json::Object(kept), &mut value);
            member("metadata", &value);
        }
    }
    text.push('}');
    text
}

/// `sourceRef`: FNV-1a, 64 bits, over the UTF-16 code units of the canonical text, 16 hexadecimal digits.
pub fn source_ref(canonical: &str) -> String {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let hash = canonical.encode_utf16().fold(BASIS, |hash, unit| (hash ^ u64::from(unit)).wrapping_mul(PRIME));
    format!("{hash:016x}")
}

/// The name of a source of ours on the compatibility route (pg-sync.md 4.14). Who owns it is no part of it: that stands in the path.
pub fn of_source(url: &Url, options: &Options) -> String {
    let mut named = json!({"url": url.as_str(), "table": options.table, "replica": options.replica.as_str()});
    if let Some(members) = named.as_object_mut() {
        members.extend(options.columns.as_ref().map(|columns| ("columns".to_owned(), columns.as_slice().into())));
        members.extend(options.filter.as_ref().map(|filter| ("where".to_owned(), filter.as_str().into())));
        let params = options.params.as_ref().and_then(|params| serde_json::to_value(params).ok());
        members.extend(params.map(|params| ("params".to_owned(), params)));
    }
    source_ref(&canonical(&named, None))
}

/// Where the reference serves a source's stream. A tenant that is empty gives no segment.
pub fn stream_path(tenant: Option<&str>, source_ref: &str) -> String {
    let mut path = String::from("/_electric/pg-sync/");
    if let Some(tenant) = tenant.filter(|tenant| !tenant.is_empty()) {
        js::write_component(tenant, &mut path);
        path.push('/');
    }
    path.push_str(source_ref);
    path
}

/// The key of a source in a manifest of the reference.
pub fn manifest_key(source_ref: &str) -> String {
    format!("source:pgSync:{source_ref}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_hold_the_tenant() {
        assert_eq!(stream_path(None, "0f"), "/_electric/pg-sync/0f");
        assert_eq!(stream_path(Some(""), "0f"), "/_electric/pg-sync/0f");
        assert_eq!(stream_path(Some("a/b c+!é"), "0f"), "/_electric/pg-sync/a%2Fb%20c%2B!%C3%A9/0f");
        assert_eq!(manifest_key("0f"), "source:pgSync:0f");
    }
}
