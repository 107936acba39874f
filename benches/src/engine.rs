//! Part (a): transactions of 7 datoms a second in memory, the counterpart of `js/npm-datascript.mjs`.

use std::rc::Rc;
use std::time::Instant;

use datascript::{Attrs, Db, Nodes, Value, with};
use uuid::Uuid;

use crate::rate;
use crate::workload::{BLOCKS_PER_PAGE, block_tx, page_tx};

const TRANSACTIONS: usize = 10_000;
const ROUNDS: usize = 7;

/// Prints the figure.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut page = Uuid::nil();
    let mut texts = Vec::new();
    for i in 0..TRANSACTIONS {
        if i % BLOCKS_PER_PAGE == 0 {
            page = Uuid::new_v4();
            texts.push(
                page_tx(page, &format!("page {i}"))
                    .replace(r#","~:logseq.class/Page""#, r#",["^1","~u00000000-0000-4000-8000-000000000000"]"#),
            );
        }
        texts.push(block_tx(Uuid::new_v4(), page, i));
    }
    let transactions: Vec<Value> = texts.iter().map(|text| transit::read_str(text)).collect::<Result<_, _>>()?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let attrs = Attrs::new(graph::rules::attrs::PRESET);
        let nodes = Rc::new(Nodes::new(None, Rc::clone(&attrs), usize::MAX));
        let empty = Db::empty(nodes, graph::rules::static_schema(attrs));
        // The class of pages, with which they are tagged.
        let class = transit::read_str(r#"[["~:db/add",-1,"~:block/uuid","~u00000000-0000-4000-8000-000000000000"]]"#)?;
        let mut db = with(&empty, class.as_seq().unwrap_or_default())?.db_after;
        let start = Instant::now();
        for items in &transactions {
            db = with(&db, items.as_seq().unwrap_or_default())?.db_after;
        }
        rounds.push(start.elapsed());
        anyhow::ensure!(db.count() > TRANSACTIONS * 7, "lost datoms");
    }
    println!("{}", serde_json::json!({ "part": "engine", "transactionsPerSecond": rate(TRANSACTIONS, rounds) }));
    Ok(())
}
