//! Templates of sandboxes: named, or built from a project's Dockerfile (agents.md 5.3.1, 5.3.4, 6.6).

use http::Method;
use serde_json::{Value, json};
use web::{Fetch, Host};

use super::api::{Api, Failed, Refused};
use super::{BuildState, Building, E2bProvider, RuntimeError, Wish};
use crate::acp::component;
use crate::repository::{directory_name, sanitize_name};

/// What a built template starts with, and when it counts as started.
const START: &str = "bash -lc 'while true; do sleep 3600; done'";
const READY: &str = "sleep 5";
const CPUS: u32 = 1;
const MEMORY_MB: u32 = 2_048;
/// Instructions of one Dockerfile.
const MAX_STEPS: usize = 500;

/// What a sandbox is made from.
pub(super) enum Choice {
    /// This template; none for E2B's own.
    Use(Option<String>),
    /// The project's own, which was built before.
    Own(String),
    /// One that is being built.
    Building(Building),
}

impl<F: Fetch, H: Host> E2bProvider<F, H> {
    /// The template of a session. A build is begun when the project's own is not there yet.
    pub(super) async fn template(&self, wish: &Wish<'_>) -> Result<Choice, RuntimeError> {
        let named = || wish.task.template().map(str::to_owned).or_else(|| self.settings.e2b_template.clone());
        // Without a graph a project has no name of its own.
        let (Some(text), Some(graph)) = (wish.task.docker_file(), wish.task.graph_id()) else {
            return Ok(Choice::Use(named()));
        };
        let name = sanitize_name(&format!("{graph}-{}", directory_name(wish.task.repo_url())));
        let api = self.api();
        match api.call(Method::GET, &format!("/templates/aliases/{}", component(&name)), None).await {
            // One that is somebody else's exists too.
            Ok(_) | Err(Failed::Refused(Refused { status: 403, .. })) => return Ok(Choice::Own(name)),
            Err(Failed::Refused(Refused { status: 404, .. })) => {}
            Err(error) => return Err(error.into()),
        }
        build(&api, &name, text, false).await.map(Choice::Building)
    }

    /// Builds the project's template once more: its name is known, and no sandbox can be made from it (agents.md 5.3.3).
    pub(super) async fn rebuild(&self, wish: &Wish<'_>, name: &str) -> Result<Building, RuntimeError> {
        let text = wish.task.docker_file().filter(|_| !wish.is_rebuilt);
        let text = text.ok_or_else(|| RuntimeError::Failed("the project's template is gone again".to_owned()))?;
        build(&self.api(), name, text, true).await
    }
}

/// Begins a build; `again` when there was one before, of which nothing is to be used.
async fn build<F: Fetch, H: Host>(
    api: &Api<'_, F, H>,
    name: &str,
    text: &str,
    again: bool,
) -> Result<Building, RuntimeError> {
    let docker = parse(text).map_err(RuntimeError::Dockerfile)?;
    begin(api, name, &docker, again).await
}

async fn begin<F: Fetch, H: Host>(
    api: &Api<'_, F, H>,
    name: &str,
    docker: &Dockerfile,
    again: bool,
) -> Result<Building, RuntimeError> {
    let wanted = json!({"name": name, "cpuCount": CPUS, "memoryMB": MEMORY_MB});
    let made = api.call(Method::POST, "/v3/templates", Some(&wanted)).await?;
    let id = |key: &str| made.get(key).and_then(Value::as_str).map(str::to_owned);
    let named = id("templateID").zip(id("buildID"));
    let (template_id, build_id) = named.ok_or_else(|| RuntimeError::Failed("the build has no id".to_owned()))?;
    let path = format!("/v2/templates/{}/builds/{}", component(&template_id), component(&build_id));
    let build = json!({
        "fromImage": docker.image,
        "steps": docker.steps,
        "startCmd": START,
        "readyCmd": READY,
        "force": again,
    });
    api.call(Method::POST, &path, Some(&build)).await?;
    Ok(Building { name: name.to_owned(), template_id, build_id, again })
}

