//! `logseq-sync quickstart` (self-host.md 3.1a): the first five minutes.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::failure::{Failure, exit};
use super::output::Output;
use super::{Outcome, flags, serve};
use crate::auth::{NewUser, Users};
use crate::config::Config;
use crate::serve::{Launch, Server};
use crate::store::DataDir;

/// The verb.
pub(super) fn command() -> Command {
    let lan = Arg::new("lan").long("lan").action(ArgAction::SetTrue).help("let other devices of the network in");
    flags::of_keys(
        Command::new("quickstart").about("Make a user, print the token, and serve on this machine"),
        &["data_dir", "port", "log.level"],
    )
    .arg(lan)
}

/// Where data lies unless somebody says otherwise.
fn data_home() -> Option<PathBuf> {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    given("XDG_DATA_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| given("HOME").map(|home| home.join(".local/share")))
        .map(|home| home.join("logseq-sync"))
}

/// Runs it.
pub(super) fn run(matches: &ArgMatches, output: Output) -> Outcome {
    let mut spawned = serve::spawned()?;
    let mut resolved = flags::resolve(matches)?;
    let lan = matches.get_flag("lan");
    let no_home =
        || Failure::new("no-home", exit::CONFIG, "HOME is not set").with_hint("name a folder with --data-dir");
    let home = data_home().ok_or_else(no_home)?;
    for (name, text) in [
        ("data_dir", home.display().to_string()),
        ("port", "8787".to_owned()),
        ("bind", if lan { "::" } else { "127.0.0.1" }.to_owned()),
        ("auth.driver", "static".to_owned()),
    ] {
        resolved.set_default(name, &text);
    }
    let config = Config::new(&resolved).map_err(Failure::from)?;
    let data = DataDir::open(&config.data_dir)?;
    let mut users = Users::open(&data.users())?;
    let made = if users.list()?.is_empty() {
        let user = NewUser { username: "me".into(), label: Some("quickstart".into()), ..NewUser::default() };
        Some(users.add(&user)?.1)
    } else {
        None
    };
    drop(users);
    if lan {
        output.note(
            "warning: other devices of the network reach the server, in plain HTTP: whoever listens there reads along",
        );
    }
    let ready = |server: &Server| {
        let address = server.addresses().join(" or ");
        output.note(&format!("\nIn the client, enter as sync server: {address}"));
        match made {
            Some(token) => output.note(&format!(
                "and as token (shown once, kept only as a hash):\n\n    {}\n\nAnother token, say for a phone: logseq-sync user token me --data-dir {}\n",
                token.token,
                server.data_dir().display(),
            )),
            None => output.note(&format!(
                "with the token of the first start; another one: logseq-sync user token me --data-dir {}\n",
                server.data_dir().display(),
            )),
        }
    };
    let mut none = || Err("quickstart reads no configuration again".into());
    let launch = Launch { owner: serve::owner_of(None), ..Launch::of_command_line() };
    serve::serve(config, launch, output, ready, &mut none, &mut spawned)
}
