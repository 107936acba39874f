//! The working tree of a session: kept before its sandbox is left, brought back into the next one, and shown (agents.md 5.3.10, 20.2).

mod restore;
mod save;

pub(super) use restore::RESTORE_MS;
pub(super) use save::Leaving;

use super::{Platform, Session};
use crate::command;
use crate::runtime::{Provider, Ran, Runtime, RuntimeError};
use crate::session::decide;
use crate::session::store::Rows;
use crate::workspace::Look;

/// Where the pieces of a bundle lie in a sandbox, on their way out of it or into it.
const STORE: &str = "/home/user/.logseq-agents/bundle";
/// Bytes that are kept of what commands say that say little.
const SHORT_BYTES: usize = 64 << 10;

/// The file of a piece.
fn piece(number: u64) -> String {
    format!("{STORE}/piece.{number:03}")
}

/// What a command said that has ended well.
fn well(ran: Ran) -> Result<String, RuntimeError> {
    if ran.exit_code == 0 {
        return Ok(ran.stdout);
    }
    let said = ran.stderr.get(..200).unwrap_or(&ran.stderr);
    Err(RuntimeError::Failed(format!("the command ended with {}: {said}", ran.exit_code)))
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function for map_err")]
fn failed(error: impl ToString) -> RuntimeError {
    RuntimeError::Failed(error.to_string())
}

impl<P: Platform> Session<P> {
    /// Runs a command in a runtime that is awake; what it said.
    pub(super) async fn said(
        &self,
        runtime: &Runtime,
        command: Result<command::Command, command::CommandError>,
        output_bytes: usize,
    ) -> Result<String, RuntimeError> {
        let command = command.map_err(failed)?;
        well(self.platform.runtimes(runtime.provider).run(runtime, &command, output_bytes).await?)
    }

    /// Looks at the tree of a runtime that is awake; none when there is no repository.
    async fn look_at_tree(&self, runtime: &Runtime) -> Result<Option<Look>, RuntimeError> {
        let pushed = Rows(self.platform.sql()).pushed().map_err(failed)?;
        let look = command::look(&runtime.directory, &pushed);
        Ok(Look::parse(&self.said(runtime, look, SHORT_BYTES).await?))
    }

    /// Compares the tree with how it was left, in a runtime that is awake and that nobody has used since. What cannot be looked at keeps
    /// nobody from working.
    pub(super) async fn compare_tree(&self, runtime: &Runtime) -> Result<(), crate::error::Error> {
        let Some(before) = self.change(|core, _| decide::take_seen(&mut core.state))? else { return Ok(()) };
        match self.look_at_tree(runtime).await {
            Ok(Some(after)) => {
                self.change(|core, decide| decide::on_compared(&mut core.state, decide, &before, &after.tree))
            }
            Ok(None) => {
                let nothing = crate::workspace::Tree::default();
                self.change(|core, decide| decide::on_compared(&mut core.state, decide, &before, &nothing))
            }
            Err(error) => {
                self.warn("agents/tree-not-compared", &error);
                Ok(())
            }
        }
    }

    /// The same before the runtime is used by something that resumes it by itself.
    pub(super) async fn compare_resumed_tree(&self, runtime: &mut Runtime) -> Result<(), RuntimeError> {
        if self.look(|core| core.state.workspace.seen.is_none()).map_err(failed)? {
            return Ok(());
        }
        self.platform.runtimes(runtime.provider).resume(runtime).await?;
        self.compare_tree(runtime).await.map_err(failed)
    }
}
