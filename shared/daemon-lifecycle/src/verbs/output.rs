//! Results as JSON or words (self-host.md 1).

use std::io::Write;

use serde_json::{Value, json};

use super::{Common, Outcome};
use crate::{Error, Owner};

/// Writes a result; what comes back is the exit code. A reader that has gone is no failure.
pub(super) fn write(result: Result<Outcome, Error>, common: &Common, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match result {
        Ok(Outcome { mut data, words, exit }) => {
            if common.compat_logseq {
                compatible(&mut data);
            }
            if common.json {
                let _ = writeln!(out, "{}", json!({ "status": "ok", "data": data }));
            } else if !common.quiet {
                let _ = writeln!(out, "{words}");
            }
            exit
        }
        Err(error) => {
            if common.json {
                let mut members = Value::Object(error.members());
                if common.compat_logseq {
                    compatible(&mut members);
                }
                let _ = writeln!(out, "{}", json!({ "status": "error", "error": members }));
            } else {
                let _ = writeln!(err, "error: {error}");
                if let Some(hint) = error.hint() {
                    let _ = writeln!(err, "hint: {hint}");
                }
            }
            error.exit()
        }
    }
}

/// Owners as Logseq's own tools print them, under the name that they look for, too.
fn compatible(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(compatible),
        Value::Object(members) => {
            members.values_mut().for_each(compatible);
            if let Some(owner) = members.get("owner").and_then(Value::as_str) {
                let name = Owner::read(owner).compatible_name();
                members.insert("owner".to_owned(), name.into());
                members.insert("owner-source".to_owned(), name.into());
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_read_as_logseqs_tools_print_them() {
        let mut value = json!({ "servers": [{ "owner": "desktop" }, { "owner": "cli" }] });
        compatible(&mut value);
        assert_eq!(value["servers"][0], json!({ "owner": "electron", "owner-source": "electron" }));
        assert_eq!(value["servers"][1]["owner-source"], "cli");
    }
}
