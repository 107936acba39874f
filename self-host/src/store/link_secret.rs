//! The secret that signs links to assets, where none is configured.

use std::io::ErrorKind;
use std::path::Path;

use super::DataDir;
use super::draft::make_once;
use super::graph_name::hex;

/// Random bytes of it.
const BYTES: usize = 32;

/// The secret of a data directory, made at the first start: links live as long as they say, across starts.
///
/// # Errors
/// The file cannot be read or made, or there is nothing in it.
pub(crate) fn link_secret(data: &DataDir) -> std::io::Result<String> {
    let path = data.link_secret();
    if let Some(secret) = read(&path)? {
        return Ok(secret);
    }
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    make_once(&data.tmp(), &path, hex(&bytes).as_bytes())?;
    // Another server may have been quicker: what is in the file counts.
    read(&path)?.ok_or_else(|| std::io::Error::other("the secret is gone"))
}

/// The secret in a file, where there is one.
fn read(path: &Path) -> std::io::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Err(std::io::Error::other("the secret is empty")),
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_stays_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let secret = link_secret(&data).unwrap();
        assert_eq!((link_secret(&data).unwrap(), secret.len()), (secret, 2 * BYTES));
        assert_eq!(data.link_secret().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
