//! What follows from an upload (the tables of transcripts.md 4.4). Pure.

use serde::{Deserialize, Serialize};

use crate::bundle::{Bundle, File};
use crate::refused::Refused;

/// How a run has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Well: another sandbox may go on from it.
    Completed,
    /// It failed.
    Failed,
    /// It took too long.
    Timeout,
    /// Somebody stopped it.
    Cancelled,
}

impl Status {
    /// The status of that name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "completed" => Some(Self::Completed),
            "failed" => Some(Self::Failed),
            "timeout" => Some(Self::Timeout),
            "cancelled" => Some(Self::Cancelled),
            _ => None,
        }
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What is stored of a run. A row with nothing but an unfinished upload counts as none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// How it has ended.
    pub status: Status,
    /// Of which attempt it is.
    pub attempt: u64,
    /// Its files.
    pub files: Vec<File>,
}

/// What is to be done with an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It takes the place of what is there.
    Store,
    /// It is there already.
    Same,
}

/// What is done with the bundle of a run that has ended; the first rule that fits.
pub fn decide(stored: Option<&Known>, status: Status, attempt: u64, bundle: &Bundle) -> Result<Outcome, Refused> {
    let Some(stored) = stored else { return Ok(Outcome::Store) };
    if stored.status == status && bundle.is(&stored.files) {
        return Ok(Outcome::Same);
    }
    match (stored.status, status) {
        (Status::Completed, Status::Completed) if bundle.extends(&stored.files) => Ok(Outcome::Store),
        (Status::Completed, Status::Completed) if attempt < stored.attempt => Err(Refused::StaleAttempt),
        (Status::Completed, Status::Completed) => Err(Refused::Divergent),
        (Status::Completed, _) => Err(Refused::CompletedExists),
        (_, Status::Completed) => Ok(Outcome::Store),
        _ if attempt >= stored.attempt => Ok(Outcome::Store),
        _ => Err(Refused::StaleAttempt),
    }
}

/// What is done with the bundle of a run that goes on.
pub fn decide_partial(stored: Option<&Known>) -> Result<Outcome, Refused> {
    match stored {
        Some(Known { status: Status::Completed, .. }) => Err(Refused::CompletedExists),
        _ => Ok(Outcome::Store),
    }
}
