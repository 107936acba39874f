//! Writing a conversation to where its agent looks for it (transcripts.md 4.6), before the agent is started. A file is the old
//! one or the new one, never a mixture; a *watermark* beside them says which snapshot they are, and is written last.

use serde::{Deserialize, Serialize};

use crate::bundle::{Bundle, File, is_path};
use crate::limits::{FILES, HYDRATE_PAUSES_MS, MARK_BYTES};
use crate::sha256_hex;
use crate::target::{Entry, Target, TargetError};

/// Where watermarks lie, below the home of the agent.
const FOLDER: &str = ".logseq-agents";

/// Which snapshot it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The session.
    pub session: String,
    /// The epoch of its conversation.
    pub epoch: u64,
    /// The number of the turn.
    pub run_seq: u64,
}

#[derive(Serialize, Deserialize)]
struct Watermark {
    #[serde(flatten)]
    mark: Mark,
    files: Vec<File>,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hydrated {
    /// The machine has this snapshot, or a later one, already.
    Kept,
    /// It was written.
    Written,
}

/// Why a conversation could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HydrateError {
    /// The files cannot be written.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// What was written is not what lies there.
    #[error("a written file differs")]
    Differs,
}

/// Writes the bundle below `home`, unless its watermark proves that it is there. What is only out of reach is tried again.
pub async fn hydrate(target: &impl Target, home: &str, mark: &Mark, bundle: &Bundle) -> Result<Hydrated, HydrateError> {
    for pause in HYDRATE_PAUSES_MS {
        match once(target, home, mark, bundle).await {
            Err(HydrateError::Target(TargetError::Unreachable(_))) => target.pause(pause).await,
            done => return done,
        }
    }
    once(target, home, mark, bundle).await
}

/// Whether the machine has that snapshot, or a later one of the same epoch, as it was written.
pub async fn is_current(target: &impl Target, home: &str, mark: &Mark) -> Result<bool, TargetError> {
    let Some(text) = target.read(&mark_path(home, mark), MARK_BYTES).await? else { return Ok(false) };
    let Ok(local) = serde_json::from_slice::<Watermark>(&text) else { return Ok(false) };
    let is_ours = local.mark.session == mark.session && local.mark.epoch == mark.epoch;
    if !is_ours || local.mark.run_seq < mark.run_seq || local.files.is_empty() || local.files.len() > FILES {
        return Ok(false);
    }
    // At most 64 files.
    for file in &local.files {
        if !is_path(&file.path) || !is(target, &format!("{home}/{}", file.path), file).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn once(target: &impl Target, home: &str, mark: &Mark, bundle: &Bundle) -> Result<Hydrated, HydrateError> {
    if is_current(target, home, mark).await? {
        return Ok(Hydrated::Kept);
    }
    // At most 64 files.
    for (file, bytes) in bundle.members() {
        put(target, &format!("{home}/{}", file.path), file, bytes).await?;
    }
    let watermark = Watermark { mark: mark.clone(), files: bundle.manifest().files.clone() };
    let text = serde_json::to_vec(&watermark).map_err(|error| TargetError::Refused(error.to_string()))?;
    let file = File { path: String::new(), size: text.len() as u64, sha256: sha256_hex(&text), mode: 0o600 };
    put(target, &mark_path(home, mark), &file, &text).await?;
    Ok(Hydrated::Written)
}

async fn put(target: &impl Target, path: &str, file: &File, bytes: &[u8]) -> Result<(), HydrateError> {
    if let Some((folder, _)) = path.rsplit_once('/') {
        target.make_folder(folder).await?;
    }
    let temporary = format!("{path}.{}.new", file.sha256.get(..12).unwrap_or_default());
    target.write(&temporary, bytes).await?;
    target.set_mode(&temporary, file.mode).await?;
    if !is(target, &temporary, file).await? {
        return Err(HydrateError::Differs);
    }
    Ok(target.rename(&temporary, path).await?)
}

/// Whether that file lies there.
async fn is(target: &impl Target, path: &str, file: &File) -> Result<bool, TargetError> {
    if target.stat(path).await? != Some(Entry::File(file.size)) {
        return Ok(false);
    }
    let limit = usize::try_from(file.size).unwrap_or(usize::MAX);
    let found = target.read(path, limit).await?;
    Ok(found.is_some_and(|bytes| sha256_hex(&bytes) == file.sha256))
}

/// Names of sessions are their users' own: the file is named by a hash of it.
fn mark_path(home: &str, mark: &Mark) -> String {
    let name = sha256_hex(mark.session.as_bytes());
    format!("{home}/{FOLDER}/transcript-{}.json", name.get(..24).unwrap_or_default())
}
