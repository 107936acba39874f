//! Plays a plan: drives a graph as clients do, and checks it after each step.

use std::ops::ControlFlow;
use std::rc::Rc;

use database::Param;
use database::local::Sql;
use database::local_sqlite::Rusqlite;
use datascript::{Db, Row};
use graph::rules::checksum;
use graph::snapshot::FrameWriter;
use graph::sockets::{Effect, Frame, Message};
use graph::{Graph, Options};
use protocol::limits;
use protocol::query::UploadQuery;
use serde_json::{Value as Json, json};

use super::avet::Membership;
use super::facts::Facts;
use super::failure::{Failure, Kind, OrFail, Outcome, check};
use super::mentions::Said;
use super::plan::{Entry, Plan, Step};
use super::reader::Reader;
use super::stats::Stats;
use super::{log, model, order};
use crate::base::{self, Base};
use crate::rng::Rng;
use crate::server::SimGraph;

/// How a plan is played.
pub(crate) struct Player<'r> {
    /// The independent reader, unless it is left out.
    pub(crate) reader: Option<&'r mut Reader>,
    /// Whether every step is printed.
    pub(crate) trace: bool,
    /// Checks whose failures do not count.
    pub(crate) without: &'r [Kind],
}

struct World<'k> {
    sql: Rc<Rusqlite>,
    graph: SimGraph,
    cache: usize,
    /// The facts after the last step.
    facts: Facts,
    membership: Membership,
    t: i64,
    /// The rows of a checkpoint, and the counter then: what was logged since is applied to them.
    checkpoint: Option<(i64, Vec<Row>)>,
    stats: Stats,
    /// Decides which values are compared, and when a checkpoint comes.
    rng: Rng,
    without: &'k [Kind],
}

/// A failure, and the step at which it came.
pub(crate) type Failed = (usize, Failure);

impl Player<'_> {
    /// Plays a plan to its end or its first failure.
    pub(crate) fn play(&mut self, plan: &Plan) -> Result<Stats, Failed> {
        let mut world = World::new(plan, self.without).map_err(|failure| (0, failure))?;
        for (at, step) in plan.steps.iter().enumerate() {
            if self.trace {
                eprintln!("step {at}: {}", described(step));
            }
            let outcome = match step {
                Step::Batch(entries) => world.batch(entries, self.reader.as_deref_mut()),
                Step::Reopen(cache) => world.reopen(*cache),
                Step::Upload => world.upload(),
                Step::Read => match &mut self.reader {
                    Some(reader) => world.read(reader),
                    None => Ok(()),
                },
            };
            outcome.map_err(|failure| (at, failure))?;
        }
        world.stats.graphs = 1;
        world.stats.datoms = world.facts.eavt.len() as u64;
        Ok(world.stats)
    }
}

fn described(step: &Step) -> String {
    match step {
        Step::Batch(entries) => {
            let shorten = |tx: String| match tx.char_indices().nth(400) {
                Some((end, _)) => format!("{}… ({} bytes)", tx.get(..end).unwrap_or_default(), tx.len()),
                None => tx,
            };
            let texts: Vec<String> = entries
                .iter()
                .map(|entry| format!("{} {}", entry.op.as_deref().unwrap_or("-"), shorten(entry.tx())))
                .collect();
            format!("batch\n    {}", texts.join("\n    "))
        }
        other => format!("{other:?}"),
    }
}

impl<'k> World<'k> {
    fn new(plan: &Plan, without: &'k [Kind]) -> Outcome<Self> {
        let sql = Rc::new(Rusqlite::in_memory().or_fail(Kind::Server)?);
        let mut world = Self {
            graph: open(&sql, plan.cache),
            sql,
            cache: plan.cache,
            facts: Facts::default(),
            membership: Membership::default(),
            t: 0,
            checkpoint: None,
            stats: Stats::default(),
            rng: Rng::new(plan.steps.len() as u64),
            without,
        };
        if plan.base == Base::Logseq {
            let rows = base::rows().or_fail(Kind::Server)?;
            world.take_upload(&rows, None)?;
        }
        world.look()?;
        world.membership = Membership::of(&world.facts, world.graph.db().or_fail(Kind::Server)?);
        Ok(world)
    }