/// How far a build is.
pub(super) async fn state<F: Fetch, H: Host>(
    api: &Api<'_, F, H>,
    building: &Building,
) -> Result<BuildState, RuntimeError> {
    let (template, build) = (component(&building.template_id), component(&building.build_id));
    let path = format!("/templates/{template}/builds/{build}/status?logsOffset=0");
    let said = api.call(Method::GET, &path, None).await?;
    Ok(match said.get("status").and_then(Value::as_str) {
        Some("ready") => BuildState::Ready,
        Some("error") => {
            let reason =
                said.get("reason").and_then(|reason| reason.as_str().or_else(|| reason.get("message")?.as_str()));
            BuildState::Failed(reason.unwrap_or("unknown").chars().take(1_000).collect())
        }
        _ => BuildState::Running,
    })
}

/// A Dockerfile as the builder takes it.
#[derive(Debug, PartialEq)]
struct Dockerfile {
    image: String,
    steps: Vec<Value>,
}

fn step(kind: &str, args: &[&str]) -> Value {
    json!({"type": kind, "args": args, "force": false})
}

/// Reads a Dockerfile. What needs files beside it cannot be built: there are none.
fn parse(text: &str) -> Result<Dockerfile, String> {
    let (mut image, mut has_user, mut has_directory) = (None, false, false);
    let mut steps = vec![step("USER", &["root"]), step("WORKDIR", &["/"])];
    // The text is at most 64 KiB long (agents.md 2.8).
    for line in joined(text) {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
        let rest = rest.trim();
        match word.to_ascii_uppercase().as_str() {
            "FROM" if image.is_some() => return Err("it has more than one FROM".to_owned()),
            "FROM" => image = rest.split_whitespace().find(|part| !part.starts_with("--")).map(str::to_owned),
            "COPY" | "ADD" => return Err(format!("{word} needs files beside it")),
            "RUN" => steps.push(step("RUN", &[rest])),
            "WORKDIR" => {
                has_directory = true;
                steps.push(step("WORKDIR", &[rest]));
            }
            "USER" => {
                has_user = true;
                steps.push(step("USER", &[rest]));
            }
            "ENV" | "ARG" => steps.push(step("ENV", &variables(rest))),
            // What starts the sandbox is our own; the rest says nothing about what is in the image.
            _ => {}
        }
        if steps.len() > MAX_STEPS {
            return Err("it has too many instructions".to_owned());
        }
    }
    let image = image.filter(|image| !image.is_empty()).ok_or("it has no FROM")?;
    if !has_user {
        steps.push(step("USER", &["user"]));
    }
    if !has_directory {
        steps.push(step("WORKDIR", &["/home/user"]));
    }
    Ok(Dockerfile { image, steps })
}

/// Names and values in turn.
fn variables(text: &str) -> Vec<&str> {
    if !text.contains('=') {
        let (name, value) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        return vec![name, value.trim()];
    }
    let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.flat_map(|(name, value)| [name, value.trim_matches('"')]).collect()
}

/// Instructions: comments and blank lines gone, lines that end with a backslash joined to the next.
fn joined(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (part, goes_on) = line.strip_suffix('\\').map_or((line, false), |part| (part, true));
        open.push_str(part);
        if goes_on {
            open.push(' ');
        } else {
            lines.push(std::mem::take(&mut open));
        }
    }
    lines.extend((!open.trim().is_empty()).then_some(open));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dockerfile_becomes_steps() {
        let text = "# a comment\nFROM --platform=linux/amd64 debian:12 AS base\nENV A=1 B=\"2\"\nENV OLD style\nRUN apt-get update && \\\n  apt-get install -y git\nEXPOSE 80\nCMD [\"bash\"]";
        let docker = parse(text).unwrap();
        assert_eq!(docker.image, "debian:12");
        let kinds: Vec<_> = docker.steps.iter().map(|step| step["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["USER", "WORKDIR", "ENV", "ENV", "RUN", "USER", "WORKDIR"]);
        assert_eq!(docker.steps[2]["args"], json!(["A", "1", "B", "2"]));
        assert_eq!(docker.steps[3]["args"], json!(["OLD", "style"]));
        assert!(docker.steps[4]["args"][0].as_str().unwrap().contains("install -y git"));
    }

    #[test]
    fn what_cannot_be_built() {
        for text in ["", "RUN x", "FROM a\nFROM b", "FROM a\nCOPY . .", "FROM a\nADD x y", "FROM"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&format!("FROM a\n{}", "RUN x\n".repeat(MAX_STEPS))).is_err());
    }
}
