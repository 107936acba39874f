//! The grammar of asset paths (sync.md 6). Nothing is decoded: the key is made of the path as it was sent.

use protocol::limits::ID_CHARS;

/// Bytes of a key at most: what object stores take.
const KEY_BYTES: usize = 1024;

/// A parsed asset path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AssetPath<'a> {
    /// The graph.
    pub graph_id: &'a str,
    /// Everything before the last dot; may contain slashes.
    pub asset: &'a str,
    /// Everything after the last dot.
    pub extension: &'a str,
}

impl<'a> AssetPath<'a> {
    /// Parses what follows `/assets/`.
    pub fn parse(rest: &'a str) -> Option<Self> {
        let (graph_id, file) = rest.split_once('/')?;
        let (asset, extension) = file.rsplit_once('.')?;
        let whole = (1..=ID_CHARS).contains(&graph_id.len())
            && !asset.is_empty()
            && !extension.is_empty()
            && rest.len() <= KEY_BYTES;
        whole.then_some(Self { graph_id, asset, extension })
    }

    /// The object's key, which is also the text that links sign.
    pub fn key(&self) -> String {
        format!("{}/{}.{}", self.graph_id, self.asset, self.extension)
    }

    /// The content type that the extension stands for, whatever type was stored.
    pub fn content_type(&self) -> Option<&'static str> {
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

    /// `inline` with the last segment of the key as the file's name, escaped: quotes and backslashes as a quoted
    /// string wants it, everything outside printable ASCII in percent.
    pub fn disposition(&self) -> String {
        let name = self.asset.rsplit('/').next().unwrap_or_default();
        let mut header = String::from("inline; filename=\"");
        for character in name.chars().chain(['.']).chain(self.extension.chars()) {
            match character {
                '"' | '\\' => header.extend(['\\', character]),
                ' '..='~' => header.push(character),
                _ => header.push_str(&crate::url::encode(character.encode_utf8(&mut [0; 4]))),
            }
        }
        header.push('"');
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_split_at_the_first_slash_and_the_last_dot() {
        for (rest, expected) in [
            ("g/a.png", Some(("g", "a", "png"))),
            ("g/nested/dir/i.gif", Some(("g", "nested/dir/i", "gif"))),
            ("g/two.dots.bmp", Some(("g", "two.dots", "bmp"))),
            ("g/dir/.x", Some(("g", "dir/", "x"))),
            ("", None),
            ("only", None),
            ("g/noext", None),
            ("g/.png", None),
            ("/x.png", None),
            ("g/x.", None),
        ] {
            let parsed = AssetPath::parse(rest).map(|path| (path.graph_id, path.asset, path.extension));
            assert_eq!(parsed, expected, "{rest}");
        }
    }

    #[test]
    fn keys_are_no_longer_than_a_store_takes() {
        let path = format!("g/{}.png", "a".repeat(1018));
        assert_eq!(AssetPath::parse(&path).unwrap().key().len(), 1024);
        assert_eq!(AssetPath::parse(&path.replace("g/", "g/a")), None);
        assert!(AssetPath::parse(&format!("{}/a.png", "g".repeat(512))).is_some());
        assert_eq!(AssetPath::parse(&format!("{}/a.png", "g".repeat(513))), None, "no graph has such an id");
    }

    #[test]
    fn names_are_escaped() {
        for (rest, expected) in [
            ("g/a.png", "a.png"),
            ("g/nested/dir/i.gif", "i.gif"),
            ("g/sp%20ace.md", "sp%20ace.md"),
            ("g/a\"; x=\"b\\.md", "a\\\"; x=\\\"b\\\\.md"),
            ("g/a\r\nb.日", "a%0D%0Ab.%E6%97%A5"),
        ] {
            assert_eq!(AssetPath::parse(rest).unwrap().disposition(), format!("inline; filename=\"{expected}\""));
        }
    }
}
