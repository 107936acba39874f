//! A service of the user's own manager (docs/spec/session-mailbox.md 8.1). Only the runner's own process is ended with it: turns go on.

use std::path::{Path, PathBuf};

use crate::failure::Failure;

const NAME: &str = "logseq-runner.service";

/// Where the unit lies below the folder of the user's configuration.
pub(crate) fn place(config: &Path) -> PathBuf {
    config.join("systemd/user").join(NAME)
}

/// Writes the unit. What is to be done then.
///
/// # Errors
/// What the system refuses.
pub(crate) fn install(unit: &Path, program: &Path, configuration: Option<&Path>) -> Result<String, Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let wrong = |error: std::io::Error| Failure::other(unit.display(), error);
    if let Some(folder) = unit.parent() {
        std::fs::create_dir_all(folder).map_err(wrong)?;
    }
    std::fs::write(unit, text(program, configuration)).map_err(wrong)?;
    std::fs::set_permissions(unit, std::fs::Permissions::from_mode(0o644)).map_err(wrong)?;
    Ok(format!(
        "{}\nsystemctl --user daemon-reload\nsystemctl --user enable --now {NAME}\nloginctl enable-linger\n",
        unit.display()
    ))
}

/// Removes the unit. What is to be done then.
///
/// # Errors
/// What the system refuses.
pub(crate) fn uninstall(unit: &Path) -> Result<String, Failure> {
    match std::fs::remove_file(unit) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Failure::other(unit.display(), error)),
        _ => Ok(format!("systemctl --user disable --now {NAME}\nsystemctl --user daemon-reload\n")),
    }
}

fn text(program: &Path, configuration: Option<&Path>) -> String {
    // What systemd reads in a line: a percent sign and a quote would mean something.
    let quoted = |path: &Path| {
        let path = path.to_string_lossy().replace('%', "%%").replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{path}\"")
    };
    let config = configuration.map(|path| format!(" --config {}", quoted(path))).unwrap_or_default();
    format!(
        "[Unit]\nDescription=Lends this machine to coding-agent sessions of Logseq\nAfter=network-online.target\n\n\
         [Service]\nExecStart={}{config} run --owner service\nKillMode=process\nDelegate=yes\nRestart=on-failure\n\
         RestartPreventExitStatus=64 76 77 78\n\n[Install]\nWantedBy=default.target\n",
        quoted(program)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_unit_ends_nothing_but_the_runner() {
        let folder = tempfile::tempdir().unwrap();
        let unit = place(folder.path());
        let told = install(&unit, Path::new("/opt/my tools/logseq-runner"), Some(Path::new("/etc/50%.toml"))).unwrap();
        assert!(told.contains("systemctl --user enable --now logseq-runner.service"));
        let text = std::fs::read_to_string(&unit).unwrap();
        for line in [
            "ExecStart=\"/opt/my tools/logseq-runner\" --config \"/etc/50%%.toml\" run --owner service",
            "KillMode=process",
            "Delegate=yes",
            "Restart=on-failure",
            "RestartPreventExitStatus=64 76 77 78",
        ] {
            assert!(text.lines().any(|own| own == line), "{line}: {text}");
        }
        assert_eq!(std::fs::metadata(&unit).unwrap().permissions().mode() & 0o777, 0o644);
        uninstall(&unit).unwrap();
        uninstall(&unit).unwrap();
        assert!(!unit.exists());
    }
}
