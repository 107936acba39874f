//! `cleanup`: stops daemons of other revisions that the command line started.

use serde_json::{Value, json};

use super::status::found;
use super::{Cleanup, Outcome, Surroundings, limits};
use crate::policy::{self, Cleanup as Decision};
use crate::state::State;
use crate::{Error, Owner, process, stop};

pub(super) fn cleanup(args: &Cleanup, around: &Surroundings<'_>) -> Result<Outcome, Error> {
    let build = &around.program.build;
    if !build.is_known() {
        // Every server would be of another revision.
        let reason = "this program does not know its own revision".to_owned();
        return Err(Error::CleanupFailed { reason, details: serde_json::Map::new() });
    }
    let limits = limits();
    let here = process::here().map_err(process::failed)?;
    let running = found(&args.common, around, &limits)?.into_iter().filter(|one| one.sight.state != State::Stopped);
    let (mut checked, mut eligible) = (0_usize, 0_usize);
    let (mut skipped, mut killed, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    let mut lines = Vec::new();
    for one in running {
        checked += 1;
        let repo = one.scope.name();
        let target = json!({
            "repo": repo, "pid": one.sight.record().map(|record| record.pid), "owner": one.sight.owner(),
            "revision": one.sight.revision(),
        });
        match policy::cleanup(one.sight.owner(), &one.sight.revision(), build) {
            Decision::Keep => {}
            Decision::SkipOwner => {
                lines.push(format!("skipped, owner {}: {repo}", one.sight.owner()));
                skipped.push(target);
            }
            Decision::Stop => {
                eligible += 1;
                if args.dry_run {
                    lines.push(format!("would stop: {repo}"));
                    continue;
                }
                match stop::stop(&one.scope, Owner::Cli, &here, &limits) {
                    // One that ended by itself meanwhile is gone as well.
                    Ok(_) | Err(Error::NotFound { .. }) => {
                        lines.push(format!("stopped: {repo}"));
                        killed.push(target);
                    }
                    Err(error) => {
                        lines.push(format!("failed: {repo}: {error}"));
                        failed.push(json!({ "target": target, "code": error.code(), "message": error.to_string() }));
                    }
                }
            }
        }
    }
    let data = json!({
        "cli_revision": build.revision, "checked": checked, "mismatched": eligible + skipped.len(),
        "eligible": eligible, "skipped_owner": skipped.len(), "skipped_owner_targets": skipped,
        "killed": killed, "failed": failed,
    });
    if let (false, Value::Object(details)) = (failed.is_empty(), &data) {
        let reason = format!("{} of {eligible} servers could not be stopped", failed.len());
        return Err(Error::CleanupFailed { reason, details: details.clone() });
    }
    lines.push(format!("checked {checked}, stopped {}", killed.len()));
    Ok(Outcome { data, words: lines.join("\n"), exit: 0 })
}
