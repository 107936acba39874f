//! The secret that signs links to assets, where none is configured.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use super::DataDir;
use super::data_dir::sync_folder;
use super::graph_name::hex;

/// Random bytes of it.
const BYTES: usize = 32;

/// The secret of a data directory, made at the first start: links live as long as they say, across starts.
pub(crate) fn link_secret(data: &DataDir) -> std::io::Result<String> {
    let path = data.link_secret();
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    let secret = hex(&bytes);
    let draft = data.tmp().join("asset-link");
    let mut file = File::options().create_new(true).write(true).mode(0o600).open(&draft)?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, &path)?;
    path.parent().map_or(Ok(()), sync_folder)?;
    Ok(secret)
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
