//! `graphs` (a user's), and `graph list` and `graph info` (those of the deployment).

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use index::operator::{self, Access, Account, Listed, Who, instant};
use serde_json::{Value, json};

use super::ledger::Ledger;
use super::table::{columns, or_dash};
use super::target::{INDEX, choose, with_target};
use super::{delete, download, upload};
use crate::cli::failure::{Failure, exit};
use crate::cli::output::Output;
use crate::cli::{Outcome, text};

/// Adds the flags that name a user.
pub(super) fn with_user(command: Command) -> Command {
    command.args([
        Arg::new("username").long("username").value_name("NAME").help("the user, by name"),
        Arg::new("user-id").long("user-id").value_name("ID").help("the user, by id"),
    ])
}

/// `graphs`.
pub(super) fn command() -> Command {
    with_user(with_target(Command::new("graphs").about("Show the graphs of a user"), INDEX))
}

/// `graph`.
pub(super) fn graph_command() -> Command {
    let id = || Arg::new("graph-id").long("graph-id").value_name("ID").required(true).help("the graph");
    Command::new("graph").about("Graphs of a deployment").subcommand_required(true).subcommands([
        with_target(Command::new("list").about("Show all graphs"), INDEX),
        with_target(Command::new("info").about("Show one graph and its members"), INDEX).arg(id()),
    ])
}

/// The one user whom flags name.
pub(super) async fn user_of(matches: &ArgMatches, ledger: &Ledger) -> Result<Account, Failure> {
    let (username, id) = (text(matches, "username"), text(matches, "user-id"));
    let who = match (&username, &id) {
        (Some(name), None) => Who::Username(name),
        (None, Some(id)) => Who::Id(id),
        _ => return Err(Failure::usage("Pass exactly one of --username or --user-id.")),
    };
    let mut found = operator::accounts(ledger, who).await?;
    match (found.pop(), found.is_empty()) {
        (Some(user), true) => Ok(user),
        (None, _) => Err(Failure::new("user-not-found", exit::FAILED, "there is no such user")),
        (Some(_), false) => Err(Failure::new("user-ambiguous", exit::FAILED, "several users have this name")
            .with_hint("name the user with --user-id")),
    }
}

/// A user as JSON.
pub(super) fn user_json(user: &Account) -> Value {
    json!({
        "id": user.id,
        "username": user.username,
        "email": user.email,
        "email_verified": user.email_verified,
        "created_at": user.created_at.map(instant),
    })
}

fn access_json(access: &Access) -> Value {
    json!({
        "graph_id": access.graph_id,
        "graph_name": access.graph_name,
        "access_role": access.access_role,
        "invited_by": access.invited_by,
        "owner_user_id": access.owner_user_id,
        "owner_username": access.owner_username,
        "owner_email": access.owner_email,
        "schema_version": access.schema_version,
        "graph_e2ee": access.graph_e2ee,
        "graph_ready_for_use": access.graph_ready_for_use,
        "created_at": access.created_at.map(instant),
        "updated_at": access.updated_at.map(instant),
    })
}

/// The graphs of somebody, in words.
pub(super) fn access_table(graphs: &[Access]) -> String {
    let rows: Vec<Vec<String>> = graphs
        .iter()
        .map(|it| {
            vec![
                it.graph_id.clone(),
                or_dash(it.graph_name.as_deref()),
                or_dash(it.access_role.as_deref()),
                or_dash(it.owner_username.as_deref()),
                it.graph_e2ee.to_string(),
                it.graph_ready_for_use.to_string(),
                it.updated_at.map_or_else(|| "-".to_owned(), instant),
            ]
        })
        .collect();
    columns(&["GRAPH-ID", "NAME", "ROLE", "OWNER", "E2EE", "READY", "UPDATED"], &rows)
}

/// Shows what a user may use.
pub(super) async fn of_user(matches: &ArgMatches, output: Output) -> Outcome {
    let (target, _) = choose(matches, output)?;
    // Before anything is opened: a wrong selection is wrong wherever it points.
    if text(matches, "username").is_some() == text(matches, "user-id").is_some() {
        return Err(Failure::usage("Pass exactly one of --username or --user-id."));
    }
    let ledger = Ledger::open(&target, false)?;
    let user = user_of(matches, &ledger).await?;
    let graphs = operator::access(&ledger, &user.id).await?;
    let data = json!({ "user": user_json(&user), "graphs": graphs.iter().map(access_json).collect::<Vec<_>>() });
    let who = format!("{} {} {}", user.id, or_dash(user.username.as_deref()), or_dash(user.email.as_deref()));
    output.result(&data, &format!("{who}\n{}\nCount: {}", access_table(&graphs), graphs.len()));
    Ok(ExitCode::SUCCESS)
}

