//! Names of graphs as names of directories (docs/spec/daemon.md 2.1).

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// What Logseq puts before the names of its graphs in places; it is no part of the name.
const PREFIX: &str = "logseq_db_";

/// The name without Logseq's prefix.
pub fn bare(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// Whether two names mean the same graph.
pub fn same(left: &str, right: &str) -> bool {
    bare(left) == bare(right)
}

/// The directory's name of a graph. `None` for a name that is none: an empty one, `.` and `..`, which would lead out of the
/// folder of graphs, and one longer than a file's name may be.
pub fn encode(name: &str) -> Option<String> {
    let mut encoded = String::new();
    for byte in bare(name).bytes() {
        match byte {
            b' ' | b'-' | b'_' | b'.' | b'!' | b'*' | b'\'' | b'(' | b')' => encoded.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            _ => {
                let _ = write!(encoded, "~{byte:02X}");
            }
        }
    }
    let usable = !matches!(encoded.as_str(), "" | "." | "..") && encoded.len() <= 255;
    usable.then_some(encoded)
}

/// The graph's name of a directory. `None` where the directory's name is no encoding.
pub fn decode(directory: &str) -> Option<String> {
    unescape(directory, '~')
}

fn unescape(text: &str, mark: char) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    // Bounded by the length of a file's name: each turn takes at least one character.
    while let Some(first) = rest.chars().next() {
        rest = rest.get(first.len_utf8()..)?;
        if first == mark {
            bytes.push(u8::from_str_radix(rest.get(..2)?, 16).ok()?);
            rest = rest.get(2..)?;
        } else {
            bytes.extend(first.encode_utf8(&mut [0; 4]).bytes());
        }
    }
    String::from_utf8(bytes).ok()
}

/// Whether a directory holds something else than a graph.
pub fn is_other(directory: &str) -> bool {
    matches!(directory, "Unlinked graphs" | "backup") || directory.starts_with("logseq_local_")
}

/// What a directory of the folder of graphs is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A graph under its own name.
    Graph(String),
    /// A graph under a name of an older form.
    Legacy {
        /// The graph's name.
        name: String,
        /// Whether a directory of the present form holds a graph of that name.
        conflict: bool,
    },
    /// Not a graph.
    Other,
}

/// Says of each directory what it is.
pub fn classify(directories: &[String]) -> Vec<(String, Kind)> {
    let present: BTreeSet<&str> = directories.iter().map(String::as_str).collect();
    let kind = |directory: &String| {
        if is_other(directory) {
            return Kind::Other;
        }
        if let Some(name) = legacy(directory) {
            let conflict = encode(&name).is_some_and(|canonical| present.contains(canonical.as_str()));
            return Kind::Legacy { name, conflict };
        }
        decode(directory).map_or(Kind::Other, Kind::Graph)
    };
    directories.iter().map(|directory| (directory.clone(), kind(directory))).collect()
}

/// The graph's name of a directory of an older form: `++` for a slash, `+3A+` for a colon, or percent signs.
fn legacy(directory: &str) -> Option<String> {
    let marked = directory.contains("++") || directory.contains("+3A+") || directory.contains('%');
    if !marked {
        return None;
    }
    let plain = directory.replace("+3A+", ":").replace("++", "/");
    let name = unescape(&plain, '%').unwrap_or(plain);
    (encode(&name).as_deref() != Some(directory)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn special_characters_are_encoded_as_the_reference_does() {
        let pairs = [("foo/bar", "foo~2Fbar"), ("a~b", "a~7Eb"), ("my graph", "my graph"), ("ä%", "~C3~A4~25")];
        for (name, directory) in pairs {
            assert_eq!(encode(name).as_deref(), Some(directory));
            assert_eq!(decode(directory).as_deref(), Some(name));
        }
    }

    /// Fact 1, its first half: one directory with and without the prefix.
    #[test]
    fn the_prefix_is_no_part_of_the_name() {
        assert_eq!(encode("logseq_db_x"), encode("x"));
        assert!(same("logseq_db_x", "x") && !same("x", "y"));
    }

    #[test]
    fn names_that_lead_out_of_the_folder_are_none() {
        for name in ["", ".", "..", "logseq_db_", "logseq_db_.."] {
            assert_eq!(encode(name), None, "{name}");
        }
        assert_eq!(encode(&"x".repeat(256)), None);
    }

    #[test]
    fn older_forms_are_told_with_their_conflicts() {
        let names = ["a++b", "a~2Fb", "c+3A+d", "50%25", "backup", "logseq_local_z", "plain"].map(str::to_owned);
        let kinds: Vec<Kind> = classify(&names).into_iter().map(|(_, kind)| kind).collect();
        assert_eq!(
            kinds,
            [
                Kind::Legacy { name: "a/b".into(), conflict: true },
                Kind::Graph("a/b".into()),
                Kind::Legacy { name: "c:d".into(), conflict: false },
                Kind::Legacy { name: "50%".into(), conflict: false },
                Kind::Other,
                Kind::Other,
                Kind::Graph("plain".into()),
            ]
        );
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_and_never_leaves_its_folder(name in "\\PC{1,40}") {
            if let Some(directory) = encode(&name) {
                prop_assert!(!directory.contains('/') && !directory.contains('\0'));
                let decoded = decode(&directory);
                prop_assert_eq!(decoded.as_deref(), Some(bare(&name)));
            }
        }

        #[test]
        fn any_directory_is_classified(names in proptest::collection::vec("[-a%+3A~ .]{0,8}", 0..6)) {
            prop_assert_eq!(classify(&names).len(), names.len());
        }
    }
}
