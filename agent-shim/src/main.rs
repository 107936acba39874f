//! `agent-shim`: a small program beside a coding agent, which it drives by what lies in a mailbox
//! (docs/spec/session-mailbox.md 8.5). The runner on the other side of the mailbox may die, be upgraded or be away: a turn goes
//! on without it.
//!
//! What is decided is pure ([`chunks`], [`outputs`], [`prompt`], [`provider`], [`tools`], [`acp`]); [`session`] is the loop, over a mailbox
//! and a process; [`tree`] ends processes and proves it.

mod acp;
mod agent;
mod ahead;
mod arguments;
mod awake;
mod chunks;
mod failure;
mod git;
mod http;
mod local;
mod log;
mod outputs;
mod prompt;
mod provider;
mod push;
mod run;
mod server;
mod session;
mod tools;
mod tree;
mod verbs;

use std::process::ExitCode;

use arguments::Verb;

fn main() -> ExitCode {
    // First of all: what a person gave this process is read by nobody through /proc (docs/spec/session-mailbox.md 4.10).
    if rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).is_err() {
        log::line("error", "not-dumpable", "the process cannot be kept from being looked into");
    }
    let result = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Verb::Run(places)) => run::run(&places),
        Ok(Verb::Recover { outside }) => verbs::recover(&outside),
        Ok(Verb::Check { inside, outside }) => verbs::check(&inside, &outside),
        Ok(Verb::GitCredential { outside, operation }) => git::help(&outside, operation),
        Ok(Verb::Version) => verbs::version(),
        Err(failure) => Err(failure),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            log::line("error", failure.code(), &failure.to_string());
            ExitCode::from(failure.exit())
        }
    }
}
