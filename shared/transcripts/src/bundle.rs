//! A bundle: what an agent program has written of one conversation, byte for byte (transcripts.md 4.2).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::limits::{FILES, MANIFEST_BYTES, PATH_BYTES};
use crate::sha256_hex;

/// The name of the only file of a bundle that came as plain bytes.
pub const ONLY_FILE: &str = "session.jsonl";
/// The version of manifests.
const VERSION: u64 = 1;
/// Rights of files: nobody but their owner has any business with a conversation.
const MODE: u32 = 0o600;

/// One file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Where it lies, relative to the home of the agent's user.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its content, in hexadecimal digits.
    pub sha256: String,
    /// Its rights, as Unix knows them.
    #[serde(default = "default_mode")]
    pub mode: u32,
}

fn default_mode() -> u32 {
    MODE
}

/// What is known of a conversation beside its files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Described {
    /// The agent, such as `claude`.
    pub agent: String,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
    /// The agent's own name of the conversation.
    pub native_session_id: String,
    /// The directory that the agent works in.
    pub cwd: String,
    /// Whose model it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The turn.
    pub run: String,
    /// The attempt.
    pub attempt: u64,
}

/// The list of contents of a bundle. Members that are not named here are kept as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this form.
    pub v: u64,
    /// What is known of the conversation.
    #[serde(flatten)]
    pub described: Described,
    /// The files, in the order in which their bytes follow each other.
    pub files: Vec<File>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Why something is no bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// It has more bytes than allowed.
    #[error("transcript too large")]
    TooLarge,
    /// It has no file or too many.
    #[error("a bundle has between 1 and 64 files")]
    Files,
    /// A path is absolute, leads elsewhere, is not plain text or is there twice.
    #[error("invalid path in a bundle")]
    Path,
    /// The manifest cannot be read, or is not that of the files.
    #[error("invalid manifest")]
    Manifest,
    /// The archive cannot be read, or holds something else than files.
    #[error("invalid archive")]
    Archive,
}

/// A file as it was read: its path, its rights and its bytes.
pub type Member = (String, u32, Vec<u8>);

/// A bundle. Its files fit its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    manifest: Manifest,
    body: Vec<u8>,
}

impl Bundle {
    /// The bundle of these files, in the order of their paths; at most `limit` bytes.
    pub fn new(described: Described, mut members: Vec<Member>, limit: usize) -> Result<Self, BundleError> {
        members.sort();
        let (mut files, mut body) = (Vec::new(), Vec::new());
        for (path, mode, bytes) in members {
            if bytes.len() > limit.saturating_sub(body.len()) {
                return Err(BundleError::TooLarge);
            }
            files.push(File { path, size: bytes.len() as u64, sha256: sha256_hex(&bytes), mode: mode & 0o777 });
            body.extend_from_slice(&bytes);
        }
        let manifest = Manifest { v: VERSION, described, files, rest: Map::new() };
        manifest.check()?;
        Ok(Self { manifest, body })
    }

    /// A bundle of one file whose bytes came without a manifest.
    pub fn plain(described: Described, bytes: Vec<u8>, limit: usize) -> Result<Self, BundleError> {
        Self::new(described, vec![(ONLY_FILE.to_owned(), MODE, bytes)], limit)
    }

    /// A bundle whose manifest came with its bytes: both must fit.
    pub fn of_manifest(manifest: Manifest, body: Vec<u8>) -> Result<Self, BundleError> {
        manifest.check()?;
        let bundle = Self { manifest, body };
        let mut total = 0_u64;
        for (file, bytes) in bundle.members() {
            if bytes.len() as u64 != file.size || sha256_hex(bytes) != file.sha256 {
                return Err(BundleError::Manifest);
            }
            total = total.saturating_add(file.size);
        }
        if total == bundle.body.len() as u64 { Ok(bundle) } else { Err(BundleError::Manifest) }
    }

    /// What is known of it.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The bytes of all files, one after the other.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// SHA-256 of the body, in hexadecimal digits.
    pub fn sha256(&self) -> String {
        match self.manifest.files.as_slice() {
            [only] => only.sha256.clone(),
            _ => sha256_hex(&self.body),
        }
    }

    /// The files with their bytes.
    pub fn members(&self) -> impl Iterator<Item = (&File, &[u8])> {
        let mut rest = self.body.as_slice();
        // At most [`FILES`].
        self.manifest.files.iter().map(move |file| {
            let size = usize::try_from(file.size).unwrap_or(usize::MAX).min(rest.len());
            let (bytes, after) = rest.split_at_checked(size).unwrap_or((rest, &[]));
            rest = after;
            (file, bytes)
        })
    }

    /// Whether it has exactly this content.
    pub fn is(&self, files: &[File]) -> bool {
        let same = |(own, other): (&File, &File)| own.path == other.path && own.sha256 == other.sha256;
        self.manifest.files.len() == files.len() && self.manifest.files.iter().zip(files).all(same)
    }

    /// Whether every one of these files is there and is the beginning of the file here.
    pub fn extends(&self, files: &[File]) -> bool {
        // At most 64 files on each side.
        files.iter().all(|old| {
            let mut found = self.members().filter(|(file, _)| file.path == old.path);
            let begins = |bytes: &[u8]| {
                let size = usize::try_from(old.size).unwrap_or(usize::MAX);
                bytes.get(..size).is_some_and(|start| sha256_hex(start) == old.sha256)
            };
            found.next().is_some_and(|(_, bytes)| begins(bytes))
        })
    }

    /// Bytes of the only file, if there is one.
    pub fn only(&self) -> Option<&[u8]> {
        (self.manifest.files.len() == 1).then_some(self.body.as_slice())
    }

    /// The same bundle as that of another run.
    #[must_use]
    pub fn with_run(mut self, run: &str, attempt: u64) -> Self {
        run.clone_into(&mut self.manifest.described.run);
        self.manifest.described.attempt = attempt;
        self
    }
}

impl Manifest {
    /// Reads a manifest. Whether it fits its files is not known yet.
    pub fn parse(text: &[u8]) -> Result<Self, BundleError> {
        if text.len() > MANIFEST_BYTES {
            return Err(BundleError::Manifest);
        }
        let manifest: Self = serde_json::from_slice(text).map_err(|_| BundleError::Manifest)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// As JSON.
    pub fn to_json(&self) -> Result<String, BundleError> {
        let text = serde_json::to_string(self).map_err(|_| BundleError::Manifest)?;
        if text.len() > MANIFEST_BYTES { Err(BundleError::Manifest) } else { Ok(text) }
    }

    /// Bytes of all files, as it says.
    pub fn size(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.size))
    }

    fn check(&self) -> Result<(), BundleError> {
        if self.v != VERSION {
            return Err(BundleError::Manifest);
        }
        if self.files.is_empty() || self.files.len() > FILES {
            return Err(BundleError::Files);
        }
        let mut paths: Vec<&str> = self.files.iter().map(|file| file.path.as_str()).collect();
        paths.sort_unstable();
        let is_twice = paths.windows(2).any(|pair| pair.first() == pair.last());
        if is_twice || !paths.iter().all(|path| is_path(path)) { Err(BundleError::Path) } else { Ok(()) }
    }
}

/// Whether a path stays below where it begins: relative, without `.` and `..`, plain text.
pub fn is_path(path: &str) -> bool {
    let is_name = |name: &str| !name.is_empty() && name != "." && name != "..";
    path.len() <= PATH_BYTES && path.split('/').all(is_name) && !path.contains(|c: char| c.is_control() || c == '\\')
}
