//! The same program, of another revision.

fn main() -> std::process::ExitCode {
    daemon::run("revision-b", "1.0.0")
}
