//! The body by which a stream is asked for on the compatibility route (pg-sync.md 2.2, 4.14).

use serde_json::Value as Json;
use url::Url;

use crate::fields::Fields;
use crate::options::{Options, Replica};

/// The longest body, in bytes.
pub const MAX_REGISTER_BYTES: usize = 16 * 1024;

/// A source whose log somebody wants to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Where the shape service is.
    pub url: Url,
    /// What is observed.
    pub options: Options,
}

impl Registration {
    /// Reads a body. Metadata is taken and not believed: who asks is known by the token.
    ///
    /// # Errors
    /// The names of members that are wrong or unknown; an empty name when it is no object.
    pub fn read(body: &Json) -> Result<Self, Vec<String>> {
        let mut fields = Fields::of(body).ok_or_else(|| vec![String::new()])?;
        let given = fields.required("options", |options| options.is_object().then(|| options.clone()));
        fields.optional("metadata", is_metadata);
        fields.finish()?;
        let given = given.unwrap_or_default();
        let mut fields = Fields::of(&given).ok_or_else(|| vec!["options".to_owned()])?;
        let url = fields.required("url", |url| url.as_str().and_then(|url| Url::parse(url).ok()));
        fields.optional("metadata", is_metadata);
        let options = Options::read(&mut fields, Replica::Default);
        fields.finish()?;
        let url = url.ok_or_else(|| vec!["url".to_owned()])?;
        Ok(Self { url, options })
    }
}

/// Texts by name.
fn is_metadata(given: &Json) -> Option<()> {
    given.as_object()?.values().all(Json::is_string).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bodies_of_the_reference_are_taken() {
        let body = json!({
            "options": {"url": "https://e.example/v1/shape", "table": "orders", "columns": ["id"], "where": "id > $1", "params": ["3"],
                "replica": "full", "metadata": {"a": "b"}},
            "metadata": {"entityUrl": "/x/y", "wakeId": "w"},
        });
        let read = Registration::read(&body).unwrap();
        assert_eq!((read.url.as_str(), read.options.table.as_str()), ("https://e.example/v1/shape", "orders"));
        assert_eq!(read.options.replica, Replica::Full);
    }

    /// Fact 8 of pg-sync.md 3.
    #[test]
    fn others_are_refused_with_the_names_of_what_is_wrong() {
        let url = "https://e.example/v1/shape";
        for (body, wrong) in [
            (json!([]), ""),
            (json!({}), "options"),
            (json!({"options": {"table": "t"}}), "url"),
            (json!({"options": {"url": "", "table": "t"}}), "url"),
            (json!({"options": {"url": url}}), "table"),
            (json!({"options": {"url": url, "table": " "}}), "table"),
            (json!({"options": {"url": url, "table": "t", "wake": {}}}), "wake"),
            (json!({"options": {"url": url, "table": "t", "metadata": {"a": 1}}}), "metadata"),
            (json!({"options": {"url": url, "table": "t"}, "tenant": "x"}), "tenant"),
        ] {
            assert_eq!(Registration::read(&body), Err(vec![wrong.to_owned()]), "{body}");
        }
    }
}
