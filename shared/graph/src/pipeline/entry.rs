//! One entry of a batch, in memory (sync.md 11.4–11.10).

use datascript::{Datom, Db, Report};
use protocol::{TxEntry, limits};
use transit::Value;

use super::decode::decode;
use super::failure::Failure;
use super::names;
use crate::graph::Open;
use crate::rules::{
    self, Facts, Op, checksum, chunk, deletion, normalise, numbers, prepare, sanitise, schema_guard, validate,
};
use crate::store::log::LogRow;

/// Room that the text of a log row may have left over.
const SPARE_BYTES: usize = 1 << 10;

/// What the entries so far did beside the database value.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) t: i64,
    pub(super) checksum: Option<String>,
    pub(super) log: Vec<LogRow>,
    /// Bytes of the texts of the log.
    log_bytes: usize,
    now: i64,
    /// The checksum is to be made anew when all entries were applied.
    is_stale: bool,
    /// References that may yet be followed for the checksum in this batch, one by one.
    references: usize,
}

impl Pending {
    pub(super) fn new(t: i64, checksum: Option<String>, now: i64) -> Self {
        Self { t, checksum, log: Vec::new(), log_bytes: 0, now, is_stale: false, references: checksum::MAX_REFERENCES }
    }

    /// Moves the checksum on by what happened between two values. Datoms and normalised items give the same sum
    /// (sync.md 12.5), and datoms are the cheaper to look at. Where the sum has to be made anew, that is left to
    /// [`complete_checksum`](Self::complete_checksum): once for a batch, not for each entry that flips a setting.
    fn update_checksum(&mut self, facts: &mut Facts, before: &Db, after: &Db, datoms: &[Datom]) -> rules::Result<()> {
        // Facts have to hear of every transaction.
        let mut scope = facts.scope(datoms);
        if self.is_stale {
            return Ok(());
        }
        let changes = checksum::Changes::Datoms(datoms);
        let previous = self.checksum.as_deref();
        match checksum::follow(previous, before, after, changes, &mut scope, &mut self.references)? {
            checksum::Update::None => {}
            checksum::Update::Sum(checksum) => self.checksum = Some(checksum.to_string()),
            checksum::Update::Anew => self.is_stale = true,
        }
        Ok(())
    }

    /// Makes the checksum of all that was applied: one pass over the database at most.
    pub(super) fn complete_checksum(&mut self, db: &Db) -> Result<(), crate::Error> {
        if std::mem::take(&mut self.is_stale) {
            self.checksum = Some(checksum::full(db)?.to_string());
        }
        Ok(())
    }

    /// Whether rows of so many bytes in all may be appended.
    fn make_room(&self, bytes: usize) -> Result<(), Failure> {
        if self.log_bytes + bytes > limits::BATCH_LOG_BYTES { Err(Failure::batch_too_large()) } else { Ok(()) }
    }

    /// Appends the row of a transaction.
    fn push(&mut self, mut tx: String, entry: &TxEntry<'_>) {
        // A text that grew has up to as much room again, and all of a batch wait for its end.
        if tx.capacity() - tx.len() > SPARE_BYTES {
            tx.shrink_to_fit();
        }
        self.t += 1;
        self.log_bytes += tx.len();
        let outliner_op = entry.op_name().map(str::to_owned);
        self.log.push(LogRow { t: self.t, tx, created_at: self.now, outliner_op });
    }
}

/// Why an entry stops: its own fault, or the graph's.
enum Stop {
    Entry(Failure),
    Graph(datascript::Error),
    /// The entry speaks of something that is gone, and its operation may (sync.md 11.7).
    Tolerated,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Entry(failure)
    }
}

impl From<datascript::Error> for Stop {
    fn from(error: datascript::Error) -> Self {
        rules::Error::from(error).into()
    }
}

impl From<rules::Error> for Stop {
    fn from(error: rules::Error) -> Self {
        Failure::from_rule(error).map_or_else(Self::Graph, Self::Entry)
    }
}

/// What an entry that is taken does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// There are facts that were not, or the other way round.
    Facts,
    None,
}

