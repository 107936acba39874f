//! By what a step knows that nothing changed since it was done: digests, and quick looks.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

use crate::workers::{self, Worker};

/// Digest of the sources of a worker and of `facts` (tools, profile).
pub(crate) fn of_worker(worker: &Worker, facts: &[&str]) -> Result<String> {
    let mut digest = Sha256::new();
    for fact in facts {
        update(&mut digest, fact.as_bytes());
    }
    add(&mut digest, &sources(worker)?)?;
    Ok(hex(digest))
}

/// Digest of some files below the root.
pub(crate) fn of_files(files: &[&str]) -> Result<String> {
    let root = workers::root();
    let mut digest = Sha256::new();
    add(&mut digest, &files.iter().map(|file| root.join(file)).collect::<Vec<_>>())?;
    Ok(hex(digest))
}

/// Name, time and size of each source of a worker. Two looks that are equal saw no edit in between; a look takes milliseconds.
pub(crate) type Look = Vec<(PathBuf, SystemTime, u64)>;

/// Looks at the sources of a worker.
pub(crate) fn look(worker: &Worker) -> Result<Look> {
    let seen = |path: PathBuf| -> Result<_> {
        let meta = path.metadata().with_context(|| format!("cannot read {}", path.display()))?;
        Ok((path, meta.modified()?, meta.len()))
    };
    sources(worker)?.into_iter().map(seen).collect()
}

/// The files that a worker is built from.
fn sources(worker: &Worker) -> Result<Vec<PathBuf>> {
    let root = workers::root();
    let mut files = Vec::new();
    worker.sources().try_for_each(|source| collect(&mut files, root.join(source)))?;
    Ok(files)
}

/// Adds a file, or a folder's files in the order of their names. Tests, benches and target folders take no part, nor do
/// hidden files, which editors make.
fn collect(files: &mut Vec<PathBuf>, path: PathBuf) -> Result<()> {
    if !path.is_dir() {
        files.push(path);
        return Ok(());
    }
    let failed = || format!("cannot read {}", path.display());
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(&path).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !["tests", "benches", "target"].contains(&&*name) && !name.starts_with('.') {
            entries.push(entry.path());
        }
    }
    entries.sort();
    entries.into_iter().try_for_each(|entry| collect(files, entry))
}

fn add(digest: &mut Sha256, files: &[PathBuf]) -> Result<()> {
    let root = workers::root();
    for file in files {
        let name = file.strip_prefix(&root).unwrap_or(file);
        update(digest, name.as_os_str().as_encoded_bytes());
        update(digest, &read(file)?);
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
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
