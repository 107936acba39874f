//! The suites in each way in which a server finds out who asks. Cognito's tokens are what they are run with elsewhere; here are the
//! others. The suites leave out what a way cannot have (`LEFT_OUT` in `tests/conformance/tests/suite/mod.rs`), and without `--long` what is
//! the same in all of them.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, anyhow};

use super::super::test::CLIENT_ID;
use super::server::Setup;
use crate::process::{self, step};
use crate::serving::Serving;

/// Users that are stored for a run: as many as all cases together meet, and some.
const PEOPLE: usize = 400;

/// The one user of a server that knows no other.
const ONE: [(&str, &str); 3] = [
    ("DB_SYNC_STATIC_USER_ID", "solo"),
    ("DB_SYNC_STATIC_EMAIL", "solo@example.test"),
    ("DB_SYNC_STATIC_USERNAME", "solo"),
];
const TOKEN: &str = "a-token-that-is-long-enough";

/// The suites.
const SUITES: [&str; 2] = ["conformance", "attacks"];

/// Cases about what becomes of rows, transactions and bodies once somebody is let in: however that was found out, the same code answers. Those
/// that measure time are among them.
const SAME: [&str; 8] = ["chat", "door", "download", "pipeline", "size", "upload", "paths", "sockets"];

/// A way, by its name, and the command that runs the tests of a package in it.
type Way<'a> = (&'a str, Box<dyn Fn(&str) -> Command + 'a>);

/// Plays the suites in these ways: one after the other and whole, or only what may differ, the ways side by side.
fn play(ways: &[Way<'_>], whole: bool) -> Result<()> {
    if whole {
        for (name, tests) in ways {
            step(format!("Suites in full: {name}"));
            SUITES.iter().try_for_each(|package| process::run(&mut tests(package)))?;
        }
        return Ok(());
    }
    let differing = |tests: &dyn Fn(&str) -> Command, package: &str| {
        let mut command = tests(package);
        command.arg("--");
        command.args(SAME.iter().flat_map(|same| ["--skip".to_owned(), format!("suite::{same}::")]));
        command
    };
    let commands: Vec<Command> = ways.iter().map(|(_, tests)| differing(tests, "conformance")).collect();
    std::thread::scope(|scope| {
        let running: Vec<_> =
            commands.into_iter().map(|mut command| scope.spawn(move || process::quietly(&mut command))).collect();
        running.into_iter().try_for_each(|way| way.join().map_err(|_| anyhow!("running a suite failed"))?)
    })?;
    // One after the other: they measure how long a bystander waits.
    ways.iter().try_for_each(|(_, tests)| process::run(&mut differing(tests, "attacks")))
}

/// Both suites against the binary, in each way but Cognito.
pub(super) fn check(binary: &Path, cargo: &dyn Fn() -> Command, whole: bool) -> Result<()> {
    let setup = Setup::new()?;
    let issuer = format!("http://127.0.0.1:{}", setup.jwks_port);
    let config = setup.folder().join("oidc.toml");
    std::fs::write(
        &config,
        format!(
            "[[oidc]]\nissuer = \"{issuer}\"\naudience = [\"{CLIENT_ID}\", \"second-client\"]\n\
             username_claim = \"cognito:username\"\n"
        ),
    )?;
    let oidc = setup
        .with("DB_SYNC_AUTH_DRIVER", "oidc")
        .with("DB_SYNC_CONFIG", config.to_string_lossy())
        .telling("ISSUER", &issuer)
        .telling("OIDC", "1");
    let setup = Setup::new()?;
    let people = setup.folder().join("people");
    std::fs::write(&people, store(binary, &setup.data())?)?;
    let stored = setup
        .with("DB_SYNC_AUTH_DRIVER", "static")
        .with("DB_SYNC_AUTH_TOKEN", TOKEN)
        .telling("PEOPLE", people.to_string_lossy());
    let one = |driver: &str| {
        Ok::<_, anyhow::Error>(
            ONE.iter()
                .fold(Setup::new()?, |setup, (name, value)| setup.with(name, *value))
                .with("DB_SYNC_AUTH_DRIVER", driver),
        )
    };
    let alone = one("static")?.with("DB_SYNC_AUTH_TOKEN", TOKEN).telling("ONE_USER", format!("solo {TOKEN}"));
    let nobody = one("none")?.telling("ONE_USER", "solo");
    let setups = [("OIDC issuer", oidc), ("stored users", stored), ("one token", alone), ("nobody is asked", nobody)];
    step("Suites against the native server in each other way of signing in");
    let servers = setups.map(|(name, setup)| Ok::<_, anyhow::Error>((name, setup.start(binary)?)));
    let servers = servers.into_iter().collect::<Result<Vec<_>>>()?;
    let ways: Vec<Way<'_>> = servers
        .iter()
        .map(|(name, server)| -> Way<'_> { (*name, Box::new(|package| server.tests(cargo, package))) })
        .collect();
    play(&ways, whole)?;
    drop(ways);
    servers.into_iter().try_for_each(|(_, server)| server.stop())
}

/// Both suites against the worker under workerd, with one token and where nobody is asked.
pub(in super::super) fn worker(cargo: &dyn Fn() -> Command, whole: bool) -> Result<()> {
    step("Suites against the worker under workerd in each other way of signing in");
    let with_token = ("DB_SYNC_AUTH_TOKEN", TOKEN);
    let alone = format!("solo {TOKEN}");
    let mut servers = Vec::new();
    for (name, driver, user) in [("one token", "static", alone.as_str()), ("nobody is asked", "none", "solo")] {
        // The suite has an agents worker of its own.
        let agents_port = Serving::free_port()?.to_string();
        let agents = format!("http://127.0.0.1:{agents_port}");
        let settings = [
            ("AGENTS_SERVICE_URL", agents.as_str()),
            ("DB_SYNC_AUTH_DRIVER", driver),
            ("DB_SYNC_ADMIN_TOKEN", super::super::test::ADMIN_TOKEN),
            ("ASSET_LINK_SECRET", "asset-link-secret"),
        ];
        let token = Some(with_token).filter(|_| driver == "static");
        let server = Serving::start(Serving::free_port()?, settings.into_iter().chain(ONE).chain(token))?;
        servers.push((name, server, agents_port, user));
    }
    let ways: Vec<Way<'_>> = servers
        .iter()
        .map(|(name, server, agents_port, user)| -> Way<'_> {
            let tests = move |package: &str| {
                let mut suite = cargo();
                suite
                    .args(["test", "--quiet", "-p", package, "--test", package])
                    .env("BASE_URL", server.base())
                    .env("JWKS_PORT", server.jwks_port().to_string())
                    .env("AGENTS_PORT", agents_port)
                    .env("ONE_USER", user);
                suite
            };
            (*name, Box::new(tests))
        })
        .collect();
    play(&ways, whole)?;
    drop(ways);
    servers.into_iter().try_for_each(|(_, server, ..)| server.stop())
}

/// Stores users; a line of id and token for each.
fn store(binary: &Path, data: &Path) -> Result<String> {
    let mut lines = String::new();
    for number in 0..PEOPLE {
        let user = format!("stored-{number}");
        let mut add = Command::new(binary);
        add.args(["user", "add", &user, "--user-id", &user, "--email", &format!("{user}@example.test"), "--quiet"]);
        let token = process::output(add.arg("--data-dir").arg(data))?;
        writeln!(lines, "{user} {token}")?;
    }
    Ok(lines)
}
