//! D1 through the wrangler command line, as upstream's scripts use it (sync.md 16).
//!
//! Wrangler takes whole statements, so values are written into them. A text becomes a literal that no tool on the way can
//! read as anything else: plain letters in quotes, everything else as hexadecimal digits.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use database::{Cell, Database, DbError, Param, ReadFrom, Row, Statement};
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

/// Bytes of statements that are given on the command line; longer ones go through a file.
const COMMAND_BYTES: usize = 100_000;

/// A database of a deployment.
#[derive(Clone, Debug)]
pub(super) struct Wrangler {
    /// Its binding or name.
    pub(super) database: String,
    /// The environment of the configuration; `local` is the local database of the default one.
    pub(super) environment: String,
    /// Wrangler's configuration.
    pub(super) config: Option<PathBuf>,
    /// Where local storage lies.
    pub(super) persist_to: Option<PathBuf>,
}

/// What wrangler says of a statement.
#[derive(Debug, Deserialize)]
struct Told {
    #[serde(default)]
    results: Vec<Values>,
    #[serde(default)]
    meta: Meta,
}

#[derive(Debug, Default, Deserialize)]
struct Meta {
    changes: Option<u64>,
}

/// The values of an object in the order in which they stand, which is that of the select list.
#[derive(Debug)]
struct Values(Vec<Cell>);

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Values;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a row")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Values, A::Error> {
                let mut cells = Vec::new();
                while let Some((_, value)) = map.next_entry::<serde::de::IgnoredAny, serde_json::Value>()? {
                    cells.push(match value {
                        serde_json::Value::String(text) => Cell::Text(text),
                        serde_json::Value::Number(number) => number.as_f64().map_or(Cell::Null, Cell::Number),
                        serde_json::Value::Bool(flag) => Cell::Number(f64::from(u8::from(flag))),
                        _ => Cell::Null,
                    });
                }
                Ok(Values(cells))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl Wrangler {
    fn run(&self, sql: &str) -> Result<Vec<Told>, DbError> {
        let mut command = Command::new("wrangler");
        command.args(["d1", "execute", &self.database, "--json", "--yes"]);
        if self.environment == "local" {
            command.arg("--local");
            if let Some(folder) = &self.persist_to {
                command.arg("--persist-to").arg(folder);
            }
        } else {
            command.args(["--remote", "--env", &self.environment]);
        }
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        // Kept until wrangler has ended.
        let mut file = None;
        if sql.len() <= COMMAND_BYTES {
            command.arg("--command").arg(sql);
        } else {
            let path = std::env::temp_dir().join(format!("logseq-sync-{}.sql", crate::host::random_uuid()));
            let written = Scratch::write(path, sql).map_err(|error| DbError(error.to_string()))?;
            command.arg("--file").arg(&file.insert(written).0);
        }
        command.env("WRANGLER_SEND_METRICS", "false").stdin(Stdio::null());
        let done = command.output().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => DbError("there is no wrangler on the path: npm install -g wrangler".into()),
            _ => DbError(format!("wrangler: {error}")),
        })?;
        let text = String::from_utf8_lossy(&done.stdout);
        if !done.status.success() {
            return Err(DbError(format!("wrangler: {}", complaint(&text, &String::from_utf8_lossy(&done.stderr)))));
        }
        // Before its answer it may say what version there is.
        let answer = text.find('[').and_then(|start| text.get(start..)).unwrap_or_default();
        serde_json::from_str(answer).map_err(|error| DbError(format!("wrangler's answer cannot be read: {error}")))
    }
}

/// Why wrangler has failed: what it says as JSON, else its last words.
fn complaint(out: &str, err: &str) -> String {
    let json: Option<serde_json::Value> =
        out.find('{').and_then(|start| out.get(start..)).and_then(|text| serde_json::from_str(text).ok());
    let told = json.as_ref().and_then(|json| json.pointer("/error/text")).and_then(serde_json::Value::as_str);
    let words = || err.lines().chain(out.lines()).map(str::trim).find(|line| line.contains("ERROR"));
    let last = || err.lines().chain(out.lines()).map(str::trim).rfind(|line| !line.is_empty());
    told.or_else(words).or_else(last).unwrap_or("it has failed without a word").to_owned()
}

/// A file that goes when it is no longer needed: it may hold keys.
struct Scratch(PathBuf);

