//! A public address for the local sandbox-agent: the one that was named, or a quick tunnel of cloudflared (docs/spec/agents.md 8.1).

use std::time::Duration;

use tokio::process::Child;

use crate::children::Children;
use crate::failure::Failure;
use crate::log::Log;
use crate::program::{how, log_file, on_path};
use crate::settings::Settings;

/// How long cloudflared may take to say its address.
const START: Duration = Duration::from_mins(1);
/// How often its log is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(200);
/// Bytes of the log that are read.
const LOG_BYTES: u64 = 1 << 20;

/// The public address, and the process that holds it open.
pub(crate) struct Open {
    pub(crate) url: String,
    pub(crate) child: Option<Child>,
}

/// Opens a tunnel, unless there is an address.
///
/// # Errors
/// When there is no address and none can be had.
pub(crate) async fn open(settings: &Settings, children: &Children, log: Log) -> Result<Open, Failure> {
    let tunnel = &settings.tunnel;
    if let Some(url) = &tunnel.url {
        return Ok(Open { url: url.clone(), child: None });
    }
    if !tunnel.start {
        return Err(Failure::Other(
            "RUNNER_BASE_URL names no address, and AUTO_START_CLOUDFLARED does not allow a tunnel".to_owned(),
        ));
    }
    let program = on_path("cloudflared").ok_or_else(|| {
        Failure::Other(
            "cloudflared is not on the path: install it, or set RUNNER_BASE_URL to an address of your own".to_owned(),
        )
    })?;
    log.info("opening a tunnel");
    let output = log_file(&tunnel.log)?;
    let errors = output.try_clone().map_err(|error| Failure::other(tunnel.log.display(), error))?;
    let mut command = children.command(program);
    command.args(["tunnel", "--url", &settings.agent.url]).args(&tunnel.args).stdout(output).stderr(errors);
    let mut child = command.spawn().map_err(|error| Failure::other("cloudflared cannot be started", error))?;
    let told = |what: String| Failure::Other(format!("cloudflared {what}; its log is {}", tunnel.log.display()));
    let address = async {
        loop {
            if let Some(url) = address_in(&read(&tunnel.log)) {
                return url;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        url = address => Ok(Open { url, child: Some(child) }),
        ended = child.wait() => Err(told(format!("ended with {}", how(ended)))),
        () = tokio::time::sleep(START) => Err(told(format!("names no address within {} s", START.as_secs()))),
    }
}

fn read(path: &std::path::Path) -> String {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    // What cannot be read yet is read at the next look.
    let _ = std::fs::File::open(path).and_then(|file| file.take(LOG_BYTES).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The last address of a quick tunnel in a log.
fn address_in(log: &str) -> Option<String> {
    const END: &str = "trycloudflare.com";
    log.match_indices("https://")
        .filter_map(|(at, scheme)| {
            let rest = log.get(at + scheme.len()..)?;
            let host =
                rest.split(|letter: char| !letter.is_ascii_alphanumeric() && !matches!(letter, '.' | '-')).next()?;
            (host.ends_with(END) && host.len() > END.len()).then(|| format!("{scheme}{host}"))
        })
        .last()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_address_of_a_quick_tunnel_counts() {
        let log = "INF see https://developers.cloudflare.com/x\n|  https://first-one.trycloudflare.com  |\nhttps://b.trycloudflare.com/\nhttps://trycloudflare.com ";
        assert_eq!(address_in(log).as_deref(), Some("https://b.trycloudflare.com"));
        for odd in [
            "",
            "https://",
            "https://x.example",
            "http://a.trycloudflare.com",
            "https://a.trycloudflare.com.evil.example",
        ] {
            assert_eq!(address_in(odd), None, "{odd}");
        }
    }
}
