//! `logseq-sync user`: stored users and their tokens (self-host.md 6.1).

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::duration::{millis, parse};
use super::failure::Failure;
use super::output::Output;
use super::{Outcome, flags, operator, text};
use crate::auth::{Listed, NewToken, NewUser, Users};
use crate::config::Config;
use crate::host::now_ms;
use crate::store::DataDir;

/// The verb.
pub(super) fn command() -> Command {
    let name = || Arg::new("name").value_name("NAME").required(true).help("the user's name");
    let label = || Arg::new("label").long("label").value_name("TEXT").help("what the token is for");
    let expires = || Arg::new("expires").long("expires").value_name("TIME").help("when the token ends: 90d");
    let token = |help| Arg::new("token").long("token").value_name("ID").help(help);
    let email = Arg::new("email").long("email").value_name("ADDRESS").help("the user's address; it counts as verified");
    let user_id = Arg::new("user-id").long("user-id").value_name("ID").help("the user's id, else a random one");
    let grace = Arg::new("grace").long("grace").value_name("TIME").help("how long the old token counts on: 24h");
    let verb = |name: &'static str, about: &'static str| flags::of_keys(Command::new(name).about(about), &["data_dir"]);
    Command::new("user").about("Users of this server and their tokens").subcommand_required(true).subcommands([
        verb("add", "Add a user; the token is shown once").args([name(), email, user_id, label(), expires()]),
        verb("token", "Make a further token, say for another device").args([name(), label(), expires()]),
        verb("list", "List users and tokens, never the tokens themselves"),
        verb("rotate", "Put a new token in the place of one, or of all").args([name(), token("this one alone"), grace]),
        verb("revoke", "End a token, or all of them and the user").args([name(), token("this one alone")]),
        operator::user_delete(),
    ])
}

/// Runs it.
pub(super) fn run(matches: &ArgMatches, output: Output) -> Outcome {
    let Some((verb, matches)) = matches.subcommand() else { return Err(Failure::usage("a verb is missing")) };
    if verb == "delete" {
        return operator::delete_user(matches, output);
    }
    let resolved = flags::resolve(matches)?;
    let data = DataDir::open(&Config::data_dir(&resolved))?;
    let mut users = Users::open(&data.users())?;
    let name = if verb == "list" { String::new() } else { text(matches, "name").unwrap_or_default() };
    match verb {
        "add" => {
            let user = NewUser {
                username: name,
                user_id: text(matches, "user-id"),
                email: text(matches, "email"),
                label: text(matches, "label"),
                expires_at: end(matches)?,
            };
            let (user_id, token) = users.add(&user)?;
            tell_token(output, &token, json!({ "user_id": user_id, "username": user.username }));
        }
        "token" => {
            let token = users.add_token(&name, text(matches, "label").as_deref(), end(matches)?)?;
            tell_token(output, &token, json!({ "username": name }));
        }
        "rotate" => {
            let grace = text(matches, "grace").map_or(Ok(0), |text| parse(&text).map(millis))?;
            let token = users.rotate(&name, text(matches, "token").as_deref(), grace)?;
            tell_token(output, &token, json!({ "username": name }));
        }
        "revoke" => {
            let revoked = users.revoke(&name, text(matches, "token").as_deref())?;
            output.result(&json!({ "username": name, "revoked": revoked }), &format!("revoked: {revoked}"));
        }
        _ => {
            let listed = users.list()?;
            output
                .result(&json!({ "users": listed.iter().map(as_json).collect::<Vec<_>>() }), table(&listed).trim_end());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// When a token ends.
fn end(matches: &ArgMatches) -> Result<Option<i64>, Failure> {
    let expires = text(matches, "expires").map(|text| parse(&text)).transpose()?;
    Ok(expires.map(|duration| now_ms().saturating_add(millis(duration))))
}

/// The token stands alone on its line.
fn tell_token(output: Output, token: &NewToken, mut data: Value) {
    if let Some(data) = data.as_object_mut() {
        data.insert("token_id".into(), token.token_id.as_str().into());
        data.insert("token".into(), token.token.as_str().into());
    }
    if !output.json {
        output.note("The token is shown this once:");
    }
    output.result(&data, &token.token);
}

fn time(ms: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
    at.ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

fn as_json(user: &Listed) -> Value {
    let tokens: Vec<Value> = user
        .tokens
        .iter()
        .map(|token| {
            json!({
                "token_id": token.token_id,
                "label": token.label,
                "created_at": time(token.created_at),
                "expires_at": token.expires_at.map(time),
                "revoked_at": token.revoked_at.map(time),
                "last_used_day": token.last_used_day,
            })
        })
        .collect();
    json!({
        "user_id": user.user_id,
        "username": user.username,
        "email": user.email,
        "created_at": time(user.created_at),
        "disabled_at": user.disabled_at.map(time),
        "tokens": tokens,
    })
}

fn table(users: &[Listed]) -> String {
    let now = now_ms();
    let mut text = format!("{:<20} {:<36} {:<28} {:>6} {:<10} STATUS\n", "USER", "ID", "EMAIL", "TOKENS", "LAST-USED");
    for user in users {
        let counts = |token: &&crate::auth::ListedToken| {
            token.revoked_at.is_none() && token.expires_at.is_none_or(|end| end > now)
        };
        let tokens = user.tokens.iter().filter(counts).count();
        let last = user.tokens.iter().filter_map(|token| token.last_used_day.as_deref()).max().unwrap_or("-");
        let status = if user.disabled_at.is_some() { "revoked" } else { "active" };
        let email = user.email.as_deref().unwrap_or("-");
        let _ =
            writeln!(text, "{:<20} {:<36} {email:<28} {tokens:>6} {last:<10} {status}", user.username, user.user_id);
    }
    text
}
