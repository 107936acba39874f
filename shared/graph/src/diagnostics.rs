//! `GET …/checksum/diagnostics`: what the checksum is made of, in pieces (sync.md 5.3).

use std::cmp::Ordering;
use std::fmt::Write;

use datascript::value::compare;
use transit::Value;

use crate::error::Result;
use crate::graph::Graph;
use crate::rules::diagnostics::{self, Summary};
use crate::sql::Sql;

/// Text of one piece, in bytes. Each piece begins where the one before it ended.
const PIECE_BYTES: usize = 4 << 20;

/// Diagnostics under way.
#[derive(Debug)]
#[must_use = "diagnostics without their end are no JSON"]
pub struct Diagnostics {
    summary: Summary,
    /// Uuid of the last block written.
    last: Option<Value>,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    New,
    Blocks,
    Ended,
}

impl Diagnostics {
    /// Whether all of them were written.
    pub fn has_ended(&self) -> bool {
        self.state == State::Ended
    }
}

impl<S: Sql + 'static> Graph<S> {
    /// Starts diagnostics: a full recompute of the checksum.
    pub fn diagnostics(&mut self) -> Result<Diagnostics> {
        let summary = diagnostics::summary(self.db()?)?;
        Ok(Diagnostics { summary, last: None, state: State::New })
    }

    /// Appends the next piece to `out`. False: there was no more. Blocks are shown as they are when their piece is made.
    pub fn diagnostics_piece(&mut self, diagnostics: &mut Diagnostics, out: &mut String) -> Result<bool> {
        let Diagnostics { summary, last, state } = diagnostics;
        match state {
            State::Ended => return Ok(false),
            State::New => begin(out, summary),
            State::Blocks => {}
        }
        let start = out.len();
        let mut ended = true;
        let from = last.clone();
        diagnostics::blocks(self.db()?, from.as_ref(), |block| {
            if last.as_ref().is_some_and(|last| compare(block.uuid, last) != Ordering::Greater) {
                return true;
            }
            if out.len() - start >= PIECE_BYTES {
                ended = false;
                return false;
            }
            if last.is_some() {
                out.push(',');
            }
            block.write_json(out);
            *last = Some(block.uuid.clone());
            true
        })?;
        *state = State::Blocks;
        if ended {
            out.push_str("]}");
            *state = State::Ended;
        }
        Ok(true)
    }
}

fn begin(out: &mut String, summary: &Summary) {
    let Summary { checksum, is_e2ee } = summary;
    let attrs = summary.attrs().join("\",\"");
    // Writing to a string does not fail.
    let _ = write!(out, r#"{{"checksum":"{checksum}","e2ee?":{is_e2ee},"attrs":["{attrs}"],"blocks":["#);
}

impl From<crate::rules::Error> for crate::Error {
    fn from(error: crate::rules::Error) -> Self {
        match error {
            crate::rules::Error::Db(error) => error.into(),
            other => Self::Corrupt(other.to_string()),
        }
    }
}
