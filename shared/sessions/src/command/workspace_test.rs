//! Commands about the working tree with real git.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use super::*;
use crate::publish::CommitId;
use crate::workspace::{
    Bundle, Bundled, Changed, Diff, EntryKind, Found, Look, MAX_CHANGED, MAX_ENTRIES, RelativePath,
};

/// A home with repositories; `remote.git` stands behind the address that clones have.
struct Home(PathBuf);

const REMOTE: &str = "https://github.com/acme/app.git";

impl Home {
    /// With a remote of one commit, and a shallow clone of it, as sandboxes have them.
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("sessions-tree-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("tmp")).unwrap();
        let remote = root.join("remote.git");
        fs::write(
            root.join(".gitconfig"),
            format!(
                "[url \"file://{}\"]\n insteadOf = {REMOTE}\n[init]\n defaultBranch = main\n[user]\n name = n\n email = e@x\n",
                remote.display()
            ),
        )
        .unwrap();
        let this = Self(root);
        this.git(".", &["init", "--quiet", "--bare", remote.to_str().unwrap()]);
        this.git(".", &["init", "--quiet", "seed"]);
        this.write("seed/kept.txt", "one\n");
        this.write("seed/gone.txt", "gone\n");
        this.write("seed/.gitignore", "ignored\n");
        this.commit("seed", "first");
        this.write("seed/kept.txt", "one\ntwo\n");
        this.commit("seed", "second");
        this.git("seed", &["push", "--quiet", remote.to_str().unwrap(), "HEAD:main"]);
        this.clone("work");
        this
    }

