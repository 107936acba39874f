//! Which build this is (docs/spec/daemon.md 4.5): the commit that it was built from. Outside of a repository, the version and
//! a hash of the sources; never nothing, because a program that does not know its own build cannot tell another one's.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=LOGSEQ_SYNC_REVISION");
    println!("cargo::rerun-if-changed=build.rs");
    let given = std::env::var("LOGSEQ_SYNC_REVISION").ok().filter(|given| !given.trim().is_empty());
    let revision = given.or_else(of_repository).unwrap_or_else(of_sources);
    println!("cargo::rustc-env=LOGSEQ_SYNC_REVISION={revision}");
}

/// What git says.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// The commit, if this package is part of it: an unpacked archive may lie in somebody else's repository.
fn of_repository() -> Option<String> {
    git(&["ls-files", "--error-unmatch", "build.rs"])?;
    let revision = git(&["rev-parse", "--short=12", "HEAD"])?;
    // Each commit adds to its log, where there is one; a new branch changes the head itself.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    Some(revision)
}

/// The version and a hash of all that is below `src`.
fn of_sources() -> String {
    println!("cargo::rerun-if-changed=src");
    let mut hasher = DefaultHasher::new();
    hash(Path::new("src"), &mut hasher);
    format!("{}-{:016x}", env!("CARGO_PKG_VERSION"), hasher.finish())
}

fn hash(folder: &Path, hasher: &mut DefaultHasher) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    // The system's order is any.
    paths.sort();
    for path in paths {
        path.hash(hasher);
        if path.is_dir() {
            hash(&path, hasher);
        } else {
            std::fs::read(&path).unwrap_or_default().hash(hasher);
        }
    }
}
