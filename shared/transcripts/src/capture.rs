//! Reading a conversation from where its agent keeps it (transcripts.md 4.7). The agent may still be writing: what is taken was
//! read twice and is the same.

use crate::bundle::Member;
use crate::limits::{FILES, SETTLE_MS, SETTLE_READS};
use crate::places::Pattern;
use crate::sha256_hex;
use crate::target::{Entry, Target, TargetError};

/// Rights that files have when another machine gets them.
const MODE: u32 = 0o600;

/// Why there is no transcript.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// The agent has written nothing.
    #[error("there is no transcript")]
    Nothing,
    /// It writes on and on.
    #[error("the transcript does not settle")]
    Unsettled,
    /// It has more bytes than allowed.
    #[error("the transcript is too large")]
    TooLarge,
    /// The files cannot be read.
    #[error(transparent)]
    Target(#[from] TargetError),
}

/// The files of a conversation.
pub async fn capture(
    target: &impl Target,
    home: &str,
    patterns: &[Pattern],
    limit: usize,
) -> Result<Vec<Member>, CaptureError> {
    let mut before = None;
    for _ in 0..SETTLE_READS {
        let members = capture_now(target, home, patterns, limit).await?;
        let now = fingerprint(&members);
        if before.as_ref() == Some(&now) {
            let is_empty = members.iter().all(|(_, _, bytes)| bytes.is_empty());
            return if is_empty { Err(CaptureError::Nothing) } else { Ok(members) };
        }
        before = Some(now);
        target.pause(SETTLE_MS).await;
    }
    Err(CaptureError::Unsettled)
}

/// The files as they are now, half a line included: what is taken of a turn that goes on.
pub async fn capture_now(
    target: &impl Target,
    home: &str,
    patterns: &[Pattern],
    limit: usize,
) -> Result<Vec<Member>, CaptureError> {
    let mut paths = Vec::new();
    for pattern in patterns {
        match pattern.exact() {
            Some(path) => paths.push(path.to_owned()),
            None => paths.extend(target.find(home, pattern, FILES).await?),
        }
    }
    paths.sort();
    paths.dedup();
    let mut members: Vec<Member> = Vec::new();
    let mut room = limit;
    // Bounded by the number of patterns and what each may find; more files than a bundle takes are refused by it.
    for path in paths {
        let whole = format!("{home}/{path}");
        match target.stat(&whole).await? {
            Some(Entry::File(size)) if size > room as u64 => return Err(CaptureError::TooLarge),
            Some(Entry::File(_)) => {}
            // What is a link or a device is nobody's transcript.
            Some(Entry::Other) | None => continue,
        }
        if let Some(bytes) = target.read(&whole, room).await? {
            room = room.saturating_sub(bytes.len());
            members.push((path, MODE, bytes));
        }
    }
    Ok(members)
}

fn fingerprint(members: &[Member]) -> Vec<(String, usize, String)> {
    members.iter().map(|(path, _, bytes)| (path.clone(), bytes.len(), sha256_hex(bytes))).collect()
}
