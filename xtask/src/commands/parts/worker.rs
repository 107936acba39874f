//! What is tested of the sync worker, and of both workers under stock wrangler, once they are built.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::super::native::modes;
use super::super::test::{ADMIN_TOKEN, Amounts, CLIENT_ID, ISSUER};
use super::super::wrangler;
use crate::process::{self, step};
use crate::serving::Serving;
use crate::tools;
use crate::workers::{self, WORKERS};

/// Suites, the independent reader, the reports and the recorded conversations.
pub(super) fn check(root: &Path, amounts: &Amounts) -> Result<()> {
    let cargo = || {
        let mut command = process::cargo();
        command.current_dir(root);
        command
    };
    step("Verdicts of clients' own Transit reader");
    process::run(Command::new("node").current_dir(root).args(["tests/clients/verdicts.mjs", "--check"]))?;

    // A tenth of the places where something can fail, unless all are asked for.
    let all_faults = if amounts.all_faults { "1" } else { "0" };
    for suite in WORKERS.iter().flat_map(|worker| worker.suites) {
        step(suite.title);
        process::run(cargo().args(["test", "--quiet", "-p", suite.package]).env("FAULTS_LONG", all_faults))?;
    }

    modes::worker(&cargo, amounts.all_faults)?;
    if amounts.all_faults {
        wrangler::check(root)?;
    }

    wrangler::workers(root)?;

    step("Independent reader: transit-js and npm datascript");
    let server = serving(&[])?;
    process::run(node(&server).args(["--test", "--test-force-exit", "tests/reader/snapshot.test.mjs"]))?;
    server.stop()?;

    step("What the launcher and the scripts say");
    let scripts = ["--test", "xtask/launcher/settings.test.mjs", "xtask/scripts/scripts.test.mjs"];
    process::run(Command::new("node").current_dir(root).args(scripts))?;

    reports(root)?;

    step("Recorded conversations");
    let server = serving(&[("DB_SYNC_SNAPSHOT_STREAM_GZIP", "false")])?;
    process::run(node(&server).arg("tests/replay/check.mjs"))?;
    server.stop()
}

/// The token of the `static` driver, as the reports send it.
const TOKEN: &str = "choose-a-long-secret";

/// What people met with servers of this kind: one script a report.
fn reports(root: &Path) -> Result<()> {
    step("Reports");
    let server = serving(&[
        ("DB_SYNC_AUTH_DRIVER", "static"),
        ("DB_SYNC_AUTH_TOKEN", TOKEN),
        ("DB_SYNC_TRUSTED_PROXIES", "loopback"),
    ])?;
    let folder = root.join("tests/reports");
    let mut scripts = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        scripts.push(entry?.path());
    }
    scripts.retain(|path| path.extension().is_some_and(|extension| extension == "mjs"));
    scripts.sort();
    ensure!(!scripts.is_empty(), "no reports in {}", folder.display());
    for script in scripts {
        process::run(node(&server).env("TOKEN", TOKEN).arg(script))?;
    }
    server.stop()
}

/// The built worker, trusting the key set that the tools serve.
fn serving(more: &[(&str, &str)]) -> Result<Serving> {
    let jwks_port = Serving::free_port()?;
    let settings = [("COGNITO_ISSUER", ISSUER), ("COGNITO_CLIENT_ID", CLIENT_ID), ("DB_SYNC_ADMIN_TOKEN", ADMIN_TOKEN)];
    Serving::start(jwks_port, settings.iter().chain(more).copied())
}

/// Node at the repository's root, told where the server is.
fn node(server: &Serving) -> Command {
    let mut command = Command::new("node");
    command
        .current_dir(workers::root())
        .envs(tools::npm::QUIET)
        .env("BASE_URL", server.base())
        .env("JWKS_PORT", server.jwks_port().to_string())
        .env("SIGNING_KEY", server.folder().join("signing-key.json"));
    command
}