    /// Ignores a failure of a check that does not count.
    fn counted(&self, outcome: Outcome) -> Outcome {
        outcome.or_else(|failure| if self.without.contains(&failure.kind) { Ok(()) } else { Err(failure) })
    }

    /// A client sends entries.
    fn batch(&mut self, entries: &[Entry], reader: Option<&mut Reader>) -> Outcome {
        if entries.is_empty() {
            // The shrinker may have taken all entries out.
            return Ok(());
        }
        // Otherwise some batches wait in the journal together.
        let is_due = reader.is_some() || self.checkpoint.is_none() || self.rng.percent(30);
        if is_due {
            self.checkpoint = Some((self.t, self.rows()?));
        }
        let (since, rows) = self.checkpoint.clone().unwrap_or_default();
        let txs: Vec<Json> = entries
            .iter()
            .zip(1_u128..)
            .map(|(entry, id)| json!({ "tx": entry.tx(), "tx-id": uuid::Uuid::from_u128(id).to_string(), "outliner-op": entry.op }))
            .collect();
        let message = json!({ "type": "tx/batch", "t-before": self.t, "txs": txs }).to_string();
        let reaction = self.graph.react(None, Message::parse(Frame::Text(&message)));
        if let Some(failure) = reaction.failure {
            return Err(Failure::new(Kind::Server, failure));
        }
        let reply = match reaction.effect {
            Effect::Reply(reply) | Effect::ReplyAndTell { reply, .. } => reply,
            other => return Err(Failure::new(Kind::Answer, format!("{other:?}"))),
        };
        let reply: Json = serde_json::from_str(&reply).or_fail(Kind::Answer)?;
        let accepted = accepted(&reply, entries)?;
        self.stats.batches += 1;
        self.stats.accepted += accepted.len() as u64;
        self.stats.refused += u64::from(accepted.len() < entries.len());
        let (before, t) = (std::mem::take(&mut self.facts), self.t);
        self.look()?;
        check!(
            reply.get("t").and_then(Json::as_i64).is_none_or(|t| t == self.t),
            Kind::Answer,
            "{reply}, but t is {}",
            self.t
        );
        if accepted.is_empty() {
            let difference = before.difference(&self.facts);
            let same = difference.is_none() && self.t == t;
            return self.counted(ensured(same, Kind::Refused, || format!("t {t} and {}: {difference:?}", self.t)));
        }
        let db = self.graph.db().or_fail(Kind::Server)?.clone();
        let said = Said::all(accepted, &before);
        self.counted(model::added(&before, &self.facts, &said, &db))?;
        self.counted(model::rest(&before, &self.facts, &said, &db))?;
        self.membership.follow(&before, &self.facts, &said, &db);
        self.check_membership()?;
        if self.logged_since(t)?.is_empty() {
            return Ok(());
        }
        let logged = self.logged_since(since)?;
        let has_odd_ident = said.iter().any(|said| said.odd_ident) || before.has_odd_ident();
        self.counted(log::replays(rows.clone(), &logged, &self.facts, &db).map_err(|failure| {
            let kind = if has_odd_ident { Kind::Ident } else { failure.kind };
            Failure { kind, ..failure }
        }))?;
        if let Some(reader) = reader
            && let Some(question) = log::question(rows, &before, &self.facts, &db, &logged)?
        {
            self.stats.told += logged.len() as u64;
            self.counted(reader.replays(&question))?;
        }
        Ok(())
    }

    fn reopen(&mut self, cache: usize) -> Outcome {
        self.cache = cache;
        self.graph = open(&self.sql, cache);
        self.stats.reopened += 1;
        self.same_facts("reopened")
    }

