//! The workers under stock wrangler, as somebody starts and deploys them who knows wrangler alone.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::test::{ADMIN_TOKEN, CLIENT_ID, ISSUER};
use crate::process::{self, step};
use crate::serving::{self, Serving};
use crate::tools::npm::QUIET;
use crate::workers::{self, AGENTS, SYNC, WORKERS};

/// `wrangler dev`; dropped, it ends.
struct Dev(Child);

impl Drop for Dev {
    fn drop(&mut self) {
        let _already_gone = process::succeeds(Command::new("kill").arg(self.0.id().to_string()));
        let _reaped = self.0.wait();
    }
}

/// How long `wrangler dev` may take to answer.
const START_PATIENCE: Duration = Duration::from_mins(2);

/// Environments of the configurations; the empty one is the default.
const ENVIRONMENTS: [&str; 3] = ["", "staging", "prod"];

/// wrangler, quiet, without a terminal.
fn wrangler(root: &Path) -> Command {
    let mut command = Command::new(workers::npm_bin("wrangler"));
    command.current_dir(root).envs(QUIET).env("CI", "true").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Both workers, together and the agents worker alone: migrated and started locally, and packed for every environment.
pub(super) fn workers(root: &Path) -> Result<()> {
    step("wrangler: the migrations of both workers, in one database");
    let data = tempfile::tempdir()?;
    for (worker, binding) in [(&SYNC, "DB"), (&AGENTS, "AGENTS_DB")] {
        let mut command = wrangler(root);
        command.args(["d1", "migrations", "apply", binding, "--config", worker.config, "--local", "--persist-to"]);
        process::run(command.arg(data.path()))?;
    }
    let dev = |configs: &[&str]| -> Result<(Dev, u16)> {
        let port = Serving::free_port()?;
        let mut command = wrangler(root);
        command.arg("dev").args(configs.iter().flat_map(|config| ["-c", config]));
        command
            .args(["--port", &port.to_string(), "--inspector-port", "0", "--local", "--persist-to"])
            .arg(data.path());
        let dev = Dev(command.spawn().context("wrangler dev")?);
        let until = Instant::now() + START_PATIENCE;
        while serving::status(port, "/health") != Some(200) {
            if Instant::now() > until {
                bail!("wrangler dev did not become healthy with {}", configs.join(" and "));
            }
            sleep(Duration::from_millis(50));
        }
        Ok((dev, port))
    };
    let (here, nobody) = (Some(401), Some(404));

    step("wrangler dev: both workers on one port");
    let (both, port) = dev(&[SYNC.config, AGENTS.config])?;
    for (path, wanted) in [("/graphs", here), ("/sessions", here), ("/runners", here), ("/auth/chatgpt/status", here)] {
        ensure!(serving::status(port, path) == wanted, "{path} is not answered with both workers");
    }
    drop(both);

    step("wrangler dev: the agents worker alone");
    let (alone, port) = dev(&[AGENTS.config])?;
    for (path, wanted) in [("/sessions", here), ("/runners", here), ("/graphs", nobody)] {
        ensure!(serving::status(port, path) == wanted, "{path} is not answered by the agents worker");
    }
    drop(alone);

    for worker in WORKERS {
        step(format!("wrangler deploy --dry-run: {}", worker.title));
        for environment in ENVIRONMENTS {
            process::run(wrangler(root).args([
                "deploy",
                "--dry-run",
                "--config",
                worker.config,
                "--env",
                environment,
            ]))?;
        }
    }
    Ok(())
}

/// Runs the suite against the built worker under `wrangler dev`, over data of its own.
pub(super) fn check(root: &Path) -> Result<()> {
    step("Black-box suite against wrangler dev");
    let data = tempfile::tempdir()?;
    let wrangler = |words: &[&str]| {
        let mut command = wrangler(root);
        command.args(words).args(["--config", SYNC.config, "--local", "--persist-to"]).arg(data.path());
        command
    };
    process::run(&mut wrangler(&["d1", "migrations", "apply", "DB"]))?;
    let (port, jwks_port) = (Serving::free_port()?.to_string(), Serving::free_port()?.to_string());
    let settings = [
        format!("COGNITO_ISSUER:{ISSUER}"),
        format!("COGNITO_CLIENT_ID:{CLIENT_ID}"),
        "COGNITO_CLIENT_IDS:second-client, third-client".to_owned(),
        format!("COGNITO_JWKS_URL:http://127.0.0.1:{jwks_port}/jwks.json"),
        format!("DB_SYNC_ADMIN_TOKEN:{ADMIN_TOKEN}"),
        "ASSET_LINK_SECRET:asset-link-secret".to_owned(),
    ];
    let mut dev = wrangler(&["dev", "--port", &port, "--inspector-port", "0"]);
    let dev = Dev(dev.args(settings.iter().flat_map(|setting| ["--var", setting])).spawn().context("wrangler dev")?);
    process::run(
        process::cargo()
            .current_dir(root)
            .args(["test", "--quiet", "-p", "conformance"])
            .envs([("BASE_URL", format!("http://127.0.0.1:{port}")), ("JWKS_PORT", jwks_port)])
            .env("PROXY", "wrangler"),
    )?;
    drop(dev);
    Ok(())
}
