//! Digests by which a step knows that nothing changed since it was done.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

/// What the sync worker is built from.
const WORKER_SOURCES: [&str; 5] = ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", "shared", "sync-worker"];

/// Digest of the sources of the sync worker and of `facts` (tools, profile).
pub(crate) fn of_worker(root: &Path, facts: &[&str]) -> Result<String> {
    let mut digest = Sha256::new();
    for fact in facts {
        update(&mut digest, fact.as_bytes());
    }
    for source in WORKER_SOURCES {
        add(&mut digest, root, &root.join(source))?;
    }
    Ok(hex(digest))
}

/// Digest of some files below `root`.
pub(crate) fn of_files(root: &Path, files: &[&str]) -> Result<String> {
    let mut digest = Sha256::new();
    for file in files {
        add(&mut digest, root, &root.join(file))?;
    }
    Ok(hex(digest))
}

/// Adds a file, or a folder's files in the order of their names. Tests, benches and target folders take no part.
fn add(digest: &mut Sha256, root: &Path, path: &Path) -> Result<()> {
    let failed = || format!("cannot read {}", path.display());
    if path.is_dir() {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(path)
            .with_context(failed)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .with_context(failed)?;
        entries.retain(|entry| {
            entry.file_name().is_none_or(|name| !["tests", "benches", "target"].map(AsRef::as_ref).contains(&name))
        });
        entries.sort();
        return entries.iter().try_for_each(|entry| add(digest, root, entry));
    }
    let name = path.strip_prefix(root).unwrap_or(path);
    update(digest, name.as_os_str().as_encoded_bytes());
    update(digest, &std::fs::read(path).with_context(failed)?);
    Ok(())
}

/// Adds one part; its length keeps neighbouring parts apart.
fn update(digest: &mut Sha256, part: &[u8]) {
    digest.update(part.len().to_le_bytes());
    digest.update(part);
}

fn hex(digest: Sha256) -> String {
    digest.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
