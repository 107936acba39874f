//! `server start` takes the flags of `serve`, which this crate does not know: they are handed on as they are, and the daemon
//! judges them.

use std::ffi::OsString;

/// Own flags that have a value.
const WITH_VALUE: [&str; 6] = ["--data-dir", "--root-dir", "--graph", "--owner", "--timeout", "--hang-limit"];

/// Own flags without one.
const WITHOUT: [&str; 7] = ["--take-over", "--force", "--json", "--quiet", "--compat-logseq", "--help", "-h"];

/// Arranges the arguments of a program for its parser: in `server start` and `server restart` the flags that are not theirs
/// go behind `--`. Other command lines stay as they are.
pub fn arrange(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // Before the first word there may be flags of the whole program.
    let is_flag = |argument: &OsString| argument.to_string_lossy().starts_with('-');
    let word = 1 + arguments.iter().skip(1).take_while(|argument| is_flag(argument)).count();
    let starts = match arguments.get(word..word + 2) {
        Some([word, verb]) => word == "server" && (verb == "start" || verb == "restart"),
        _ => false,
    };
    if !starts {
        return arguments;
    }
    let mut rest = arguments.into_iter();
    let mut own: Vec<OsString> = rest.by_ref().take(word + 2).collect();
    let mut handed_on = Vec::new();
    let mut rest = rest.peekable();
    // Bounded by the number of arguments.
    while let Some(argument) = rest.next() {
        let text = argument.to_string_lossy().into_owned();
        if text == "--" {
            handed_on.extend(rest);
            break;
        }
        let flag = text.split_once('=').map_or(text.as_str(), |(flag, _)| flag);
        if WITH_VALUE.contains(&flag) {
            own.push(argument);
            if !text.contains('=') {
                own.extend(rest.next());
            }
        } else if WITHOUT.contains(&flag) {
            own.push(argument);
        } else {
            handed_on.push(argument);
            // A verb takes no words, so what does not look like a flag is the value of the one before.
            handed_on.extend(rest.next_if(|next| !next.to_string_lossy().starts_with('-') || next == "-"));
        }
    }
    if !handed_on.is_empty() {
        own.push("--".into());
        own.extend(handed_on);
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arranged(line: &str) -> String {
        let words = arrange(line.split(' ').map(OsString::from));
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn flags_of_serve_go_behind_and_own_ones_stay() {
        let line =
            "x server start --port 9000 --data-dir d --allow-weak-lock --timeout=5 --tls-cert=c --json --auth-token -";
        let expected = "x server start --data-dir d --timeout=5 --json -- --port 9000 --allow-weak-lock --tls-cert=c --auth-token -";
        assert_eq!(arranged(line), expected);
        assert_eq!(arranged("x --json server start --port 1"), "x --json server start -- --port 1");
        assert_eq!(arranged("x server restart -- --json"), "x server restart -- --json");
    }

    #[test]
    fn other_lines_stay_as_they_are() {
        for line in ["x", "x server", "x server stop --port 1", "x serve --port 1", "x server start --json"] {
            assert_eq!(arranged(line), line);
        }
    }

    #[test]
    fn the_parser_knows_every_flag_that_stays() {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            start: super::super::Start,
        }
        use clap::CommandFactory as _;
        let command = Cli::command();
        let mut known: Vec<String> = command
            .get_arguments()
            .flat_map(|argument| argument.get_long_and_visible_aliases().unwrap_or_default())
            .map(|name| format!("--{name}"))
            .collect();
        known.extend(["--root-dir", "--help", "-h"].map(str::to_owned));
        known.sort();
        let mut own: Vec<String> = WITH_VALUE.iter().chain(&WITHOUT).map(|&flag| flag.to_owned()).collect();
        own.sort();
        assert_eq!(own, known);
    }
}
