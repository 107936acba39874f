//! The rows of an index as a whole, for a move to another deployment: users, graphs, members and keys. Who was active on
//! which day stays behind.
//!
//! What is taken over never changes a row that is there: a user's keys may have been made anew since. A graph that is new
//! here is not ready until its rows were uploaded, whatever it was elsewhere.

use std::collections::BTreeMap;

use database::{Cell, Database, DbError, Param, ReadFrom, Statement};

use crate::Error;

/// Rows that are read at a time.
const PAGE: usize = 500;

/// Rows that are written at a time.
const BATCH: usize = 50;

/// A table that moves.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns. Those of the key come first, and are texts.
    pub columns: &'static [&'static str],
    /// How many columns the key has.
    pub key: usize,
    /// Columns that may differ between two deployments that say the same.
    passing: &'static [&'static str],
}

/// All tables that move, in the order in which they are written.
pub const TABLES: &[Table] = &[
    Table {
        name: "users",
        columns: &["id", "email", "email_verified", "username", "created_at"],
        key: 1,
        passing: &["created_at"],
    },
    Table {
        name: "user_rsa_keys",
        columns: &["user_id", "public_key", "encrypted_private_key", "created_at", "updated_at"],
        key: 1,
        passing: &["created_at", "updated_at"],
    },
    Table {
        name: "graphs",
        columns: &[
            "graph_id",
            "graph_name",
            "user_id",
            "schema_version",
            "graph_e2ee",
            "graph_ready_for_use",
            "created_at",
            "updated_at",
        ],
        key: 1,
        passing: &["schema_version", "graph_ready_for_use", "created_at", "updated_at"],
    },
    Table {
        name: "graph_members",
        columns: &["graph_id", "user_id", "role", "invited_by", "created_at"],
        key: 2,
        passing: &["created_at"],
    },
    Table {
        name: "graph_aes_keys",
        columns: &["graph_id", "user_id", "encrypted_aes_key", "created_at", "updated_at"],
        key: 2,
        passing: &["created_at", "updated_at"],
    },
];

/// A row, its cells in the order of the table's columns.
pub type Cells = Vec<Cell>;

impl Table {
    /// The table of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        TABLES.iter().find(|table| table.name == name)
    }

    /// The text of a row's key; none where a part of it is missing, which no row of a working index lacks.
    fn key_of(&self, row: &[Cell]) -> Option<Vec<String>> {
        let part = |cell: &Cell| match cell {
            Cell::Text(text) => Some(text.clone()),
            _ => None,
        };
        row.get(..self.key)?.iter().map(part).collect()
    }

    /// Whether two rows of one key say the same.
    fn agree(&self, left: &[Cell], right: &[Cell]) -> bool {
        let pairs = left.iter().zip(right).zip(self.columns);
        pairs.filter(|(_, column)| !self.passing.contains(column)).all(|((left, right), _)| left == right)
    }

    fn place(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|name| *name == column)
    }
}

/// Shows every row of the tables that move, in order of their keys.
pub async fn read(db: &impl Database, row: &mut dyn FnMut(&'static Table, Cells)) -> Result<(), Error> {
    for table in TABLES {
        let columns = table.columns.join(", ");
        let key = table.columns.get(..table.key).unwrap_or_default().join(", ");
        let marks = vec!["?"; table.key].join(", ");
        let first = format!("SELECT {columns} FROM {} ORDER BY {key} LIMIT {PAGE}", table.name);
        let next =
            format!("SELECT {columns} FROM {} WHERE ({key}) > ({marks}) ORDER BY {key} LIMIT {PAGE}", table.name);
        let mut after: Option<Vec<String>> = None;
        // Ends: each page begins beyond the one before it.
        loop {
            let rows = match &after {
                None => db.query(ReadFrom::Primary, &first, &[]).await?,
                Some(after) => {
                    let params: Vec<Param<'_>> = after.iter().map(|part| Param::Text(part)).collect();
                    db.query(ReadFrom::Primary, &next, &params).await?
                }
            };
            let last = rows.last().and_then(|row| table.key_of(&row.0));
            let is_full = rows.len() == PAGE;
            for found in rows {
                row(table, found.0);
            }
            match last {
                Some(last) if is_full => after = Some(last),
                _ => break,
            }
        }
    }
    Ok(())
}

/// What becomes of the rows of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows that are new here.
    pub added: usize,
    /// Rows that are here already.
    pub same: usize,
    /// Keys of rows that are here and say something else, which they go on to say.
    pub kept: Vec<String>,
}

