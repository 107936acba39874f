//! No wall: the shim is an ordinary process of this user.

use std::ffi::OsString;

use super::Launch;

/// The command.
pub(super) fn command(launch: &Launch<'_>) -> Vec<OsString> {
    let mut command = vec![launch.share.join("agent-shim").into_os_string(), "run".into()];
    let folders = [
        ("--in", launch.places.inside()),
        ("--out", launch.places.outside()),
        ("--work", launch.work.to_owned()),
        ("--home", launch.places.home()),
        ("--share", launch.share.to_owned()),
    ];
    command.extend(folders.into_iter().flat_map(|(flag, folder)| [flag.into(), folder.into_os_string()]));
    command
}

/// The command that rolls back.
pub(super) fn recovery(launch: &Launch<'_>) -> Vec<OsString> {
    let shim = launch.share.join("agent-shim").into_os_string();
    vec![shim, "recover".into(), "--out".into(), launch.places.outside().into_os_string()]
}
