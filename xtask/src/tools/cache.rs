//! What set-up builds is kept in the user's cache folder, keyed by version, so that a fresh clone does not rebuild it.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// `$XDG_CACHE_HOME/logseq-workers`, else `~/.cache/logseq-workers`.
pub(crate) fn root() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME").filter(|dir| Path::new(dir).is_absolute()) {
        Some(dir) => PathBuf::from(dir),
        None => std::env::home_dir().context("neither XDG_CACHE_HOME nor a home folder is known")?.join(".cache"),
    };
    Ok(base.join("logseq-workers"))
}

/// The folder of `key`, filled by `fill` when it is not there yet. `fill` works in the folder it is given, which gets
/// its name only after it succeeded: what lies in the cache is complete. Another run that wants the same waits for it.
pub(crate) fn entry(key: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    entry_of(&root()?, key, fill)
}

fn entry_of(root: &Path, key: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let folder = root.join(key);
    if folder.is_dir() {
        return Ok(folder);
    }
    std::fs::create_dir_all(root).with_context(|| format!("cannot create {}", root.display()))?;
    let lock = root.join(format!(".{key}.lock"));
    let lock = File::create(&lock).with_context(|| format!("cannot create {}", lock.display()))?;
    // Held until the end of this function; the system gives it back when a run is killed.
    lock.lock().context("cannot lock the cache folder")?;
    if folder.is_dir() {
        return Ok(folder);
    }
    let unfinished = root.join(format!(".{key}"));
    remove(&unfinished)?;
    std::fs::create_dir(&unfinished).with_context(|| format!("cannot create {}", unfinished.display()))?;
    let filled = fill(&unfinished).and_then(|()| {
        std::fs::rename(&unfinished, &folder).with_context(|| format!("cannot create {}", folder.display()))
    });
    remove(&unfinished)?;
    filled.map(|()| folder)
}

fn remove(folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::entry_of;

    #[test]
    fn what_two_runs_want_at_once_is_made_once() -> anyhow::Result<()> {
        let root = std::env::temp_dir().join(format!("logseq-workers-cache-test-{}", std::process::id()));
        let made = AtomicUsize::new(0);
        let make = || {
            entry_of(&root, "tool-1", |folder| {
                made.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(std::time::Duration::from_millis(50));
                Ok(std::fs::write(folder.join("tool"), "")?)
            })
        };
        std::thread::scope(|scope| {
            let runs: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
            for run in runs {
                let folder = run.join().map_err(|_| anyhow::anyhow!("a run panicked"))??;
                anyhow::ensure!(folder.join("tool").is_file());
            }
            anyhow::Ok(())
        })?;
        anyhow::ensure!(made.load(Ordering::Relaxed) == 1);
        // One that failed or was killed leaves nothing in the way of the next.
        anyhow::ensure!(entry_of(&root, "tool-2", |_| anyhow::bail!("no")).is_err());
        std::fs::create_dir(root.join(".tool-2"))?;
        entry_of(&root, "tool-2", |_| Ok(()))?;
        Ok(std::fs::remove_dir_all(&root)?)
    }
}
