//! A graph and its sockets; the whole run.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use conformance::tx;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::client::{Client, Counts};
use crate::options::Options;
use crate::quantiles::Quantiles;
use crate::report::Report;
use crate::server::Target;

/// Sockets that are opened, or asked, at once.
const AT_ONCE: usize = 64;

/// A graph: when which of its transactions went out, and was acknowledged.
pub(crate) struct Room {
    pub(crate) id: String,
    /// Why sockets ended.
    pub(crate) failed: RefCell<Vec<String>>,
    first: Cell<Option<i64>>,
    /// By the counter after the batch, beginning after `first`; batches have one length.
    batches: RefCell<Vec<(Instant, Option<Instant>)>>,
    batch: Cell<u64>,
}

impl Room {
    /// A graph that nothing was written into yet.
    pub(crate) fn new(id: String) -> Self {
        Self {
            id,
            failed: RefCell::default(),
            first: Cell::default(),
            batches: RefCell::default(),
            batch: Cell::new(1),
        }
    }

    /// Its counter before the first batch.
    pub(crate) fn begin(&self, t: i64) {
        if self.first.get().is_none() {
            self.first.set(Some(t));
        }
    }

    fn place(&self, t: i64) -> usize {
        let transactions = u64::try_from(t - self.first.get().unwrap_or(t)).unwrap_or_default();
        usize::try_from(transactions / self.batch.get()).unwrap_or_default()
    }

    /// When the batches that lead from one counter to another were sent and acknowledged.
    pub(crate) fn times(&self, seen: i64, t: i64, mut each: impl FnMut(Instant, Option<Instant>)) {
        let batches = self.batches.borrow();
        let from = self.place(seen.max(self.first.get().unwrap_or(seen)));
        for (sent, acknowledged) in batches.iter().take(self.place(t)).skip(from) {
            each(*sent, *acknowledged);
        }
    }
}

/// Opens all sockets, lets the first of each graph write, and asks everybody at the end.
pub(crate) async fn play(options: &Options, target: &Target, rooms: Vec<Room>) -> Result<Report> {
    let rooms: Vec<Rc<Room>> = rooms.into_iter().map(Rc::new).collect();
    for room in &rooms {
        room.batch.set(options.batch);
    }
    let counts = Rc::new(Counts {
        since_sent: RefCell::new(Quantiles::new()),
        since_acknowledged: RefCell::new(Quantiles::new()),
        acknowledged: RefCell::new(Quantiles::new()),
        told: Cell::new(0),
        over: Cell::new(false),
    });
    let without = target.usage();
    let begun = Instant::now();
    let token = target.user.token.as_deref().unwrap_or_default();
    let open = |room: &Rc<Room>| Client::open(&target.base, token, Rc::clone(room), Rc::clone(&counts));
    let opening = rooms.iter().cycle().take(options.sockets).map(open);
    let mut readers: Vec<Client> = stream::iter(opening).buffered(AT_ONCE).try_collect().await?;
    let opened = begun.elapsed();
    let writers: Vec<Client> = readers.drain(..rooms.len()).collect();

    let before = target.usage();
    let begun = Instant::now();
    let mut writing = Vec::new();
    if options.idle {
        sleep(options.time).await;
    }
    let held = target.usage();
    let until = if options.idle { begun } else { begun + options.time };
    for writer in writers {
        writing.push(tokio::task::spawn_local(write(writer, Rc::clone(&counts), options.pause, options.batch, until)));
    }
    let mut writers = Vec::new();
    for writer in writing {
        writers.push(writer.await??);
    }
    let lasted = begun.elapsed();
    let after = target.usage();
    let readers = agree(&mut writers, readers).await?;
    counts.over.set(true);
    drop(readers);
    let failed: Vec<String> = rooms.iter().flat_map(|room| room.failed.take()).collect();
    ensure!(
        failed.is_empty(),
        "{} sockets failed, the first with: {}",
        failed.len(),
        failed.first().map_or("", |it| it)
    );
    Ok(Report::new(options, &counts, (opened, lasted), [without, before, held, after]))
}

/// Writes batch after batch, one at least, until the time is over. The client, and the counter after the last one.
async fn write(
    mut client: Client,
    counts: Rc<Counts>,
    pause: Duration,
    batch: u64,
    until: Instant,
) -> Result<(Client, i64)> {
    let (mut t, _) = client.hello().await?;
    let mut ticks = interval(pause.max(Duration::from_nanos(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if !pause.is_zero() {
            ticks.tick().await;
        }
        let entries: Vec<_> = (0..batch).map(|_| entry()).collect();
        let text = tx::batch(t, &entries).to_string();
        let sent = Instant::now();
        client.room.batches.borrow_mut().push((sent, None));
        let next = client.send(text).await?;
        ensure!(next == t + i64::try_from(batch)?, "the counter went from {t} to {next}");
        t = next;
        let now = Instant::now();
        counts.acknowledged.borrow_mut().add(now - sent);
        if let Some((_, acknowledged)) = client.room.batches.borrow_mut().last_mut() {
            *acknowledged = Some(now);
        }
        if now >= until {
            return Ok((client, t));
        }
    }
}

/// A transaction of seven facts.
fn entry() -> serde_json::Value {
    let id = tx::id();
    let mut items = tx::page(&id, &format!("Page {id}"));
    items.push(tx::add(id.as_str(), "block/collapsed?", true));
    tx::entry(&items, "create-page", &tx::id())
}

/// Everybody was told of everything, and the server tells everybody the same counter and checksum. Gives the readers back,
/// because a socket that ends before the run is over has failed.
async fn agree(writers: &mut [(Client, i64)], readers: Vec<Client>) -> Result<Vec<Client>> {
    let mut ends = HashMap::new();
    for (writer, t) in writers {
        let (now, checksum) = writer.hello().await?;
        ensure!(now == *t && !checksum.is_empty(), "{} is at {now}, its writer at {t}", writer.room.id);
        ends.insert(writer.room.id.clone(), (now, checksum));
    }
    let ends = &ends;
    let asking = readers.into_iter().map(|mut reader| async move {
        let (t, checksum) = ends.get(&reader.room.id).context("a graph without a writer")?;
        reader.sees(*t).await?;
        let told = reader.hello().await?;
        ensure!((told.0, &told.1) == (*t, checksum), "{} is told {told:?}, others {t} {checksum}", reader.room.id);
        Ok(reader)
    });
    stream::iter(asking).buffer_unordered(AT_ONCE).try_collect().await
}