    /// The rows are uploaded into a fresh graph, which is used from here on.
    fn upload(&mut self) -> Outcome {
        let rows = self.rows()?;
        let checksum = self.graph.position().or_fail(Kind::Server)?.checksum;
        self.sql = Rc::new(Rusqlite::in_memory().or_fail(Kind::Server)?);
        self.graph = open(&self.sql, self.cache);
        self.take_upload(&rows, checksum.as_deref())?;
        self.stats.uploads += 1;
        self.t = 0;
        self.checkpoint = None;
        self.same_facts("uploaded")
    }

    fn same_facts(&mut self, what: &str) -> Outcome {
        let before = std::mem::take(&mut self.facts);
        self.look()?;
        match before.difference(&self.facts) {
            Some(difference) => {
                self.counted(Err(Failure::new(Kind::Reopened, format!("{what}: {difference}"))))?;
                self.membership = Membership::of(&self.facts, self.graph.db().or_fail(Kind::Server)?);
                Ok(())
            }
            None => self.check_membership(),
        }
    }

    fn check_membership(&self) -> Outcome {
        self.counted(Membership::no_ghosts(&self.facts))?;
        self.counted(self.membership.none_too_many(&self.facts))?;
        self.counted(self.membership.none_missing(&self.facts))
    }

    fn take_upload(&mut self, rows: &[Row], checksum: Option<&str>) -> Outcome {
        let mut frame = FrameWriter::new();
        for row in rows {
            frame.row(i64::from(row.addr), &row.content, row.addresses.as_deref());
        }
        let query = UploadQuery::new(Some("true"), Some("true"), checksum);
        let mut upload = self.graph.begin_upload(&query, "client", false, true).or_fail(Kind::Upload)?;
        self.graph.close_for_upload(&mut upload).or_fail(Kind::Upload)?;
        for piece in frame.finish().chunks(50_000) {
            self.graph.feed_upload(&mut upload, piece).or_fail(Kind::Upload)?;
        }
        let uploaded = self.graph.finish_upload(&mut upload).or_fail(Kind::Upload)?;
        check!(uploaded.opened, Kind::Upload, "the upload did not open the graph");
        Ok(())
    }

    fn read(&mut self, reader: &mut Reader) -> Outcome {
        let rows = self.rows()?;
        let is_flushed = rows.iter().any(|row| row.addr == datascript::TAIL_ADDR && row.content == "[]");
        self.stats.read += 1;
        self.counted(reader.check(&rows, &self.facts, is_flushed))
    }

    /// Reads the graph, and checks what holds of every graph.
    fn look(&mut self) -> Outcome {
        let db = self.graph.db().or_fail(Kind::Server)?.clone();
        let facts = Facts::read(&db).or_fail(Kind::Server)?;
        let position = self.graph.position().or_fail(Kind::Server)?;
        let mut again = open(&self.sql, self.cache);
        let stored = Facts::read(again.db().or_fail(Kind::Server)?).or_fail(Kind::Server)?;
        if let Some(difference) = facts.difference(&stored) {
            self.counted(Err(Failure::new(Kind::Reopened, format!("in memory and reopened: {difference}"))))?;
        }
        self.t = position.t;
        self.counted(agree(&facts))?;
        self.counted(order::ascending(&facts))?;
        let is_order = order::is_order(&facts, &mut self.rng);
        self.counted(is_order)?;
        self.counted(check_sum(&db, position.checksum.as_deref()))?;
        self.facts = facts;
        Ok(())
    }

    /// The rows after a checkpoint: they alone are the graph.
    fn rows(&mut self) -> Outcome<Vec<Row>> {
        self.graph.checkpoint().or_fail(Kind::Server)?;
        let mut rows = Vec::new();
        let read = self.sql.query("SELECT addr, content, addresses FROM kvs ORDER BY addr", &[], &mut |row| {
            rows.push(Row {
                addr: row.int(0)?.and_then(|addr| u32::try_from(addr).ok()).unwrap_or_default(),
                content: row.text(1)?.unwrap_or_default().into_owned(),
                addresses: row.text(2)?.map(std::borrow::Cow::into_owned),
            });
            Ok(ControlFlow::Continue(()))
        });
        read.or_fail(Kind::Server)?;
        for row in &rows {
            let bytes = row.content.len();
            let fits = bytes <= limits::ROW_CONTENT_BYTES;
            self.counted(ensured(fits, Kind::Upload, || format!("row {} has {bytes} bytes", row.addr)))?;
        }
        Ok(rows)
    }

