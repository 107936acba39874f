//! Parts (b) and (e): message in, answer out, rows on disk.

use std::path::Path;
use std::time::{Duration, Instant};

use database::local_sqlite::{Rusqlite, Synchronous};
use graph::sockets::{Effect, Frame, Message};
use graph::{Graph, Options};
use uuid::Uuid;

use crate::counted::Counted;
use crate::workload::{BLOCKS_PER_PAGE, block_tx, message, page_tx, upload_initial};
use crate::{bare, rate, writes};

const BATCH: usize = 50;
const BATCHES: usize = 200;
const ROUNDS: usize = 5;

/// How long work took.
pub(crate) struct Took {
    wall: Duration,
    processor: Duration,
}

/// A graph on disk, and where its counter stands.
pub(crate) struct Subject {
    pub(crate) graph: Graph<Counted>,
    pub(crate) t: i64,
    pub(crate) blocks: usize,
}

impl Subject {
    fn new(file: &Path) -> anyhow::Result<Self> {
        Self::with(file, Options::default())
    }

    /// A new graph.
    pub(crate) fn with(file: &Path, options: Options) -> anyhow::Result<Self> {
        let mut subject = Self::reopened(file, options, 0, 0)?;
        upload_initial(&mut subject.graph)?;
        Ok(subject)
    }

    /// A graph that is there, with nothing in memory.
    pub(crate) fn reopened(file: &Path, options: Options, t: i64, blocks: usize) -> anyhow::Result<Self> {
        let sql = Counted::new(Rusqlite::open(file, Synchronous::Normal)?);
        Ok(Self { graph: Graph::new(sql, || 1_755_000_000_000, options), t, blocks })
    }

    pub(crate) fn say(&mut self, text: &str, entries: usize) -> anyhow::Result<()> {
        let reaction = self.graph.react(None, Message::parse(Frame::Text(text)));
        match reaction.effect {
            Effect::ReplyAndTell { reply, .. } if reply.contains("tx/batch/ok") => {
                self.t += i64::try_from(entries)?;
                Ok(())
            }
            other => anyhow::bail!("not taken: {other:?}"),
        }
    }

    /// Pages for `count` more blocks, and their ids.
    pub(crate) fn pages(&mut self, count: usize) -> anyhow::Result<Vec<Uuid>> {
        let pages: Vec<Uuid> = (0..count.div_ceil(BLOCKS_PER_PAGE)).map(|_| Uuid::new_v4()).collect();
        for part in pages.chunks(BATCH) {
            let txs: Vec<String> = part.iter().map(|id| page_tx(*id, &format!("page {id}"))).collect();
            self.say(&message(self.t, &txs, "create-page"), txs.len())?;
        }
        Ok(pages)
    }

    /// Sends `count` blocks, `size` a message; the messages are made before the clocks start.
    pub(crate) fn write(&mut self, count: usize, size: usize) -> anyhow::Result<Took> {
        let pages = self.pages(count)?;
        let texts: Vec<String> = (0..count)
            .map(|i| {
                block_tx(Uuid::new_v4(), pages.get(i / BLOCKS_PER_PAGE).copied().unwrap_or_default(), self.blocks + i)
            })
            .collect();
        self.blocks += count;
        let mut t = self.t;
        let mut messages = Vec::new();
        for txs in texts.chunks(size) {
            messages.push((message(t, txs, "insert-blocks"), txs.len()));
            t += i64::try_from(txs.len())?;
        }
        let (wall, processor) = (Instant::now(), processor_time());
        for (text, entries) in &messages {
            self.say(text, *entries)?;
        }
        Ok(Took { wall: wall.elapsed(), processor: processor_time().saturating_sub(processor) })
    }
}

impl Subject {
    /// The same from one checkpoint to the next, which is counted too: a small graph would never come to it.
    fn write_out(&mut self, count: usize, size: usize) -> anyhow::Result<Took> {
        self.graph.checkpoint()?;
        let took = self.write(count, size)?;
        let (wall, processor) = (Instant::now(), processor_time());
        self.graph.checkpoint()?;
        let processor = processor_time().saturating_sub(processor);
        Ok(Took { wall: took.wall + wall.elapsed(), processor: took.processor + processor })
    }
}

/// Prints part (b): our rate, and the rate of bare inserts of the same log rows, in alternating rounds.
pub(crate) fn run() -> anyhow::Result<()> {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let folder = tempfile::tempdir()?;
        let mut subject = Subject::new(&folder.path().join("graph.sqlite"))?;
        subject.write(20 * BATCH, BATCH)?;
        let first = subject.t;
        ours.push(subject.write(BATCHES * BATCH, BATCH)?.wall);
        let log = logged(&subject, first)?;
        bare.push(bare::insert(&folder.path().join("bare.sqlite"), &log, BATCH)?);
    }
    let (ours, bare) = (rate(BATCHES * BATCH, ours), rate(BATCHES * BATCH, bare));
    println!(
        "{}",
        serde_json::json!({ "part": "pipeline", "transactionsPerSecond": ours, "bareInsertsPerSecond": bare, "ratioToBare": ours / bare })
    );
    Ok(())
}

/// The log rows that the measured batches wrote.
fn logged(subject: &Subject, after: i64) -> anyhow::Result<Vec<String>> {
    let connection = subject.graph.sql().sql.connection();
    let mut statement = connection.prepare("select tx from tx_log where t > ? order by t desc limit ?")?;
    let limit = i64::try_from(BATCHES * BATCH)?;
    let rows = statement.query_map((after, limit), |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Processor time of this thread so far, read from Linux's /proc; zero on other systems.
pub(crate) fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Prints part (e): microseconds a transaction with about 2,000 and with 1,000,000 datoms.
pub(crate) fn growth() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let small_datoms = Subject::new(&folder.path().join("small.sqlite"))?.graph.db()?.count();
    let big_file = folder.path().join("big.sqlite");
    let mut big = Subject::new(&big_file)?;
    while big.graph.db()?.count() < 1_000_000 {
        big.write(20_000, 500)?;
    }
    let big_datoms = big.graph.db()?.count();
    for (size, count) in [(1, 500), (BATCH, 1_000)] {
        let (mut of_small, mut of_big) = (Vec::new(), Vec::new());
        let (mut small_processor, mut big_processor) = (Duration::ZERO, Duration::ZERO);
        for round in 0..ROUNDS {
            // A fresh small graph each time: the writes themselves make it grow.
            let mut small = Subject::new(&folder.path().join(format!("small-{size}-{round}.sqlite")))?;
            small.write(BATCH, size)?;
            let took = small.write_out(count, size)?;
            of_small.push(took.wall);
            small_processor += took.processor;
            let took = big.write_out(count, size)?;
            of_big.push(took.wall);
            big_processor += took.processor;
        }
        let (of_small, of_big) = (1e6 / rate(count, of_small), 1e6 / rate(count, of_big));
        println!(
            "{}",
            serde_json::json!({
                "part": "growth", "batch": size, "smallDatoms": small_datoms, "bigDatoms": big_datoms,
                "smallMicroseconds": of_small, "bigMicroseconds": of_big, "ratio": of_big / of_small,
                "processorTimeRatio": big_processor.as_secs_f64() / small_processor.as_secs_f64(),
            })
        );
    }
    writes::opening(&big_file, big)
}
