//! What set-up builds is kept in the user's cache folder, keyed by version, so that a fresh clone does not rebuild it.

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
/// its name only after it succeeded: what lies in the cache is complete.
pub(crate) fn entry(key: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let root = root()?;
    let folder = root.join(key);
    if folder.is_dir() {
        return Ok(folder);
    }
    let unfinished = root.join(format!(".{key}.{}", std::process::id()));
    std::fs::create_dir_all(&unfinished).with_context(|| format!("cannot create {}", unfinished.display()))?;
    let filled = fill(&unfinished).and_then(|()| {
        match std::fs::rename(&unfinished, &folder) {
            // Another run was quicker: its folder is as good.
            Err(_) if folder.is_dir() => Ok(()),
            other => other.with_context(|| format!("cannot create {}", folder.display())),
        }
    });
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished).with_context(|| format!("cannot remove {}", unfinished.display()))?;
    }
    filled.map(|()| folder)
}
