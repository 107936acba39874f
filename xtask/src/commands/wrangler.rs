//! The black-box suite against `wrangler dev`, as somebody starts it who knows wrangler alone.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

use super::test::{ADMIN_TOKEN, CLIENT_ID, ISSUER};
use crate::process::{self, step};
use crate::serving::Serving;
use crate::tools::npm::QUIET;
use crate::workers::{self, SYNC};

/// `wrangler dev`; dropped, it ends.
struct Dev(Child);

impl Drop for Dev {
    fn drop(&mut self) {
        let _already_gone = process::succeeds(Command::new("kill").arg(self.0.id().to_string()));
        let _reaped = self.0.wait();
    }
}

/// Runs the suite against the built worker under `wrangler dev`, over data of its own.
pub(super) fn check(root: &Path) -> Result<()> {
    step("Black-box suite against wrangler dev");
    let data = tempfile::tempdir()?;
    let wrangler = |words: &[&str]| {
        let mut command = Command::new(workers::npm_bin("wrangler"));
        command
            .current_dir(root)
            .args(words)
            .args(["--config", SYNC.config, "--local", "--persist-to"])
            .arg(data.path());
        command.envs(QUIET).env("CI", "true").stdin(Stdio::null()).stdout(Stdio::null());
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