fn listed_json(graph: &Listed) -> Value {
    json!({
        "graph_id": graph.graph_id,
        "graph_name": graph.graph_name,
        "owner_user_id": graph.owner_user_id,
        "owner_username": graph.owner_username,
        "schema_version": graph.schema_version,
        "graph_e2ee": graph.graph_e2ee,
        "graph_ready_for_use": graph.graph_ready_for_use,
        "members": graph.members,
        "created_at": graph.created_at.map(instant),
        "updated_at": graph.updated_at.map(instant),
    })
}

/// Runs a verb about graphs.
pub(super) async fn run(matches: &ArgMatches, output: Output) -> Outcome {
    match matches.subcommand() {
        Some(("list", matches)) => list(matches, output).await,
        Some(("info", matches)) => info(matches, output).await,
        Some(("download", matches)) => download::run(matches, output).await,
        Some(("upload", matches)) => upload::run(matches, output).await,
        Some(("delete", matches)) => delete::graphs(matches, output).await,
        _ => Err(Failure::usage("a verb is missing")),
    }
}

async fn list(matches: &ArgMatches, output: Output) -> Outcome {
    let (target, _) = choose(matches, output)?;
    let ledger = Ledger::open(&target, false)?;
    let graphs = operator::graphs(&ledger, None).await?;
    let rows: Vec<Vec<String>> = graphs
        .iter()
        .map(|it| {
            vec![
                it.graph_id.clone(),
                or_dash(it.graph_name.as_deref()),
                or_dash(it.owner_username.as_deref().or(it.owner_user_id.as_deref())),
                it.members.to_string(),
                it.graph_e2ee.to_string(),
                it.graph_ready_for_use.to_string(),
                it.updated_at.map_or_else(|| "-".to_owned(), instant),
            ]
        })
        .collect();
    let table = columns(&["GRAPH-ID", "NAME", "OWNER", "MEMBERS", "E2EE", "READY", "UPDATED"], &rows);
    let data = json!({ "graphs": graphs.iter().map(listed_json).collect::<Vec<_>>(), "count": graphs.len() });
    output.result(&data, &format!("{table}\nCount: {}", graphs.len()));
    Ok(ExitCode::SUCCESS)
}

async fn info(matches: &ArgMatches, output: Output) -> Outcome {
    let (target, _) = choose(matches, output)?;
    let graph_id = text(matches, "graph-id").unwrap_or_default();
    let ledger = Ledger::open(&target, false)?;
    let graph = operator::graphs(&ledger, Some(&graph_id)).await?.pop();
    let graph = graph.ok_or_else(|| not_found(&graph_id))?;
    let members = index::members::list(&ledger, &graph_id).await?;
    let mut data = listed_json(&graph);
    let told: Vec<Value> = members
        .iter()
        .map(|it| {
            json!({
                "user_id": it.user_id, "username": it.username, "email": it.email, "role": it.role.as_str(),
                "invited_by": it.invited_by, "created_at": instant(it.created_at),
            })
        })
        .collect();
    if let Some(data) = data.as_object_mut() {
        data.insert("members".into(), told.into());
    }
    let mut words = vec![
        format!("graph_id: {}", graph.graph_id),
        format!("graph_name: {}", or_dash(graph.graph_name.as_deref())),
        format!("owner: {} {}", or_dash(graph.owner_user_id.as_deref()), or_dash(graph.owner_username.as_deref())),
        format!("schema_version: {}", or_dash(graph.schema_version.as_deref())),
        format!("graph_e2ee: {}", graph.graph_e2ee),
        format!("graph_ready_for_use: {}", graph.graph_ready_for_use),
        format!("created_at: {}", graph.created_at.map_or_else(|| "-".to_owned(), instant)),
        format!("updated_at: {}", graph.updated_at.map_or_else(|| "-".to_owned(), instant)),
    ];
    words.extend(
        members
            .iter()
            .map(|it| format!("member: {} {} {}", it.user_id, or_dash(it.username.as_deref()), it.role.as_str())),
    );
    output.result(&data, &words.join("\n"));
    Ok(ExitCode::SUCCESS)
}

/// There is no such graph.
pub(super) fn not_found(graph_id: &str) -> Failure {
    Failure::new("graph-not-found", exit::FAILED, format!("there is no graph {graph_id}"))
}