/// Applies an entry to the open graph. The outer error is the graph's, the inner one the entry's; after the latter
/// nothing of the entry remains.
pub(super) fn apply(
    open: &mut Open,
    pending: &mut Pending,
    mut entry: TxEntry<'_>,
) -> Result<Result<(), Failure>, datascript::Error> {
    let names = open.names.begin_entry(open.conn.db().attrs());
    let outcome = try_apply(open, pending, &mut entry, &names);
    if !matches!(outcome, Ok(Effect::Facts)) && open.names.roll_back(open.conn.db().attrs(), &names) {
        open.facts = Facts::default();
    }
    if outcome.is_err() {
        // It may have stopped anywhere: what was learnt from it does not hold.
        open.facts = Facts::default();
    }
    match outcome {
        Ok(Effect::Facts | Effect::None) | Err(Stop::Tolerated) => Ok(Ok(())),
        Err(Stop::Entry(failure)) => Ok(Err(failure)),
        Err(Stop::Graph(error)) => Err(error),
    }
}

fn try_apply(
    open: &mut Open,
    pending: &mut Pending,
    entry: &mut TxEntry<'_>,
    names: &names::Before,
) -> Result<Effect, Stop> {
    // The text goes as soon as the items are there.
    let items = decode(&std::mem::take(&mut entry.tx))?;
    let op = entry.outliner_op.as_deref().map(Op::parse);
    let decoded_none = items.is_empty();
    let db = open.conn.db().clone();
    let items = sanitise::sanitise(&db, op, items)?;
    if items.is_empty() {
        return match op {
            Some(op) if op.is_delete() && decoded_none => Err(Failure::new("delete tx input is empty").into()),
            _ => Ok(Effect::None),
        };
    }
    numbers::check_entities(&db, &items)?;
    let pieces = pieces(&db, op, &items)?;
    let mut reports: Vec<Report> = Vec::new();
    let mut texts = Vec::new();
    let mut bytes = 0;
    // Items go with their piece: those of a long entry take several times its text.
    let mut items = items.into_iter();
    for size in pieces {
        let piece = items.by_ref().take(size).collect();
        let current = reports.last().map_or(&db, |report| &report.db_after);
        if let Some(step) = transact(&mut open.facts, current, op, piece)? {
            bytes += step.logged.as_ref().map_or(0, String::len);
            pending.make_room(bytes)?;
            texts.extend(step.logged);
            reports.push(step.report);
        }
    }
    let effect = judge(open, pending, op, &db, &reports, names)?;
    for tx in texts {
        pending.push(tx, entry);
    }
    for report in reports {
        open.conn.install(report);
    }
    Ok(effect)
}

/// How many items each transaction of an entry has: all of them, but for large entries (sync.md 11.10).
fn pieces(db: &Db, op: Option<Op>, items: &[Value]) -> Result<Vec<usize>, Stop> {
    if !chunk::is_large(op, items) || numbers::belong_together(db, items)? {
        return Ok(vec![items.len()]);
    }
    Ok(chunk::chunks(db, items)?.into_iter().map(|range| range.len()).collect())
}

/// Judges an entry as a whole, however many transactions it is, and moves the checksum on (D-62).
fn judge(
    open: &mut Open,
    pending: &mut Pending,
    op: Option<Op>,
    db: &Db,
    reports: &[Report],
    names: &names::Before,
) -> Result<Effect, Stop> {
    let Some(last) = reports.last() else { return Ok(Effect::None) };
    let after = &last.db_after;
    let all: Vec<Datom>;
    let datoms = if let [only] = reports {
        &only.tx_data
    } else {
        all = reports.iter().flat_map(|report| report.tx_data.iter().cloned()).collect();
        &all
    };
    if datoms.is_empty() {
        return Ok(Effect::None);
    }
    schema_guard::check(db, after, datoms)?;
    if op != Some(Op::DbMigrate) {
        validate::validate(db, after, datoms, &mut open.facts.scope(datoms))?;
    }
    open.names.admit(names, db, datoms)??;
    pending.update_checksum(&mut open.facts, db, after, datoms)?;
    Ok(Effect::Facts)
}