    fn logged_since(&self, t: i64) -> Outcome<Vec<String>> {
        let mut logged = Vec::new();
        let read = self.sql.query("SELECT tx FROM tx_log WHERE t > ? ORDER BY t", &[Param::Int(t)], &mut |row| {
            logged.push(row.text(0)?.unwrap_or_default().into_owned());
            Ok(ControlFlow::Continue(()))
        });
        read.or_fail(Kind::Server)?;
        let rows = i64::try_from(logged.len()).unwrap_or(i64::MAX);
        check!(rows == self.t - t, Kind::Log, "{rows} rows from {t} to {}", self.t);
        Ok(logged)
    }
}

fn ensured(holds: bool, kind: Kind, detail: impl Fn() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(Failure::new(kind, detail())) }
}

/// The entries that were accepted.
fn accepted<'e>(reply: &Json, entries: &'e [Entry]) -> Outcome<&'e [Entry]> {
    let kind = reply.get("type").and_then(Json::as_str);
    if kind == Some("tx/batch/ok") {
        return Ok(entries);
    }
    let detail = reply.get("error-detail").and_then(Json::as_str).unwrap_or_default();
    check!(
        kind == Some("tx/reject") && reply.get("reason").and_then(Json::as_str) == Some("db transact failed"),
        Kind::Answer,
        "{reply}"
    );
    check!(!detail.is_empty() && !detail.contains("corrupt"), Kind::Server, "{reply}");
    let count = reply.get("success-tx-ids").and_then(Json::as_array).map_or(0, Vec::len);
    let failed = reply.get("failed-tx-id").and_then(Json::as_str).and_then(|id| id.parse::<uuid::Uuid>().ok());
    check!(failed.map(|id| id.as_u128()) == Some(count as u128 + 1), Kind::Answer, "{count} succeeded: {reply}");
    Ok(entries.get(..count).unwrap_or_default())
}

/// EAVT and AEVT hold the same facts, each once, and as many as are counted.
fn agree(facts: &Facts) -> Outcome {
    let sorted = |facts: &[super::facts::Fact]| {
        let mut ids: Vec<u64> = facts.iter().map(|fact| fact.id).collect();
        ids.sort_unstable();
        ids
    };
    check!(sorted(&facts.eavt) == sorted(&facts.aevt), Kind::Indexes, "EAVT and AEVT hold other facts");
    check!(facts.count == facts.eavt.len(), Kind::Indexes, "{} facts, {} counted", facts.eavt.len(), facts.count);
    let mut once: Vec<(u64, &super::facts::Fact)> = facts.eavt.iter().map(|fact| (fact.eav, fact)).collect();
    once.sort_unstable_by_key(|(eav, _)| *eav);
    for pair in once.windows(2) {
        if let [(a, fact), (b, _)] = pair {
            check!(a != b, Kind::Indexes, "{fact} is there twice");
        }
    }
    Ok(())
}

fn check_sum(db: &Db, stored: Option<&str>) -> Outcome {
    let Some(stored) = stored else { return Ok(()) };
    let whole = checksum::full(db).or_fail(Kind::Server)?.to_string();
    check!(stored == whole, Kind::Checksum, "{stored} stored, {whole} computed anew");
    Ok(())
}

fn open(sql: &Rc<Rusqlite>, cache_bytes: usize) -> SimGraph {
    // A small cache comes with a small journal: one that is full with nearly each batch.
    let journal_datoms = if cache_bytes < 1 << 16 { 40 } else { Options::DEFAULT.journal_datoms };
    let options = Options { cache_bytes, journal_datoms, frame_bytes: 10_000, ..Options::DEFAULT };
    Graph::new(Rc::clone(sql), || 1_755_000_000_000, options)
}
