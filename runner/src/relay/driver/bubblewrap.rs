//! Namespaces, by bubblewrap. Without `--die-with-parent`: a turn does not end with the runner.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use super::{HOME, INSIDE, Launch, SHARE, SHIM, inner_run, words};
use crate::program::{COMMAND, output};

/// The descriptor on which it tells of the process inside.
pub(crate) const INFO: i32 = 3;

/// Whether it can make namespaces here.
pub(super) fn works(program: &Path) -> bool {
    let mut command = Command::new(program);
    command.args(["--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "--", "/bin/true"]);
    output(&mut command, COMMAND).is_ok_and(|said| said.status.success())
}

fn wall(program: &Path, launch: &Launch<'_>, tells: bool) -> Vec<OsString> {
    let mut line = vec![program.as_os_str().to_owned()];
    if tells {
        line.extend(words(["--info-fd", &INFO.to_string()]));
    }
    line.extend(words(["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]));
    if launch.network == "none" {
        line.push("--unshare-net".into());
    }
    line.extend(words(["--new-session", "--clearenv", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]));
    for path in launch.system.iter().chain(launch.binds).filter(|path| path.exists()) {
        line.extend(["--ro-bind".into(), path.into(), path.into()]);
    }
    line
}

/// The command. HOME before WORK: the mount inside of it would be hidden otherwise.
pub(super) fn command(program: &Path, launch: &Launch<'_>) -> Vec<OsString> {
    let mut line = wall(program, launch, true);
    let places = launch.places;
    line.extend(["--ro-bind".into(), places.inside().into(), INSIDE.into()]);
    line.extend(["--bind".into(), places.outside().into(), "/mailbox/out".into()]);
    line.extend(["--bind".into(), places.home().into(), HOME.into()]);
    line.extend(["--bind".into(), launch.work.into(), launch.cwd.into()]);
    line.extend(["--ro-bind".into(), launch.share.into(), SHARE.into()]);
    line.extend(words(["--chdir", launch.cwd, "--"]));
    line.extend(inner_run(launch.cwd));
    line
}

/// The command that rolls back: of the session it sees `out/` alone.
pub(super) fn recovery(program: &Path, launch: &Launch<'_>) -> Vec<OsString> {
    let mut line = wall(program, launch, false);
    line.extend(["--bind".into(), launch.places.outside().into(), "/mailbox/out".into()]);
    line.extend(["--ro-bind".into(), launch.share.into(), SHARE.into()]);
    line.extend(words(["--", SHIM, "recover", "--out", "/mailbox/out"]));
    line
}
