//! The same program, of a newer version.

fn main() -> std::process::ExitCode {
    daemon::run("revision-new", "2.0.0")
}
