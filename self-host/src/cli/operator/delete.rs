//! `graph delete` and `user delete`: nothing is left of a graph, or of a user (sync.md 16).

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use http::Method;
use index::operator::{self, Access, Account, Who};
use serde_json::json;

use super::confirm::{confirm, yes};
use super::graphs::{access_table, user_of, with_user};
use super::ledger::{Ledger, existing};
use super::progress::Progress;
use super::surface::{Surface, encoded};
use super::target::{BOTH, Target, choose, with_target};
use crate::auth::Users;
use crate::cli::failure::{Failure, exit};
use crate::cli::output::Output;
use crate::cli::{Outcome, text};
use crate::config::Resolved;

/// `graph delete`.
pub(super) fn graph_command() -> Command {
    let command = Command::new("delete").about("Delete a graph, or all of a user, with members, keys and assets");
    with_target(command, BOTH).args([
        Arg::new("graph-id").long("graph-id").value_name("ID").help("this graph"),
        Arg::new("owned-by").long("owned-by").value_name("USER").help("all graphs of this user, by id or name"),
        yes(),
    ])
}

/// `user delete`.
pub(super) fn user_command() -> Command {
    let command = Command::new("delete").about("Delete a user, the user's graphs, keys, memberships and tokens");
    with_user(with_target(command, BOTH)).arg(yes())
}

/// Runs `graph delete`.
pub(super) async fn graphs(matches: &ArgMatches, output: Output) -> Outcome {
    let (graph_id, owner) = (text(matches, "graph-id"), text(matches, "owned-by"));
    if graph_id.is_some() == owner.is_some() {
        return Err(Failure::usage("pass exactly one of --graph-id or --owned-by"));
    }
    let (target, resolved) = choose(matches, output)?;
    let (ids, table) = match (graph_id, owner) {
        (Some(graph_id), _) => (vec![graph_id.clone()], graph_id),
        (None, owner) => {
            let ledger = Ledger::open(&target, false)?;
            let user = by_id_or_name(&ledger, &owner.unwrap_or_default()).await?;
            let owned = owned(&ledger, &user.id).await?;
            let table = access_table(&owned);
            (owned.into_iter().map(|graph| graph.graph_id).collect(), table)
        }
    };
    if ids.is_empty() {
        output.result(&json!({ "deleted": [] }), "there is nothing to delete");
        return Ok(ExitCode::SUCCESS);
    }
    let what = format!("{table}\nThis deletes {} with all that belongs to it, for everybody.", many(ids.len()));
    confirm(matches, output, &what, "DELETE")?;
    delete_all(&target, &resolved, &ids, output).await?;
    output.result(&json!({ "deleted": ids }), &format!("deleted: {}", ids.join(" ")));
    Ok(ExitCode::SUCCESS)
}

fn many(count: usize) -> String {
    if count == 1 { "one graph".to_owned() } else { format!("{count} graphs") }
}

async fn by_id_or_name(ledger: &Ledger, text: &str) -> Result<Account, Failure> {
    let mut found = operator::accounts(ledger, Who::Id(text)).await?;
    if found.is_empty() {
        found = operator::accounts(ledger, Who::Username(text)).await?;
    }
    match (found.pop(), found.is_empty()) {
        (Some(user), true) => Ok(user),
        (None, _) => Err(Failure::new("user-not-found", exit::FAILED, "there is no such user")),
        (Some(_), false) => Err(Failure::new("user-ambiguous", exit::FAILED, "several users have this name")
            .with_hint("name the user by id")),
    }
}

async fn owned(ledger: &Ledger, user_id: &str) -> Result<Vec<Access>, Failure> {
    let mut graphs = operator::access(ledger, user_id).await?;
    graphs.retain(|graph| graph.owner_user_id.as_deref() == Some(user_id));
    Ok(graphs)
}

