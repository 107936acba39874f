//! Files of assets: where an object with a certain key lies.

use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::DataDir;
use super::graph_name::hex;

/// Bytes of a name at most: file systems take 255, and what is known of a file lies beside it under a longer name.
const NAME_BYTES: usize = 200;

/// What follows a file's name in the name of the file that says what is known of it.
pub(crate) const META: &str = ".meta.json";

/// The path of an object below the folder of assets; none when the key has no slash.
///
/// A key is a graph's id, a slash and a name, both in the one percent form that they have (D-67), so that a percent sign is
/// followed by two digits. Another character behind one says what the key cannot say as a name of a file: `%-` is a further
/// slash, `%.` the dot of a name that would be taken for what is known of another, `%=` a name too long.
pub(super) fn path_of(key: &str) -> Option<PathBuf> {
    let (graph, name) = key.split_once('/')?;
    let mut name = name.replace('/', "%-");
    if let Some(start) = name.strip_suffix(META) {
        name = format!("{start}.meta%.json");
    }
    Some(PathBuf::from(short(graph)).join(short(&name)))
}

/// The folder of the objects whose keys begin with a graph's id and a slash.
pub(super) fn folder_of(prefix: &str) -> PathBuf {
    PathBuf::from(short(prefix.trim_end_matches('/')))
}

/// The file of an asset of a graph, by its plain name.
pub(crate) fn asset_file(data: &DataDir, graph_id: &str, name: &str) -> Option<PathBuf> {
    let key = format!("{}/{}", web::url::encode(graph_id), web::url::encode(name));
    Some(data.assets().join(path_of(&key)?))
}

/// The folder of the assets of a graph.
pub(crate) fn asset_folder(data: &DataDir, graph_id: &str) -> PathBuf {
    data.assets().join(folder_of(&web::url::encode(graph_id)))
}

fn short(name: &str) -> String {
    match name {
        "" | "." | ".." => format!("%={name}%"),
        long if long.len() > NAME_BYTES => format!("%={}", hex(&Sha256::digest(long))),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Component;

    #[test]
    fn plain_keys_lie_where_upstream_puts_them() {
        let key = "0c7f2a34-5d6e-4f70-8a91-b2c3d4e5f607/9a8b7c6d.png";
        assert_eq!(path_of(key), Some(PathBuf::from(key)));
        assert_eq!(path_of("g/a%20b.md"), Some(PathBuf::from("g/a%20b.md")));
        assert_eq!(folder_of("g/"), PathBuf::from("g"));
    }

    #[test]
    fn every_key_has_a_file_of_its_own() {
        let long = "x".repeat(900);
        let keys = [
            "g/a.png".to_owned(),
            "g/a.png.meta.json".to_owned(),
            "g/a.png.meta%2Ejson".to_owned(),
            "g/dir/a.png".to_owned(),
            "g/dir%2Fa.png".to_owned(),
            "g//a.png".to_owned(),
            "g/a.png/b.png".to_owned(),
            "h/a.png".to_owned(),
            format!("g/{long}.png"),
            format!("g/{long}.gif"),
            format!("{long}/a.png"),
            "g/./a.png".to_owned(),
        ];
        let paths: BTreeSet<_> = keys.iter().map(|key| path_of(key).unwrap()).collect();
        assert_eq!(paths.len(), keys.len());
        for path in &paths {
            let names: Vec<_> = path.components().collect();
            assert_eq!(names.len(), 2, "{}", path.display());
            assert!(names.iter().all(|name| matches!(name, Component::Normal(name) if name.len() <= NAME_BYTES)));
            assert!(!path.to_string_lossy().ends_with(META), "{}", path.display());
        }
    }
}
