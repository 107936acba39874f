//! The grammar of asset paths (sync.md 6). A path is decoded once, and the key is its canonical form (D-67): one object has
//! one key, however its path is written.

use std::fmt::Write as _;

use protocol::limits::ID_CHARS;

use web::url;

/// Bytes of a key at most: what object stores take.
const KEY_BYTES: usize = 1024;

/// A parsed asset path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct AssetPath {
    /// The graph's id, decoded.
    pub graph_id: String,
    /// The object's key, which is also the text that links sign.
    pub key: String,
    /// Everything after the key's last dot.
    pub extension: String,
}

impl AssetPath {
    /// Parses what follows `/assets/`: a graph's id, a slash, a name that may contain slashes, a dot and an extension. None
    /// too where an escape is broken or the bytes are no UTF-8.
    pub(crate) fn parse(rest: &str) -> Option<Self> {
        // A key has no more than its path bytes for each of which three are written: bounded by the length of an address.
        let segments: Vec<String> = rest.split('/').map(url::decode).collect::<Option<_>>()?;
        let key = segments.iter().map(|segment| canonical(segment)).collect::<Vec<_>>().join("/");
        let (_, file) = key.split_once('/')?;
        let (asset, extension) = file.rsplit_once('.')?;
        let extension = extension.to_owned();
        let graph_id = segments.first()?.clone();
        let whole = (1..=ID_CHARS).contains(&graph_id.chars().count())
            && !asset.is_empty()
            && !extension.is_empty()
            && key.len() <= KEY_BYTES
            // They name other places than they say wherever keys are files.
            && !segments.iter().any(|segment| segment == "." || segment == "..");
        whole.then_some(Self { graph_id, key, extension })
    }

    /// The content type that the extension stands for, whatever type was stored.
    pub(crate) fn content_type(&self) -> Option<&'static str> {
        Some(match self.extension.to_ascii_lowercase().as_str() {
            "png" => "image/png",
            "jpg" | "jpeg" => "image/jpeg",
            "gif" => "image/gif",
            "webp" => "image/webp",
            "bmp" => "image/bmp",
            "svg" => "image/svg+xml",
            "ico" => "image/x-icon",
            "pdf" => "application/pdf",
            _ => return None,
        })
    }

    /// `inline` with the last segment of the key as the file's name. No character of a key needs an escape in a quoted
    /// string.
    pub(crate) fn disposition(&self) -> String {
        format!("inline; filename=\"{}\"", self.key.rsplit('/').next().unwrap_or_default())
    }
}

/// What the keys of all assets of a graph begin with.
pub(crate) fn prefix(graph_id: &str) -> String {
    format!("{}/", canonical(graph_id))
}

/// The one way to write a segment: escaped is what clients' URL parsers escape in a path (the path percent-encode set of the
/// URL standard), and what they would read as something else. So names keep the keys they have had.
fn canonical(segment: &str) -> String {
    let mut encoded = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_graphic() && !b"\"#%/<>?\\^`{}".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_split_at_the_first_slash_and_the_last_dot() {
        for (rest, expected) in [
            ("g/a.png", Some(("g", "g/a.png", "png"))),
            ("g/nested/dir/i.gif", Some(("g", "g/nested/dir/i.gif", "gif"))),
            ("g/two.dots.bmp", Some(("g", "g/two.dots.bmp", "bmp"))),
            ("g/dir/.x", Some(("g", "g/dir/.x", "x"))),
            ("", None),
            ("only", None),
            ("g/noext", None),
            ("g/.png", None),
            ("/x.png", None),
            ("g/x.", None),
            ("g/../h/a.png", None),
            ("g/%2e%2E/h/a.png", None),
            ("../g/a.png", None),
            ("g/./a.png", None),
            ("g/a%.png", None),
            ("g/%ff.png", None),
        ] {
            let parsed = AssetPath::parse(rest);
            let parsed = parsed.as_ref().map(|path| (&*path.graph_id, &*path.key, &*path.extension));
            assert_eq!(parsed, expected, "{rest}");
        }
    }

    #[test]
    fn one_object_has_one_key() {
        for (paths, key) in [
            (&["g/日.txt", "g/%E6%97%A5.txt", "g/%e6%97%a5%2Etxt"][..], "g/%E6%97%A5.txt"),
            (&["g/a b.md", "g/a%20b.md", "%67/%61%20b.md"], "g/a%20b.md"),
            (&["g/a@2x+(1)~'!.png", "g/a%402x%2B%281%29%7E%27%21.png"], "g/a@2x+(1)~'!.png"),
            (&["g/dir/a.png", "g/dir/%61.png"], "g/dir/a.png"),
            // Neither a slash nor a percent sign in a name is one in the key.
            (&["g/dir%2Fa.png", "g/dir%2fa.png"], "g/dir%2Fa.png"),
            (&["g/100%25.png"], "g/100%25.png"),
            (&["g/%2520.png"], "g/%2520.png"),
            (&["g/%00%0D%0A%22%5C.png"], "g/%00%0D%0A%22%5C.png"),
        ] {
            for path in paths {
                assert_eq!(AssetPath::parse(path).map(|path| path.key).as_deref(), Some(key), "{path}");
                assert!(key.starts_with(&prefix("g")));
            }
            assert_eq!(AssetPath::parse(key).map(|path| path.key).as_deref(), Some(key), "its own path");
        }
    }

    #[test]
    fn keys_are_no_longer_than_a_store_takes() {
        let path = format!("g/{}.png", "a".repeat(1018));
        assert_eq!(AssetPath::parse(&path).unwrap().key.len(), 1024);
        assert_eq!(AssetPath::parse(&path.replace("g/", "g/a")), None);
        assert_eq!(AssetPath::parse(&format!("g/{}.png", "日".repeat(114))), None, "as it is written in the key");
        assert!(AssetPath::parse(&format!("{}/a.png", "g".repeat(512))).is_some());
        assert_eq!(AssetPath::parse(&format!("{}/a.png", "g".repeat(513))), None, "no graph has such an id");
    }

    #[test]
    fn names_are_escaped() {
        for (rest, expected) in [
            ("g/a.png", "a.png"),
            ("g/nested/dir/i.gif", "i.gif"),
            ("g/sp%20ace.md", "sp%20ace.md"),
            ("g/a\"; x=\"b\\.md", "a%22;%20x=%22b%5C.md"),
            ("g/a\r\nb.日", "a%0D%0Ab.%E6%97%A5"),
        ] {
            assert_eq!(AssetPath::parse(rest).unwrap().disposition(), format!("inline; filename=\"{expected}\""));
        }
    }
}