/// Deletes graphs through their server, and what older servers leave of them in the index.
async fn delete_all(target: &Target, resolved: &Resolved, ids: &[String], output: Output) -> Result<(), Failure> {
    {
        let surface = Surface::open(target, resolved)?;
        let mut progress = Progress::new(output, "graphs");
        for (done, graph_id) in ids.iter().enumerate() {
            surface.ask(Method::DELETE, &format!("/admin/graphs/{}", encoded(graph_id)), None).await?;
            progress.at(done as u64 + 1, Some(ids.len() as u64), "deleted");
        }
    }
    if !matches!(target, Target::Server(_)) {
        let ledger = Ledger::open(target, false)?;
        for graph_id in ids {
            operator::remove_graph_keys(&ledger, graph_id).await?;
        }
    }
    Ok(())
}

/// Runs `user delete`.
pub(super) async fn user(matches: &ArgMatches, output: Output) -> Outcome {
    if text(matches, "username").is_some() == text(matches, "user-id").is_some() {
        return Err(Failure::usage("Pass exactly one of --username or --user-id."));
    }
    let (target, resolved) = choose(matches, output)?;
    if matches!(target, Target::Server(_)) {
        return Err(Failure::usage("a server does not show its index: name --data-dir, or --d1 with --base-url"));
    }
    let ledger = Ledger::open(&target, false)?;
    let user = match user_of(matches, &ledger).await {
        // A stored user who never called has no row.
        Err(failure) if failure.code == "user-not-found" => stored(matches, &target)?.ok_or(failure)?,
        user => user?,
    };
    let graphs = operator::access(&ledger, &user.id).await?;
    let ids: Vec<String> = owned(&ledger, &user.id).await?.into_iter().map(|graph| graph.graph_id).collect();
    let word = format!("DELETE USER {}", user.id);
    let what = format!(
        "{}\nThis deletes the user {} and {} that belong to the user; memberships of others' graphs end.",
        access_table(&graphs),
        user.id,
        many(ids.len())
    );
    confirm(matches, output, &what, &word)?;
    // The lock goes over to whoever deletes the graphs.
    drop(ledger);
    if !ids.is_empty() {
        delete_all(&target, &resolved, &ids, output).await?;
    }
    let ledger = Ledger::open(&target, false)?;
    let left = owned(&ledger, &user.id).await?;
    if !left.is_empty() {
        let names: Vec<_> = left.into_iter().map(|graph| graph.graph_id).collect();
        return Err(Failure::new(
            "graphs-left",
            exit::FAILED,
            format!("these graphs are still there: {}", names.join(" ")),
        ));
    }
    let removed = operator::remove_user(&ledger, &user.id).await?;
    let tokens = match &target {
        Target::Data(path) => Users::open(&existing(path)?.users())?.delete(&user.id)?,
        Target::Server(_) | Target::D1(..) => 0,
    };
    let row = operator::accounts(&ledger, Who::Id(&user.id)).await?;
    if !row.is_empty() {
        return Err(Failure::new("user-left", exit::FAILED, "the row of the user is still there"));
    }
    let data = json!({
        "user_id": user.id, "graphs": ids, "memberships": removed.memberships, "graph_keys": removed.graph_keys,
        "invitations": removed.invitations, "key_pairs": removed.key_pairs, "users": removed.users, "tokens": tokens,
    });
    output.result(&data, &format!("deleted: user {}, {}, {tokens} tokens", user.id, many(ids.len())));
    Ok(ExitCode::SUCCESS)
}

/// A stored user as an account.
fn stored(matches: &ArgMatches, target: &Target) -> Result<Option<Account>, Failure> {
    let Target::Data(path) = target else { return Ok(None) };
    let (name, id) = (text(matches, "username"), text(matches, "user-id"));
    let found = Users::open(&existing(path)?.users())?.list()?.into_iter().find(|user| {
        name.as_ref().is_some_and(|name| *name == user.username) || id.as_ref().is_some_and(|id| *id == user.user_id)
    });
    Ok(found.map(|user| Account {
        id: user.user_id,
        username: Some(user.username),
        email: user.email,
        email_verified: None,
        created_at: Some(user.created_at),
    }))
}
