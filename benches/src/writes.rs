//! Part `writes`: what a transaction writes and costs over a graph of 200,000 datoms, with the journal and with the tail.

use std::path::Path;
use std::time::{Duration, Instant};

use graph::{Options, WritePolicy};
use uuid::Uuid;

use crate::pipeline::{Subject, processor_time};
use crate::workload::{block_tx, message, move_tx, title_tx};

const DATOMS: usize = 200_000;
const BATCH: usize = 50;
/// Transactions that fill a journal together: in so few rows that datoms are what fills it.
const TOGETHER: usize = 10;
/// Transactions of each workload.
const SINGLES: usize = 2_000;
const IN_BATCHES: usize = 6_000;

/// What was measured of one workload, for one transaction.
struct Figure {
    name: &'static str,
    rows: f64,
    bytes: f64,
    cpu_us: f64,
}

/// Prints the figures of both policies; those of the journal as `writes native …` at the end.
pub(crate) fn run() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let start = folder.path().join("start.sqlite");
    let mut filled = Subject::with(&start, Options::default())?;
    while filled.graph.db()?.count() < DATOMS {
        filled.write(5_000, 500)?;
    }
    filled.graph.checkpoint()?;
    let (t, blocks) = (filled.t, filled.blocks);
    drop(filled);
    let mut figures = Vec::new();
    for (policy, writes) in [("tail", WritePolicy::Tail), ("journal", WritePolicy::Journal)] {
        let file = folder.path().join(format!("{policy}.sqlite"));
        std::fs::copy(&start, &file)?;
        figures = workloads(&file, Options { writes, ..Options::DEFAULT }, t, blocks)?;
        for Figure { name, rows, bytes, cpu_us } in &figures {
            println!(
                "{}",
                serde_json::json!({ "part": "writes", "policy": policy, "workload": name, "rows": rows, "bytes": bytes, "cpuMicroseconds": cpu_us })
            );
        }
    }
    for Figure { name, rows, bytes, cpu_us } in figures {
        println!("writes native {name} rows={rows:.2} bytes={bytes:.0} cpu_us={cpu_us:.0}");
    }
    Ok(())
}

fn workloads(file: &Path, options: Options, t: i64, blocks: usize) -> anyhow::Result<Vec<Figure>> {
    let mut subject = Subject::reopened(file, options, t, blocks)?;
    // Nodes that are in use are in memory, as in a graph that somebody works with.
    subject.write(10 * BATCH, BATCH)?;
    let pages = subject.pages(SINGLES + IN_BATCHES)?;
    let page_of = |i: usize| pages.get(i / 100).copied().unwrap_or_default();
    let ids: Vec<Uuid> = (0..SINGLES + IN_BATCHES).map(|_| Uuid::new_v4()).collect();
    let new: Vec<String> = ids.iter().enumerate().map(|(i, id)| block_tx(*id, page_of(i), i)).collect();
    let (singly, in_batches) = new.split_at(SINGLES);
    let typed = ids.first().copied().unwrap_or_default();
    let typing: Vec<String> = (0..SINGLES).map(|i| title_tx(typed, &format!("typed so far: {i} letters"), i)).collect();
    // To another place, each on another page.
    let moving: Vec<String> = (0..SINGLES)
        .map(|i| move_tx(ids.get(i).copied().unwrap_or_default(), page_of(i * 7 % IN_BATCHES), i))
        .collect();
    let mut figures = Vec::new();
    for (name, op, txs, size) in [
        ("single", "insert-blocks", singly, 1),
        ("batch", "insert-blocks", in_batches, BATCH),
        ("typing", "save-block", &typing, 1),
        ("move", "move-blocks", &moving, 1),
    ] {
        subject.graph.checkpoint()?;
        figures.push(measure(&mut subject, name, op, txs, size)?);
    }
    Ok(figures)
}

fn measure(subject: &mut Subject, name: &'static str, op: &str, txs: &[String], size: usize) -> anyhow::Result<Figure> {
    let mut t = subject.t;
    let mut messages = Vec::new();
    for part in txs.chunks(size) {
        messages.push((message(t, part, op), part.len()));
        t += i64::try_from(part.len())?;
    }
    let (before, processor) = (subject.graph.sql().written()?, processor_time());
    for (text, entries) in &messages {
        subject.say(text, *entries)?;
    }
    // What waits belongs to it.
    subject.graph.checkpoint()?;
    let processor = processor_time().saturating_sub(processor);
    let after = subject.graph.sql().written()?;
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let each = |whole: f64| whole / txs.len() as f64;
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    Ok(Figure {
        name,
        rows: each((after.rows - before.rows) as f64),
        bytes: each((after.bytes - before.bytes) as f64),
        cpu_us: each(1e6 * processor.as_secs_f64()),
    })
}

/// Prints how long a graph takes from its file to its first transaction, when it died with a full journal.
pub(crate) fn opening(file: &Path, subject: Subject) -> anyhow::Result<()> {
    let mut subject = subject;
    subject.graph.checkpoint()?;
    // As many as a journal takes: the next ones would be a checkpoint.
    let mut full = 0;
    loop {
        subject.write(TOGETHER, TOGETHER)?;
        if subject.graph.waits_for_checkpoint().is_none() {
            break;
        }
        full += 1;
    }
    let waiting = full * TOGETHER;
    for _ in 0..full {
        subject.write(TOGETHER, TOGETHER)?;
    }
    anyhow::ensure!(full > 1 && subject.graph.waits_for_checkpoint().is_some(), "the journal is not full");
    let (t, blocks) = (subject.t, subject.blocks);
    drop(subject);
    let mut rounds: Vec<Duration> = Vec::new();
    for _ in 0..5 {
        let copy = file.with_extension("copy");
        std::fs::copy(file, &copy)?;
        let mut subject = Subject::reopened(&copy, Options::default(), t, blocks)?;
        let text = message(t, &[crate::workload::page_tx(Uuid::new_v4(), &format!("opened {t}"))], "create-page");
        let start = Instant::now();
        subject.say(&text, 1)?;
        rounds.push(start.elapsed());
    }
    rounds.sort();
    let median = rounds.get(rounds.len() / 2).copied().unwrap_or_default();
    println!(
        "{}",
        serde_json::json!({ "part": "opening", "transactionsInJournal": waiting, "firstTransactionMilliseconds": 1e3 * median.as_secs_f64() })
    );
    Ok(())
}
