//! A container, by podman or docker.

use std::ffi::OsString;
use std::path::Path;

use super::{HOME, INSIDE, Launch, SHARE, SHIM, inner_run, words};

fn mount(from: &Path, to: &str, is_read_only: bool) -> [OsString; 2] {
    let mut mount = OsString::from("type=bind,src=");
    mount.push(from);
    mount.push(format!(",dst={to}{}", if is_read_only { ",readonly" } else { "" }));
    ["--mount".into(), mount]
}

fn wall(launch: &Launch<'_>) -> Vec<OsString> {
    let (user, group) = launch.user;
    let mut line: Vec<OsString> = vec!["--init".into(), "--user".into(), format!("{user}:{group}").into()];
    line.extend(words(["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "512"]));
    line.extend(words(["--network", launch.network]));
    line
}

/// The command that makes it, and the one that starts it.
pub(super) fn commands(runtime: &Path, image: &str, launch: &Launch<'_>) -> (Vec<OsString>, Vec<OsString>) {
    let runtime = runtime.as_os_str().to_owned();
    let places = launch.places;
    let mut create = vec![runtime.clone()];
    create.extend(words(["create", "--interactive", "--name", launch.name]));
    create.extend(words(["--label", &format!("logseq.mailbox={}", launch.mailbox_id)]));
    create.extend(words(["--label", &format!("logseq.generation={}", launch.generation)]));
    create.extend(wall(launch));
    create.extend(mount(&places.inside(), INSIDE, true));
    create.extend(mount(&places.outside(), "/mailbox/out", false));
    create.extend(mount(&places.home(), HOME, false));
    create.extend(mount(launch.work, launch.cwd, false));
    create.extend(mount(launch.share, SHARE, true));
    for bind in launch.binds.iter().filter(|path| path.exists()) {
        create.extend(mount(bind, &bind.to_string_lossy(), true));
    }
    create.extend(words(["--workdir", launch.cwd, image]));
    create.extend(inner_run(launch.cwd));
    let mut start = vec![runtime];
    start.extend(words(["start", "--attach", "--interactive", "--sig-proxy=false", launch.name]));
    (create, start)
}

/// The command that rolls back.
pub(super) fn recovery(runtime: &Path, image: &str, launch: &Launch<'_>) -> Vec<OsString> {
    let mut line = vec![runtime.as_os_str().to_owned()];
    line.extend(words(["run", "--rm"]));
    line.extend(wall(launch));
    line.extend(mount(&launch.places.outside(), "/mailbox/out", false));
    line.extend(mount(launch.share, SHARE, true));
    line.extend(words([image, SHIM, "recover", "--out", "/mailbox/out"]));
    line
}