/// One transaction, not installed yet.
struct Step {
    report: Report,
    /// The text for the log; absent where nothing changed.
    logged: Option<String>,
}

/// Steps of sync.md 11.5 and 11.8. `None`: nothing happens, not even to the transaction counter of the database.
fn transact(facts: &mut Facts, db: &Db, op: Option<Op>, items: Vec<Value>) -> Result<Option<Step>, Stop> {
    let mut items = prepare::prepare(db, op, items)?;
    let cleanup = deletion::deletion_cleanup(db, &items)?;
    items.extend(cleanup);
    if items.is_empty() {
        return Ok(None);
    }
    schema_guard::check_names(&items)?;
    let Some((report, log)) = transact_told(facts, db, op, &items)? else { return Ok(None) };
    if report.tx_data.is_empty() {
        // What is not validated counts even when it changes nothing (datascript.md 10.2).
        let counts = op == Some(Op::DbMigrate) || !facts.scope(&[]).before().is_db_graph(db)?;
        return Ok(counts.then_some(Step { report, logged: None }));
    }
    if report.tx_data.iter().any(|datom| datascript::datom_too_large(datom, db.attrs())) {
        return Err(Failure::too_large().into());
    }
    Ok(Some(Step { report, logged: Some(log_text(&log)?) }))
}

/// The text of a log row. It is measured while it is written, which ends with the item that passes the limit: the name of
/// an entity is written out in every item about it, so that the text may be hundreds of times as long as the entry's.
fn log_text(items: &[Value]) -> Result<String, Failure> {
    let mut text = String::new();
    let mut writer = transit::Writer::new(&mut text);
    writer.begin_vector();
    for item in items {
        writer.value(item);
        if writer.text().len() > limits::ROW_CONTENT_BYTES {
            return Err(Failure::too_large());
        }
    }
    writer.end_vector();
    if text.len() > limits::ROW_CONTENT_BYTES { Err(Failure::too_large()) } else { Ok(text) }
}

/// How often what cannot be told is left out, before an entry is refused. What is left out can make others nameless, which
/// takes an entry made for that.
const MAX_OMISSIONS: usize = 4;

/// Applies items, without those about entities that have no name in the end: the log could not tell them, so that the server
/// alone would have them (D-66). `None`: nothing else was among them.
fn transact_told(
    facts: &mut Facts,
    db: &Db,
    op: Option<Op>,
    items: &[Value],
) -> Result<Option<(Report, Vec<Value>)>, Stop> {
    let mut untold = keyed::Set::default();
    for _ in 0..MAX_OMISSIONS {
        let report = match datascript::with_except(db, items, &untold) {
            Ok(report) => report,
            Err(error) if op.is_some_and(Op::tolerates_missing_entities) && is_missing_entity(&error) => {
                return Err(Stop::Tolerated);
            }
            Err(error) => return Err(error.into()),
        };
        schema_guard::check_facts(&report.db_after, &report.tx_data)?;
        let log = normalise::normalise(&report, &mut facts.scope(&report.tx_data))?;
        if log.untold.is_empty() {
            let is_all_left_out = report.tx_data.is_empty() && !untold.is_empty();
            return Ok((!is_all_left_out).then_some((report, log.items)));
        }
        untold.extend(log.untold);
        if op != Some(Op::DbMigrate) {
            // Left out is what the rules let pass: an entity that must have a name and has none fails its entry.
            let left_out: Vec<Datom> =
                report.tx_data.iter().filter(|datom| untold.contains(&datom.e)).cloned().collect();
            validate::validate(db, &report.db_after, &left_out, &mut facts.scope(&report.tx_data))?;
        }
    }
    Err(rules::Error::Untold("entities without names").into())
}

fn is_missing_entity(error: &datascript::Error) -> bool {
    matches!(error, datascript::Error::Transact(refusal) if refusal.kind == datascript::ErrorKind::EntityIdMissing)
}
