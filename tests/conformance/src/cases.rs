//! Runs test cases against one server, with its own test runner.

use std::sync::{Arc, PoisonError, RwLock};

use libtest_mimic::{Arguments, Trial};

use crate::Server;

/// A test case.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub run: fn(&Server),
    /// Whether no other case runs meanwhile: it measures time, and is to blame the server for its own load alone.
    pub alone: bool,
}

/// Names each function of a list after its module. Those behind `alone:` run while no other case does.
#[macro_export]
macro_rules! cases {
    ($($name:ident),+ $(,)? $(; alone: $($alone:ident),+ $(,)?)?) => {
        pub(crate) fn cases() -> Vec<$crate::cases::Case> {
            vec![
                $($crate::cases::Case {
                    name: concat!(module_path!(), "::", stringify!($name)),
                    run: $name,
                    alone: false,
                },)+
                $($($crate::cases::Case {
                    name: concat!(module_path!(), "::", stringify!($alone)),
                    run: $alone,
                    alone: true,
                },)+)?
            ]
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
        let names = cases.into_iter().map(|case| Trial::test(case.name, || Ok(()))).collect();
        libtest_mimic::run(arguments, names).exit();
    }
    let server = Arc::new(start());
    let company = Arc::new(RwLock::new(()));
    let trials = cases
        .into_iter()
        .map(|case| {
            let (server, company) = (Arc::clone(&server), Arc::clone(&company));
            Trial::test(case.name, move || {
                // A case that failed has poisoned nothing.
                if case.alone {
                    let _alone = company.write().unwrap_or_else(PoisonError::into_inner);
                    (case.run)(&server);
                } else {
                    let _shared = company.read().unwrap_or_else(PoisonError::into_inner);
                    (case.run)(&server);
                }
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
