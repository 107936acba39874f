//! What a backup says of itself, and how it is checked.

use std::fs::File;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::at;
use super::progress::Progress;
use crate::cli::failure::{Failure, exit};

/// The name of the file.
pub(super) const MANIFEST: &str = "manifest.json";

/// The format that is written, and the newest that is read.
pub(super) const FORMAT: u32 = 1;

/// Bytes of a manifest at most: some hundred bytes a file.
const MANIFEST_BYTES: u64 = 1 << 30;

/// A whole backup.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Manifest {
    /// The format of the backup.
    pub(super) format: u32,
    /// The program's version.
    pub(super) version: String,
    /// When it was begun.
    pub(super) created_at: String,
    /// The graphs in it.
    pub(super) graphs: Vec<GraphState>,
    /// All files but this one.
    pub(super) files: Vec<FileState>,
}

/// A graph in a backup.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct GraphState {
    /// Which.
    pub(super) graph_id: String,
    /// Its counter.
    pub(super) t: i64,
    /// Its checksum.
    pub(super) checksum: Option<String>,
}

/// A file in a backup.
#[derive(Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct FileState {
    /// Its path below the backup.
    pub(super) path: String,
    /// Its length.
    pub(super) bytes: u64,
    /// Its digest.
    pub(super) sha256: String,
}

fn bad(why: &str) -> Failure {
    Failure::new("bad-backup", exit::FAILED, format!("the backup cannot be used: {why}"))
}

/// Length and digest of a file.
pub(super) fn digest(path: &Path) -> Result<(u64, String), Failure> {
    let mut file = File::open(path).map_err(at(path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer).map_err(at(path))?;
        if read == 0 {
            break;
        }
        bytes += read as u64;
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
    Ok((bytes, crate::store::hex(&hasher.finalize())))
}

/// A path of a manifest below a folder; none where it would lead out of it.
pub(super) fn below(folder: &Path, path: &str) -> Option<PathBuf> {
    let plain = !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    plain.then(|| folder.join(path))
}

impl Manifest {
    /// Reads a manifest, and makes sure that every file is there and as it was.
    pub(super) fn check(folder: &Path, progress: &mut Progress) -> Result<Self, Failure> {
        let path = folder.join(MANIFEST);
        let file = File::open(&path).map_err(|error| bad(&format!("{}: {error}", path.display())))?;
        let manifest: Self =
            serde_json::from_reader(file.take(MANIFEST_BYTES)).map_err(|error| bad(&format!("{MANIFEST}: {error}")))?;
        if manifest.format > FORMAT {
            return Err(bad(&format!("version {} has written it", manifest.version)));
        }
        let total = manifest.files.iter().map(|file| file.bytes).sum::<u64>();
        let mut done = 0;
        for file in &manifest.files {
            let path = below(folder, &file.path).ok_or_else(|| bad(&format!("{:?} leads elsewhere", file.path)))?;
            let plain = path.symlink_metadata().is_ok_and(|meta| meta.is_file());
            if !plain {
                return Err(bad(&format!("{} is missing", file.path)));
            }
            if digest(&path)? != (file.bytes, file.sha256.clone()) {
                return Err(bad(&format!("{} is not what was backed up", file.path)));
            }
            done += file.bytes;
            progress.at(done >> 20, Some(total >> 20), "MiB");
        }
        Ok(manifest)
    }
}
