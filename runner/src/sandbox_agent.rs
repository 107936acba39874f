//! The local sandbox-agent: whether it answers, how it is started, and how many sessions it has (docs/spec/agents.md 8.1, 8.3).

use std::time::Duration;

use http::Method;
use tokio::process::{Child, Command};

use crate::children::Children;
use crate::failure::Failure;
use crate::http::Client;
use crate::log::Log;
use crate::program::{how, log_file, on_path};
use crate::settings::Agent;

/// How long it may take until it answers. From its sources it is built first.
const START: Duration = Duration::from_secs(90);
const START_FROM_SOURCES: Duration = Duration::from_mins(15);
/// How often it is asked meanwhile.
const LOOK: Duration = Duration::from_millis(250);
/// How long a turn may take before the server gives up, in milliseconds: a day.
const TURN_VARIABLE: &str = "SANDBOX_AGENT_ACP_REQUEST_TIMEOUT_MS";
const TURN_MS: &str = "86400000";

/// Whether it answers.
pub(crate) async fn is_healthy(client: &Client, agent: &Agent) -> bool {
    let url = format!("{}/v1/health", agent.url);
    client.ask(Method::GET, &url, agent.token.as_deref(), None).await.is_ok_and(|answer| answer.status.is_success())
}

/// How many sessions it has. One of the older dialect does not say: none.
pub(crate) async fn active(client: &Client, agent: &Agent) -> u64 {
    let url = format!("{}/v1/acp", agent.url);
    let Ok(answer) = client.ask(Method::GET, &url, agent.token.as_deref(), None).await else { return 0 };
    let servers = answer.body.as_ref().and_then(|body| body.get("servers")?.as_array());
    servers.map_or(0, |servers| u64::try_from(servers.len()).unwrap_or(u64::MAX))
}

/// The command that starts it: the installed program, else its sources.
///
/// # Errors
/// Where there is neither; the failure says how to get it.
pub(crate) fn command(agent: &Agent, children: &Children) -> Result<Command, Failure> {
    let mut command = if let Some(program) = on_path("sandbox-agent") {
        children.command(program)
    } else if let Some(sources) = agent.repo.as_ref().filter(|folder| folder.is_dir()) {
        let mut cargo = children.command("cargo");
        cargo.current_dir(sources).args(["run", "-p", "sandbox-agent", "--"]);
        cargo
    } else {
        return Err(Failure::Other(
            "sandbox-agent is not on the path: npm install -g @sandbox-agent/cli installs it, and SANDBOX_AGENT_REPO names its sources"
                .to_owned(),
        ));
    };
    command.args(["server", "--host", &agent.host, "--port", &agent.port.to_string()]);
    match &agent.token {
        Some(token) => command.args(["--token", token]),
        None => command.arg("--no-token"),
    };
    if std::env::var_os(TURN_VARIABLE).is_none() {
        command.env(TURN_VARIABLE, TURN_MS);
    }
    Ok(command)
}

/// A sandbox-agent that answers: one that ran already, or one that was started, as a child.
///
/// # Errors
/// When it does not answer and may not be started, or does not answer after it was.
pub(crate) async fn ensure(
    client: &Client,
    agent: &Agent,
    children: &Children,
    log: Log,
) -> Result<Option<Child>, Failure> {
    if is_healthy(client, agent).await {
        return Ok(None);
    }
    if !agent.start {
        return Err(Failure::Other(format!("sandbox-agent does not answer at {}, and may not be started", agent.url)));
    }
    log.info(format_args!("starting sandbox-agent at {}", agent.url));
    let mut command = command(agent, children)?;
    let output = log_file(&agent.log)?;
    let errors = output.try_clone().map_err(|error| Failure::other(agent.log.display(), error))?;
    command.stdout(output).stderr(errors);
    let mut child = command.spawn().map_err(|error| Failure::other("sandbox-agent cannot be started", error))?;
    let patience = if on_path("sandbox-agent").is_some() { START } else { START_FROM_SOURCES };
    let answers = async {
        loop {
            if is_healthy(client, agent).await {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let told = |what: String| Failure::Other(format!("sandbox-agent {what}; its log is {}", agent.log.display()));
    tokio::select! {
        () = answers => Ok(Some(child)),
        ended = child.wait() => Err(told(format!("ended with {}", how(ended)))),
        () = tokio::time::sleep(patience) => Err(told(format!("does not answer within {} s", patience.as_secs()))),
    }
}
