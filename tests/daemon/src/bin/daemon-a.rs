//! The test daemon, of one revision.

fn main() -> std::process::ExitCode {
    daemon::run("revision-a", "1.0.0")
}
