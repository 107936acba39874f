//! What a person gave the shim is read by nobody through `/proc` (docs/spec/session-mailbox.md 4.10).

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::runner::{SHIM, SOON};

/// A user without rights, where the tests run as the one who may everything.
const NOBODY: u32 = 65_534;

/// A program of the user whose processes look at each other.
fn program(name: &Path) -> Command {
    let mut command = Command::new(name);
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("SECRET", "of-a-person")
        .stdin(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// Whether another process of the same user can read a file of a process.
fn can_read(pid: u32, file: &str) -> bool {
    let mut reader = program(Path::new("/bin/sh"));
    // The first byte of the memory is at no address: it is enough that it can be opened.
    reader.args([
        "-c",
        "exec 3< \"$1\" && [ \"$2\" = mem ] || cat <&3 >/dev/null",
        "sh",
        &format!("/proc/{pid}/{file}"),
        file,
    ]);
    reader.stdout(Stdio::null()).status().unwrap().success()
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn another_process_of_the_same_user_reads_neither_environment_nor_memory_of_the_shim() {
    let place = tempfile::tempdir().unwrap();
    let open = |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    open(place.path());
    // Where it was built others may not look.
    let shim = place.path().join("agent-shim");
    std::fs::copy(SHIM, &shim).unwrap();
    open(&shim);
    let folders = ["in", "out", "work", "home"].map(|name| place.path().join(name));
    let mut command = program(&shim);
    command.arg("run");
    for (name, folder) in ["--in", "--out", "--work", "--home"].iter().zip(&folders) {
        std::fs::create_dir(folder).unwrap();
        command.arg(name).arg(folder);
    }
    // It waits for its line of input, which does not come.
    let hidden = command.spawn().unwrap();
    let threads = || std::fs::read_dir(format!("/proc/{}/task", hidden.id())).map_or(0, Iterator::count);
    let begun = Instant::now();
    while threads() < 2 {
        assert!(begun.elapsed() < SOON, "it does not begin to wait");
        std::thread::sleep(Duration::from_millis(5));
    }
    // A process that hides nothing shows that the reader can read at all.
    let shown = program(Path::new("/bin/sleep")).arg("600").spawn().unwrap();
    while !std::fs::read(format!("/proc/{}/cmdline", shown.id())).unwrap().starts_with(b"/bin/sleep") {
        assert!(begun.elapsed() < SOON);
        std::thread::sleep(Duration::from_millis(5));
    }
    let files = ["environ", "maps", "mem"];
    let readable = |pid: u32| files.map(|file| can_read(pid, file));
    let (of_hidden, of_shown) = (readable(hidden.id()), readable(shown.id()));
    assert!(threads() >= 2, "it was there all the time");
    end(hidden);
    end(shown);
    assert_eq!(of_hidden, [false; 3], "{files:?}");
    // Some systems let nobody but a parent look into the memory.
    assert_eq!(of_shown[..2], [true; 2], "these tests cannot tell here: nobody reads anything");
}
