//! Bodies of the HTTP routes, one file a noun.
//!
//! Requests are read with `parse` and answered 400 with the text of the [`BodyError`](crate::BodyError) when that
//! fails; answers are written with `to_json`.

pub mod graphs;
pub mod keys;
pub mod members;
pub mod snapshot;

use serde::Serialize;

/// `{"ok":true}`.
pub const OK: &str = r#"{"ok":true}"#;

/// An answer that serialises to the JSON on the wire.
pub trait Body: Serialize + Sized {
    /// The body as JSON.
    fn to_json(&self) -> String {
        crate::write::to_json(self)
    }
}
