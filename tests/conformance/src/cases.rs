//! Runs test cases against one server, with its own test runner.

use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use crate::Server;

/// A test case: its name and what it does.
pub type Case = (&'static str, fn(&Server));

/// Names each function of a list after its module.
#[macro_export]
macro_rules! cases {
    ($($name:ident),+ $(,)?) => {
        pub(crate) fn cases() -> Vec<$crate::cases::Case> {
            vec![$((concat!(module_path!(), "::", stringify!($name)), $name as fn(&$crate::Server))),+]
        }
    };
}

/// Runs the cases, or lists them, and ends the process with the matching exit code.
pub fn run(arguments: &Arguments, cases: Vec<Case>) -> ! {
    run_on(Server::start, arguments, cases)
}

/// The same, on a server that is started in another way.
pub fn run_on(start: impl FnOnce() -> Server, arguments: &Arguments, cases: Vec<Case>) -> ! {
    if arguments.list {
        let names = cases.into_iter().map(|(name, _)| Trial::test(name, || Ok(()))).collect();
        libtest_mimic::run(arguments, names).exit();
    }
    let server = Arc::new(start());
    let trials = cases
        .into_iter()
        .map(|(name, case)| {
            let server = Arc::clone(&server);
            Trial::test(name, move || {
                case(&server);
                Ok(())
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(arguments, trials);
    if let Ok(server) = Arc::try_unwrap(server).map_err(|_| ()) {
        server.stop();
    }
    conclusion.exit();
}