/// What is to be done to take an index over.
#[derive(Debug, Default)]
pub struct Plan {
    insert: Vec<(&'static Table, Cells)>,
    /// What becomes of the rows, for each table in order.
    pub tallies: Vec<(&'static str, Tally)>,
    /// Graphs that belong to somebody else here: then nothing may be written.
    pub foreign: Vec<String>,
}

/// Compares rows with those that are there. Rows of a foreign graph are a reason to refuse all of them.
pub async fn plan(db: &impl Database, incoming: Vec<(&'static Table, Cells)>) -> Result<Plan, Error> {
    let mut here: BTreeMap<(&'static str, Vec<String>), Cells> = BTreeMap::new();
    read(db, &mut |table, row| {
        here.extend(table.key_of(&row).map(|key| ((table.name, key), row)));
    })
    .await?;
    let mut plan = Plan::default();
    plan.tallies.extend(TABLES.iter().map(|table| (table.name, Tally::default())));
    for (table, mut row) in incoming {
        let Some(key) = table.key_of(&row) else { continue };
        let Some((_, tally)) = plan.tallies.iter_mut().find(|(name, _)| *name == table.name) else { continue };
        match here.get(&(table.name, key.clone())) {
            None => {
                tally.added += 1;
                if let Some(ready) = table.place("graph_ready_for_use").and_then(|place| row.get_mut(place)) {
                    *ready = Cell::Number(0.0);
                }
                here.insert((table.name, key), row.clone());
                plan.insert.push((table, row));
            }
            Some(known) if table.agree(known, &row) => tally.same += 1,
            Some(known) => {
                let owner = |row: &[Cell]| (table.name == "graphs").then(|| row.get(2).cloned());
                if owner(known) == owner(&row) {
                    tally.kept.push(key.join(" "));
                } else {
                    plan.foreign.push(key.join(" "));
                }
            }
        }
    }
    Ok(plan)
}

impl Plan {
    /// How many rows are to be written.
    pub fn rows(&self) -> usize {
        self.insert.len()
    }

    /// Writes what is new; `done` is told how many rows were written so far. Written again after an interruption, the rest
    /// follows.
    pub async fn write(&self, db: &impl Database, done: &mut dyn FnMut(usize)) -> Result<(), DbError> {
        let mut written = 0;
        for part in self.insert.chunks(BATCH) {
            let texts: Vec<String> = part.iter().map(|(table, _)| insert(table)).collect();
            let params: Vec<Vec<Param<'_>>> = part.iter().map(|(_, row)| row.iter().map(param).collect()).collect();
            let statements: Vec<Statement<'_>> =
                texts.iter().zip(&params).map(|(text, params)| (&**text, &**params)).collect();
            db.batch(&statements).await?;
            written += part.len();
            done(written);
        }
        Ok(())
    }
}

fn insert(table: &Table) -> String {
    let marks = vec!["?"; table.columns.len()].join(", ");
    format!("INSERT INTO {} ({}) VALUES ({marks}) ON CONFLICT DO NOTHING", table.name, table.columns.join(", "))
}

#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and fractions do not occur in our schemas")]
fn param(cell: &Cell) -> Param<'_> {
    match cell {
        Cell::Null => Param::Null,
        Cell::Number(number) => Param::Int(*number as i64),
        Cell::Text(text) => Param::Text(text),
    }
}