    fn clone(&self, name: &str) {
        self.git(".", &["clone", "--quiet", "--depth", "1", "--single-branch", "--no-tags", "--", REMOTE, name]);
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn commit(&self, folder: &str, message: &str) {
        self.git(folder, &["add", "-A"]);
        self.git(folder, &["commit", "--quiet", "-m", message]);
    }

    fn start(&self, program: &str, folder: &str) -> std::process::Command {
        let mut command = std::process::Command::new(program);
        command.env_clear().env("HOME", &self.0).env("PATH", std::env::var("PATH").unwrap());
        command.env("TMPDIR", self.0.join("tmp")).current_dir(self.0.join(folder));
        command
    }

    fn git(&self, folder: &str, arguments: &[&str]) -> String {
        let output = self.start("git", folder).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    fn output(&self, command: &Command) -> Output {
        let mut process = self.start(command.program(), ".");
        process.args(command.arguments()).envs(command.environment());
        // The remote is a folder here, which is not allowed otherwise.
        process.env("GIT_ALLOW_PROTOCOL", "file").output().unwrap()
    }

    fn run(&self, command: &Command) -> String {
        let output = self.output(command);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(fs::read_dir(self.0.join("tmp")).unwrap().count(), 0, "something is left behind");
        said
    }

    fn look(&self, folder: &str) -> Option<Look> {
        Look::parse(&self.run(&look(&self.path(folder), &[]).unwrap()))
    }

    fn bundled(&self, folder: &str) -> Bundled {
        let said = self.run(&bundle(&self.path(folder), 64 << 20, &self.path("store")).unwrap());
        Bundled::parse(&said).unwrap_or_else(|| panic!("{said}"))
    }

    fn bundle(&self, folder: &str) -> Bundle {
        match self.bundled(folder) {
            Bundled::Made(bundle) => bundle,
            other => panic!("{other:?}"),
        }
    }

    fn restore(&self, folder: &str, bundle: &Bundle) -> Output {
        self.output(&restore(&self.path(folder), bundle, &self.path("store")).unwrap())
    }

    fn diff(&self, folder: &str) -> Diff {
        let said = self.run(&diff(&self.path(folder), Some("main"), MAX_CHANGED + 1, 2_000_000).unwrap());
        Diff::parse(&said).unwrap_or_else(|| panic!("{said}"))
    }

    fn list(&self, folder: &str, path: &str) -> Found {
        let path = RelativePath::parse(path).unwrap();
        let said = self.run(&list(&self.path(folder), &path, MAX_ENTRIES + 1).unwrap());
        Found::parse(&said).unwrap_or_else(|| panic!("{said}"))
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.0.join(name)).ok()
    }

    fn objects(&self, folder: &str) -> String {
        self.git(folder, &["count-objects", "-v"])
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Work of all kinds, some of it committed, some staged.
fn work(home: &Home) {
    home.git("work", &["checkout", "--quiet", "-b", "topic"]);
    home.write("work/committed.txt", "committed\n");
    home.commit("work", "of the session");
    home.write("work/kept.txt", "one\ntwo\nthree\n");
    home.write("work/staged.txt", "staged\n");
    home.git("work", &["add", "staged.txt"]);
    home.write("work/folder/-n\n'$(x) ü.txt", "odd\n");
    home.write("work/ignored", "secret\n");
    fs::remove_file(home.0.join("work/gone.txt")).unwrap();
    std::os::unix::fs::symlink("kept.txt", home.0.join("work/link")).unwrap();
}

#[test]
fn a_look_tells_trees_apart_and_changes_nothing() {
    let home = Home::new("look");
    let clean = home.look("work").unwrap();
    assert_eq!(clean.tree.branch.as_deref(), Some("main"));
    assert_eq!(clean.tree.head.as_deref(), Some(home.git("work", &["rev-parse", "HEAD"]).as_str()));
    assert!(!clean.is_unpushed);
    work(&home);
    let (status, objects) = (home.git("work", &["status", "--porcelain"]), home.objects("work"));
    let changed = home.look("work").unwrap();
    assert!(changed.is_unpushed && changed.tree != clean.tree);
    assert_eq!(home.look("work"), Some(changed.clone()));
    assert_eq!((home.git("work", &["status", "--porcelain"]), home.objects("work")), (status, objects));
    // What is only staged is the same tree; what is ignored is none of it.
    home.git("work", &["add", "-A"]);
    home.write("work/ignored", "other\n");
    assert_eq!(home.look("work"), Some(changed.clone()));
    home.write("work/kept.txt", "one\ntwo\nfour\n");
    assert_ne!(home.look("work").unwrap().tree.tree, changed.tree.tree);
}

#[test]
fn what_was_pushed_is_not_unpushed() {
    let home = Home::new("pushed");
    home.write("work/a", "a\n");
    home.commit("work", "a");
    assert!(home.look("work").unwrap().is_unpushed);
    let head = CommitId::parse(&home.git("work", &["rev-parse", "HEAD"])).unwrap();
    let other = CommitId::parse("0123456789abcdef0123456789abcdef01234567").unwrap();
    let said = home.run(&look(&home.path("work"), &[other, head.clone()]).unwrap());
    assert!(!Look::parse(&said).unwrap().is_unpushed);
    home.write("work/a", "b\n");
    let said = home.run(&look(&home.path("work"), &[head]).unwrap());
    assert!(Look::parse(&said).unwrap().is_unpushed);
}

#[test]
fn where_there_is_no_repository_nothing_is_told() {
    let home = Home::new("none");
    fs::create_dir_all(home.0.join("work/sub")).unwrap();
    fs::create_dir_all(home.0.join("empty")).unwrap();
    for folder in ["nowhere", "empty", "work/sub"] {
        assert_eq!(home.look(folder), None, "{folder}");
        assert_eq!(home.bundled(folder), Bundled::Empty, "{folder}");
    }
}

#[test]
fn a_bundle_brings_all_work_back_into_a_fresh_clone() {
    let home = Home::new("bundle");
    work(&home);
    let before = home.look("work").unwrap();
    let (status, branch) = (home.git("work", &["status", "--porcelain"]), home.git("work", &["branch"]));
    let bundle = home.bundle("work");
    assert_eq!(bundle.tree, before.tree);
    assert_eq!((home.git("work", &["status", "--porcelain"]), home.git("work", &["branch"])), (status, branch));
    assert_eq!(home.bundle("work"), bundle, "the same tree gives the same bundle");
    // Somebody else went on meanwhile: what the bundle builds on is not the tip any more.
    home.write("seed/other.txt", "other\n");
    home.commit("seed", "third");
    home.git("seed", &["push", "--quiet", &home.path("remote.git"), "HEAD:main"]);
    home.clone("fresh");
    let restored = home.restore("fresh", &bundle);
    let said = String::from_utf8_lossy(&restored.stdout).into_owned();
    assert!(restored.status.success() && said.contains("agent-restored"), "{restored:?}");
    assert_eq!(home.look("fresh").unwrap().tree, before.tree);
    assert_eq!(home.git("fresh", &["rev-parse", "--abbrev-ref", "HEAD"]), "topic");
    for name in ["committed.txt", "kept.txt", "staged.txt", "folder/-n\n'$(x) ü.txt"] {
        assert_eq!(home.read(&format!("fresh/{name}")), home.read(&format!("work/{name}")), "{name}");
    }
    assert_eq!((home.read("fresh/gone.txt"), home.read("fresh/ignored")), (None, None));
    assert_eq!(fs::read_link(home.0.join("fresh/link")).unwrap(), Path::new("kept.txt"));
    // As changes that are not committed, and without refs of ours.
    let status = home.git("fresh", &["status", "--porcelain"]);
    assert!(
        status.contains(" M kept.txt") && status.contains("?? staged.txt") && status.contains(" D gone.txt"),
        "{status}"
    );
    assert_eq!(home.git("fresh", &["for-each-ref", "refs/agents"]), "");
    assert!(!home.0.join("store").exists());
}

#[test]
fn a_bundle_of_what_is_not_committed_and_one_of_commits_alone() {
    let home = Home::new("halves");
    home.write("work/new.txt", "new\n");
    let bundle = home.bundle("work");
    assert!(bundle.wip.is_some());
    home.clone("one");
    assert!(home.restore("one", &bundle).status.success());
    assert_eq!(home.git("one", &["status", "--porcelain"]), "?? new.txt");
    home.commit("work", "new");
    home.git("work", &["checkout", "--quiet", "--detach"]);
    let bundle = home.bundle("work");
    assert_eq!((bundle.wip.as_deref(), bundle.tree.branch.as_deref()), (None, None));
    home.clone("two");
    assert!(home.restore("two", &bundle).status.success());
    assert_eq!(home.look("two").unwrap().tree, bundle.tree);
    assert_eq!(home.git("two", &["status", "--porcelain"]), "");
}

#[test]
fn a_repository_without_commits_or_remote_is_kept_whole() {
    let home = Home::new("unborn");
    home.git(".", &["init", "--quiet", "young"]);
    assert_eq!(home.bundled("young"), Bundled::Empty);
    home.write("young/a", "a\n");
    let bundle = home.bundle("young");
    assert_eq!((bundle.tree.head.as_deref(), bundle.tree.branch.as_deref()), (None, Some("main")));
    home.git(".", &["init", "--quiet", "again"]);
    let restored = home.restore("again", &bundle);
    assert!(restored.status.success(), "{restored:?}");
    assert_eq!((home.read("again/a").as_deref(), home.look("again").unwrap().tree), (Some("a\n"), bundle.tree));
    home.commit("young", "a");
    let bundle = home.bundle("young");
    home.git(".", &["init", "--quiet", "third"]);
    assert!(home.restore("third", &bundle).status.success());
    assert_eq!(home.look("third").unwrap().tree, bundle.tree);
}

#[test]
fn large_bundles_come_in_pieces_or_not_at_all() {
    let home = Home::new("large");
    let mut numbers = 7_u64;
    let noise: Vec<u8> = (0..PIECE_BYTES + 100_000)
        .map(|_| {
            numbers ^= numbers << 13;
            numbers ^= numbers >> 7;
            numbers ^= numbers << 17;
            numbers.to_le_bytes()[0]
        })
        .collect();
    fs::write(home.0.join("work/noise"), noise).unwrap();
    let bundle = home.bundle("work");
    assert_eq!((bundle.pieces(), fs::read_dir(home.0.join("store")).unwrap().count()), (2, 2));
    home.clone("fresh");
    assert!(home.restore("fresh", &bundle).status.success());
    assert_eq!(home.look("fresh").unwrap().tree, bundle.tree);
    let said = home.run(&super::bundle(&home.path("work"), 1_000_000, &home.path("store")).unwrap());
    assert!(matches!(Bundled::parse(&said), Some(Bundled::TooLarge(size)) if size > 4_000_000), "{said}");
    assert!(!home.0.join("store").exists());
}

#[test]
fn a_damaged_bundle_changes_nothing() {
    let home = Home::new("damaged");
    work(&home);
    let bundle = home.bundle("work");
    let piece = home.0.join("store/piece.000");
    let mut bytes = fs::read(&piece).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&piece, bytes).unwrap();
    home.clone("fresh");
    let before = home.look("fresh");
    assert!(!home.restore("fresh", &bundle).status.success());
    assert_eq!(home.look("fresh"), before);
}

#[test]
fn folders_and_files_are_found_and_nothing_outside() {
    let home = Home::new("files");
    work(&home);
    std::os::unix::fs::symlink("/etc/passwd", home.0.join("work/out")).unwrap();
    std::os::unix::fs::symlink("..", home.0.join("work/up")).unwrap();
    std::os::unix::fs::symlink(".git/config", home.0.join("work/config")).unwrap();
    let Found::Folder(entries, false) = home.list("work", "") else { panic!() };
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    let expected =
        [".gitignore", "committed.txt", "config", "folder", "ignored", "kept.txt", "link", "out", "staged.txt", "up"];
    assert_eq!(names, expected);
    assert_eq!(entries.iter().filter(|entry| entry.kind == EntryKind::Link).count(), 4);
    assert!(entries.iter().all(|entry| entry.modified > 1_600_000_000_000));
    let Found::Folder(entries, false) = home.list("work", "folder/") else { panic!() };
    assert_eq!((entries[0].name.as_str(), entries[0].size), ("-n\n'$(x) ü.txt", 4));
    assert_eq!(home.list("work", "folder/-n\n'$(x) ü.txt"), Found::File(4));
    assert_eq!(home.list("work", "link"), Found::File(14));
    for (path, expected) in [
        ("out", Found::Outside),
        ("up", Found::Outside),
        ("up/work/kept.txt", Found::File(14)),
        ("config", Found::Missing),
        ("nothing", Found::Missing),
        ("kept.txt/x", Found::Missing),
    ] {
        assert_eq!(home.list("work", path), expected, "{path}");
    }
    assert_eq!(home.list("nowhere", ""), Found::Missing);
    for at in 0..=MAX_ENTRIES {
        home.write(&format!("work/many/{at}"), "");
    }
    let Found::Folder(entries, true) = home.list("work", "many") else { panic!() };
    assert_eq!(entries.len(), MAX_ENTRIES);
    assert!(std::process::Command::new("mkfifo").arg(home.0.join("work/pipe")).status().unwrap().success());
    assert_eq!(home.list("work", "pipe"), Found::Missing);
}

#[test]
fn a_diff_shows_all_work_against_the_base_branch() {
    let home = Home::new("diff");
    let base = home.git("work", &["rev-parse", "HEAD"]);
    let nothing = home.diff("work");
    assert_eq!((nothing.base.as_str(), nothing.files.len(), nothing.patch.as_str()), (base.as_str(), 0, ""));
    work(&home);
    fs::write(home.0.join("work/bytes"), [0, 1, 2, 0]).unwrap();
    let (status, objects) = (home.git("work", &["status", "--porcelain"]), home.objects("work"));
    let diff = home.diff("work");
    assert_eq!((home.git("work", &["status", "--porcelain"]), home.objects("work")), (status, objects));
    assert_eq!(diff.base, base);
    assert_eq!(diff.head, Some(home.git("work", &["rev-parse", "HEAD"])));
    let of = |path: &str| {
        diff.files.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("{path}: {diff:?}")).clone()
    };
    let file = |path: &str, status, additions, deletions, binary| Changed {
        path: path.to_owned(),
        status,
        additions,
        deletions,
        binary,
    };
    assert_eq!(of("kept.txt"), file("kept.txt", "modified", Some(1), Some(0), false));
    assert_eq!(of("gone.txt"), file("gone.txt", "deleted", Some(0), Some(1), false));
    assert_eq!(of("committed.txt"), file("committed.txt", "added", Some(1), Some(0), false));
    assert_eq!(of("folder/-n\n'$(x) ü.txt").status, "added");
    assert_eq!(of("bytes"), file("bytes", "added", None, None, true));
    assert!(diff.files.iter().all(|file| file.path != "ignored"));
    assert!(diff.patch.contains("+three\n") && diff.patch.contains("-gone\n") && !diff.truncated);
}

#[test]
fn programs_that_the_repository_names_make_no_diff() {
    let home = Home::new("programs");
    home.write("work/.gitattributes", "*.txt diff=evil\n");
    home.write("work/kept.txt", "changed\n");
    for (key, value) in [
        ("diff.evil.textconv", "sh -c 'touch ../ran'"),
        ("diff.external", "sh -c 'touch ../ran'"),
        ("core.fsmonitor", "sh -c 'touch ../ran'"),
        ("core.pager", "touch ../ran"),
        ("commit.gpgSign", "true"),
        ("gpg.program", "touch"),
    ] {
        home.git("work", &["config", key, value]);
    }
    home.write("work/.git/hooks/pre-commit", "#!/bin/sh\ntouch ../ran\n");
    assert!(home.diff("work").patch.contains("+changed"));
    home.look("work").unwrap();
    home.bundle("work");
    assert!(!home.0.join("ran").exists());
}

#[test]
fn hostile_names_are_only_names() {
    let count = std::env::var("HOSTILE_NAMES").map_or(1_000, |count| count.parse().unwrap());
    let home = Home::new("hostile");
    let bin = home.0.join("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join("pwned"), "#!/bin/sh\n: >\"$HOME/canary\"\n").unwrap();
    super::hostile::make_executable(&bin.join("pwned"));
    fs::write(home.0.join(".bash_profile"), format!("PATH={}:$PATH\n", bin.display())).unwrap();
    let bundle = Bundle { sha256: "0".repeat(64), ..Bundle::default() };
    let mut numbers = super::hostile::Numbers(0x517c_c1b7_2722_0a95);
    let (mut texts, mut paths, mut tried) = (Vec::new(), 0, 0);
    while tried < count {
        let name = super::hostile::hostile_name(&mut numbers);
        if name.contains('\0') {
            assert_eq!(look(&name, &[]), Err(CommandError::Nul));
            assert_eq!(diff("/", Some(&name), 1, 1), Err(CommandError::Nul));
            continue;
        }
        tried += 1;
        let directory = home.path("work");
        let path = RelativePath::parse(&name);
        texts.push(match (tried % 6, path) {
            (0, _) => look(&name, &[]).unwrap(),
            (1, _) => super::bundle(&directory, 1, &home.path(&format!("s/{}", name.replace('/', "_")))).unwrap(),
            (2, _) => {
                let mut bundle = bundle.clone();
                bundle.tree.branch = Some(name.clone());
                restore(&directory, &bundle, &name).unwrap()
            }
            (_, Ok(path)) => {
                paths += 1;
                list(&directory, &path, 2).unwrap()
            }
            (_, Err(_)) => diff(&directory, Some(&name), 1, 1).unwrap(),
        });
    }
    assert!(paths > count / 5);
    let lines = texts.iter().map(|command| command.to_bash().unwrap() + " </dev/null >/dev/null 2>&1");
    let script = lines.collect::<Vec<_>>().join("\n");
    home.write("script", &script);
    let status = home.start("/bin/bash", ".").arg("--norc").arg("script").status().unwrap();
    assert!(status.code().is_some());
    assert!(!home.0.join("canary").exists(), "a name ran");
    // The test can fail: this one does run.
    home.write("script", "bash -lc 'x$(pwned)'\n");
    let _ = home.start("/bin/bash", ".").arg("script").output();
    assert!(home.0.join("canary").exists());
}
