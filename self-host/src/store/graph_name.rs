//! The folder of a graph (sync.md 15.3).

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// What older clients put before a graph's id.
const PREFIX: &str = "logseq_db_";

/// Bytes of a name at most: file systems take 255.
const NAME_BYTES: usize = 200;

/// The name of the folder of a graph, whose id is given as it stands in a path. Two ways to write one id have one folder.
///
/// As upstream has it: without the prefix, percent-encoded, a space for `%20`, `~` for `%`. What would be no name of a folder
/// (a dot, two dots, nothing, or too much) gets one that no other id has: after a `~` there are two digits in all others.
pub(crate) fn graph_folder(name: &str) -> String {
    let id = web::url::decode(name).unwrap_or_else(|| name.to_owned());
    let id = id.strip_prefix(PREFIX).unwrap_or(&id);
    let mut folder = String::new();
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!*'() ".contains(&byte) {
            folder.push(char::from(byte));
        } else {
            let _ = write!(folder, "~{byte:02X}");
        }
    }
    match &*folder {
        "" => "~~empty".to_owned(),
        "." => "~2E".to_owned(),
        ".." => "~2E~2E".to_owned(),
        long if long.len() > NAME_BYTES => format!("~~{}", hex(&Sha256::digest(id))),
        _ => folder,
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_as_upstream_names_them() {
        for (name, folder) in [
            ("d3a5d6ff-7d57-4b41-9f9e-d7f9c0c4e1aa", "d3a5d6ff-7d57-4b41-9f9e-d7f9c0c4e1aa"),
            ("logseq_db_My%20notes", "My notes"),
            ("us-east-1%3Aabc", "us-east-1~3Aabc"),
            ("a~b", "a~7Eb"),
            ("%E6%97%A5", "~E6~97~A5"),
            ("a%2Fb", "a~2Fb"),
            ("a%2fb", "a~2Fb"),
            (".", "~2E"),
            ("%2E%2e", "~2E~2E"),
            ("", "~~empty"),
        ] {
            assert_eq!(graph_folder(name), folder, "{name}");
        }
    }

    #[test]
    fn every_name_is_that_of_one_folder() {
        let long = "日".repeat(300);
        let names = [".", "..", "a/b", "a\\b", "a\0b", &long, &long[3..], "~~empty", "", "~2E"];
        let encoded = names.map(web::url::encode);
        let folders: std::collections::BTreeSet<String> = encoded.iter().map(|name| graph_folder(name)).collect();
        assert_eq!(folders.len(), names.len());
        for folder in folders {
            assert!(folder.len() <= NAME_BYTES && !folder.contains(['/', '\\', '\0']), "{folder}");
            assert!(!folder.is_empty() && folder != "." && folder != "..");
        }
    }
}
