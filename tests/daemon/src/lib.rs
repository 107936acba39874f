//! A small daemon for the tests of daemon.md: it takes the lock, keeps rows in a database, answers on a public port and on
//! its own socket, and ends when it is asked to. It has the verbs `server …`, too, as the real binary has them.

mod http;
mod serve;

use std::process::ExitCode;

use clap::Parser;
use daemon_lifecycle::registry::Registry;
use daemon_lifecycle::verbs::{self, ServerArgs, Surroundings};
use daemon_lifecycle::{Build, Program, process};

#[derive(Parser)]
#[command(version = "test")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Be the daemon
    Serve(serve::Serve),
    /// Manage daemons
    Server(ServerArgs),
}

/// Runs the program. Both texts are those of its build.
pub fn run(revision: &str, version: &str) -> ExitCode {
    let cli = Cli::parse_from(verbs::arrange(std::env::args_os()));
    let executable = process::without_note(std::env::current_exe().unwrap_or_default());
    let build = Build { version: version.to_owned(), revision: revision.to_owned() };
    let program = Program { executable, serve: "serve", launch: &["server", "launch"], build };
    ExitCode::from(match cli.command {
        Command::Serve(args) => serve::serve(&args, &program),
        Command::Server(args) => {
            let around = Surroundings {
                program: &program,
                data_dir: std::path::Path::new("data"),
                registry: Registry::of_user(),
                checks: &|_, _| Vec::new(),
            };
            verbs::run(&args, &around, &mut std::io::stdout(), &mut std::io::stderr())
        }
    })
}