impl Scratch {
    fn write(path: PathBuf, text: &str) -> std::io::Result<Self> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut file = std::fs::File::options().create_new(true).write(true).mode(0o600).open(&path)?;
        let scratch = Self(path);
        file.write_all(text.as_bytes())?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The statement with its parameters in it.
fn whole(sql: &str, params: &[Param<'_>]) -> Result<String, DbError> {
    let mut text = String::with_capacity(sql.len());
    let mut left = params.iter();
    // Our statements have a question mark for a parameter alone.
    for (place, part) in sql.split('?').enumerate() {
        if place > 0 {
            let param = left.next().ok_or_else(|| DbError("a statement with too few values".into()))?;
            literal(&mut text, param);
        }
        text.push_str(part);
    }
    match left.next() {
        None => Ok(text),
        Some(_) => Err(DbError("a statement with too many values".into())),
    }
}

fn literal(out: &mut String, param: &Param<'_>) {
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" _-.:@/".contains(&byte));
    // Writing to a string does not fail.
    let _ = match param {
        Param::Null => write!(out, "NULL"),
        Param::Int(number) => write!(out, "{number}"),
        Param::Text(text) if is_plain(text) && !text.contains("--") && !text.contains("/*") => write!(out, "'{text}'"),
        Param::Text(text) => {
            out.push_str("CAST(X'");
            for byte in text.bytes() {
                let _ = write!(out, "{byte:02X}");
            }
            write!(out, "' AS TEXT)")
        }
    };
}

impl Database for Wrangler {
    async fn query(&self, _: ReadFrom, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        let told = self.run(&whole(sql, params)?)?;
        Ok(told.into_iter().flat_map(|told| told.results).map(|values| Row(values.0)).collect())
    }

    async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, DbError> {
        let told = self.run(&whole(sql, params)?)?;
        Ok(told.first().and_then(|told| told.meta.changes).unwrap_or_default())
    }

    async fn batch(&self, statements: &[Statement<'_>]) -> Result<Vec<u64>, DbError> {
        let texts = statements.iter().map(|(sql, params)| whole(sql, params)).collect::<Result<Vec<_>, _>>()?;
        let told = self.run(&texts.join(";\n"))?;
        Ok(told.iter().map(|told| told.meta.changes.unwrap_or_default()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_chose_is_never_code() {
        let sql = "UPDATE t SET a = ?, b = ? WHERE c = ?";
        let params = [Param::Text("O'Neil'; DROP TABLE t; --"), Param::Null, Param::Int(-7)];
        let text = whole(sql, &params).unwrap();
        let (start, rest) = text.split_once("X'").unwrap();
        assert_eq!(start, "UPDATE t SET a = CAST(");
        let (hex, rest) = rest.split_once('\'').unwrap();
        assert!(hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(rest, " AS TEXT), b = NULL WHERE c = -7");
        assert_eq!(whole("x = ?", &[Param::Text("plain text-1")]).unwrap(), "x = 'plain text-1'");
        assert!(whole("x = ?", &[Param::Text("a--b")]).unwrap().contains("CAST"));
        assert!(whole("x = ?", &[Param::Text("what?")]).unwrap().contains("CAST"));
        assert!(whole("x = ?", &[]).is_err() && whole("x", &[Param::Null]).is_err());
    }

    #[test]
    fn literals_are_what_was_meant() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        for text in ["", "plain", "a'b", "日本\n\"語\"", "/* c */", "semi;colon", "\u{1}\\"] {
            let sql = whole("SELECT ?", &[Param::Text(text)]).unwrap();
            let found: String = connection.query_row(&sql, (), |row| row.get(0)).unwrap();
            assert_eq!(found, text);
        }
    }

    #[test]
    fn answers_keep_the_order_of_their_columns() {
        let text =
            r#"[{"results":[{"z":"1","a":2,"m":null,"b":true}],"success":true,"meta":{"changes":3,"duration":1}}]"#;
        let told: Vec<Told> = serde_json::from_str(text).unwrap();
        assert_eq!(told[0].results[0].0, [Cell::Text("1".into()), Cell::Number(2.0), Cell::Null, Cell::Number(1.0)]);
        assert_eq!(told[0].meta.changes, Some(3));
        assert_eq!(complaint(r#"{"error":{"text":"no such table"}}"#, ""), "no such table");
        assert_eq!(complaint("", "\n✘ [ERROR] not logged in\n\nlogs in x"), "✘ [ERROR] not logged in");
    }
}
