//! What the operator has done with a graph beside its clients (self-host.md 7.2). Whatever takes long is done over a connection
//! of its own, which sees one state of the rows; what is written is written on the graph's thread, between its batches.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use database::local_sqlite::Rusqlite;
use graph::{Epoch, FREED_ROWS, Graph, Options, Survey};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use web::Failure;

use super::object::GraphObject;
use super::thread::Thread;
use crate::host::now_ms;
use crate::store::{Quarantine, beside, look, renew};

/// How often a graph is asked whether its export or upload has ended.
const ASKED_AGAIN: Duration = Duration::from_millis(100);

/// How long its sockets and requests may take to end, of a graph whose file is to be replaced.
const ENDING: Duration = Duration::from_secs(10);

/// What is to be done.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Task {
    /// Write the journal into the rows, delete what uploads have replaced, and empty the write-ahead log.
    Checkpoint,
    /// Free rows that nothing reaches.
    Gc {
        /// Do it.
        apply: bool,
        /// Give the space back to the file system.
        vacuum: bool,
    },
    /// Store the checksum of the rows, where another one is stored.
    Checksum {
        /// Do it.
        apply: bool,
    },
    /// Give up an upload that nobody goes on with.
    Upload {
        /// Do it.
        apply: bool,
    },
    /// Make a new file of what can be read of a damaged one.
    Salvage {
        /// Do it.
        apply: bool,
    },
    /// Move the folder of a graph that the index does not know into quarantine.
    SetAside,
}

/// What was done, or would be.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "done", rename_all = "kebab-case")]
pub(crate) enum Done {
    /// There was nothing to do: no file, or nothing wrong with it.
    Nothing,
    /// The rows alone are the graph.
    Checkpoint,
    /// Rows were freed.
    Gc {
        /// All of them, before.
        rows: u64,
        /// Those that went, or would.
        deleted: u64,
        /// Bytes of the file with its log.
        bytes_before: u64,
        /// The same afterwards.
        bytes_after: u64,
        /// How long it took.
        ms: u64,
    },
    /// Another checksum was stored, or would be.
    Checksum {
        /// The stored one.
        before: String,
        /// That of the rows.
        after: String,
    },
    /// An upload was given up, or would be.
    Upload,
    /// A file was damaged.
    Salvaged {
        /// What SQLite says of it.
        why: String,
        /// Rows that could be read.
        rows: u64,
        /// Tables of which something could not be read.
        lost: Vec<String>,
    },
    /// A folder was moved.
    SetAside {
        /// To where.
        to: PathBuf,
    },
}

/// Who waits for it, and is told.
pub(super) type Told = oneshot::Sender<Result<Done, Failure>>;

/// Does it, and tells whoever asked.
pub(super) async fn care(thread: Rc<Thread>, folder: String, task: Task, quarantine: Quarantine, told: Told) {
    let path = thread.options.data.graph(&folder).join("db.sqlite");
    let outcome = match task {
        _ if !path.is_file() && !matches!(task, Task::SetAside) => Ok(Done::Nothing),
        Task::Salvage { apply } => salvage(&thread, &folder, path, quarantine, apply).await,
        Task::SetAside => set_aside(&thread, &folder, &quarantine).await,
        Task::Checkpoint | Task::Gc { .. } | Task::Checksum { .. } | Task::Upload { .. } => {
            match thread.open(&folder) {
                Ok(object) => {
                    let care = Care { thread, object, path, told: &told };
                    care.of_open(task, quarantine).await
                }
                Err(failure) => Err(failure),
            }
        }
    };
    // Whoever asked may be gone.
    let _ = told.send(outcome);
}

/// A graph that is cared for.
struct Care<'a> {
    thread: Rc<Thread>,
    object: Rc<GraphObject>,
    path: PathBuf,
    told: &'a Told,
}

fn failed(error: &dyn std::fmt::Display) -> Failure {
    Failure(error.to_string())
}

impl Care<'_> {
    async fn of_open(&self, task: Task, quarantine: Quarantine) -> Result<Done, Failure> {
        if self.object.shared().borrow_mut().is_deleted().map_err(|error| failed(&error))? {
            return Ok(Done::Nothing);
        }
        let done = match task {
            Task::Gc { apply, vacuum } => self.free(apply, vacuum).await,
            Task::Checksum { apply } => self.correct(apply, quarantine).await,
            Task::Upload { apply } => self.give_up_upload(apply, quarantine).await,
            Task::Checkpoint | Task::Salvage { .. } | Task::SetAside => self.checkpoint().await,
        }?;
        self.object.durable.settle().await?;
        Ok(done)
    }

    /// Runs a step of the graph.
    fn with<T>(&self, step: impl FnOnce(&mut Graph<Rusqlite>) -> graph::Result<T>) -> Result<T, Failure> {
        self.object.touch();
        step(&mut self.object.shared().borrow_mut()).map_err(|error| failed(&error))
    }

    async fn checkpoint(&self) -> Result<Done, Failure> {
        self.with(Graph::checkpoint)?;
        // Each step deletes something.
        while self.with(Graph::sweep)? {
            tokio::task::yield_now().await;
        }
        self.empty_log()?;
        Ok(Done::Checkpoint)
    }

    fn empty_log(&self) -> Result<(), Failure> {
        let graph = self.object.shared().borrow();
        let emptied = graph.sql().connection().pragma(None, "wal_checkpoint", "TRUNCATE", |_| Ok(()));
        emptied.map_err(|error| failed(&error))
    }

    /// Bytes of the file with its log.
    fn size(&self) -> u64 {
        let length = |path: &Path| path.metadata().map_or(0, |meta| meta.len());
        length(&self.path) + length(&beside(&self.path, "-wal"))
    }

    /// Waits while an export or an upload uses the rows, for as long as somebody waits for the result.
    async fn wait_for_rows(&self) -> Result<(), Failure> {
        let mut stopping = self.thread.stopping();
        // Ends: exports and uploads that nobody goes on with end by themselves (sync.md 10).
        while self.with(Graph::is_busy)? {
            tokio::select! {
                () = tokio::time::sleep(ASKED_AGAIN) => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
            self.goes_on()?;
        }
        self.goes_on()
    }

    fn goes_on(&self) -> Result<(), Failure> {
        if self.told.is_closed() {
            return Err(Failure("nobody waits for it any more".into()));
        }
        if *self.thread.stopping().borrow() { Err(Failure("the server is stopping".into())) } else { Ok(()) }
    }

    /// Looks at all rows as they are now, beside the graph.
    async fn survey(&self) -> Result<(Epoch, Survey), Failure> {
        let epoch = self.with(Graph::begin_freeing)?;
        // At once: nothing is committed in between.
        let seen = Rusqlite::snapshot(&self.path).map_err(|error| failed(&error))?;
        let looked = tokio::task::spawn_blocking(move || Graph::new(seen, now_ms, Options::DEFAULT).survey());
        let survey = looked.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        Ok((epoch, survey))
    }

    async fn free(&self, apply: bool, vacuum: bool) -> Result<Done, Failure> {
        if self.with(|graph| Ok(graph.is_uploading()? && !graph.is_receiving()))? {
            // The upload will bring other rows, or end by itself.
            return Ok(Done::Nothing);
        }
        let (begun, bytes_before) = (Instant::now(), self.size());
        self.wait_for_rows().await?;
        let (epoch, survey) = self.survey().await?;
        if apply {
            for part in survey.unreached.chunks(FREED_ROWS) {
                self.wait_for_rows().await?;
                self.with(|graph| graph.free(epoch, part))?;
                // The next ones only when these are on the disk: clients have their turn meanwhile.
                self.object.durable.settle().await?;
            }
            if !survey.unreached.is_empty() {
                self.wait_for_rows().await?;
                let (_, after) = self.survey().await?;
                if !after.follows(&survey) {
                    return Err(Failure("the facts are other ones than before".into()));
                }
            }
            if vacuum {
                self.wait_for_rows().await?;
                let graph = self.object.shared().borrow();
                graph.sql().connection().execute_batch("VACUUM").map_err(|error| failed(&error))?;
            }
            self.object.durable.settle().await?;
            self.empty_log()?;
        }
        Ok(Done::Gc {
            rows: survey.rows,
            deleted: survey.unreached.len() as u64,
            bytes_before,
            bytes_after: self.size(),
            ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    async fn correct(&self, apply: bool, quarantine: Quarantine) -> Result<Done, Failure> {
        if self.with(Graph::is_uploading)? {
            return Ok(Done::Nothing);
        }
        let (_, survey) = self.survey().await?;
        let Some(before) = survey.position.checksum.clone().filter(|_| !survey.is_consistent()) else {
            return Ok(Done::Nothing);
        };
        if !apply {
            return Ok(Done::Checksum { before, after: survey.recomputed });
        }
        self.keep(quarantine).await?;
        let corrected = self.with(|graph| graph.correct_checksum(true))?;
        Ok(corrected.map_or(Done::Nothing, |(before, after)| Done::Checksum { before, after }))
    }

    async fn give_up_upload(&self, apply: bool, quarantine: Quarantine) -> Result<Done, Failure> {
        if !self.with(|graph| Ok(graph.is_uploading()? && !graph.is_receiving()))? {
            return Ok(Done::Nothing);
        }
        if apply {
            self.keep(quarantine).await?;
            self.with(Graph::give_up_upload)?;
        }
        Ok(Done::Upload)
    }

    async fn keep(&self, quarantine: Quarantine) -> Result<(), Failure> {
        let path = self.path.clone();
        let kept = tokio::task::spawn_blocking(move || quarantine.keep(&path)).await;
        kept.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        Ok(())
    }
}

/// Looks at a file, and where it is damaged makes a new one of what can be read, while nobody has it open.
async fn salvage(
    thread: &Rc<Thread>,
    folder: &str,
    path: PathBuf,
    quarantine: Quarantine,
    apply: bool,
) -> Result<Done, Failure> {
    let looked = {
        let path = path.clone();
        tokio::task::spawn_blocking(move || look(&path)).await.map_err(|error| failed(&error))?
    };
    let Err(why) = looked else { return Ok(Done::Nothing) };
    let closed = closed(thread, folder, true).await?;
    let renewed = tokio::task::spawn_blocking(move || renew(&path, apply.then_some(&quarantine))).await;
    drop(closed);
    let saved = renewed.map_err(|error| failed(&error))?.map_err(Failure)?;
    Ok(Done::Salvaged { why, rows: saved.rows, lost: saved.lost })
}

async fn set_aside(thread: &Rc<Thread>, folder: &str, quarantine: &Quarantine) -> Result<Done, Failure> {
    let closed = closed(thread, folder, false).await?;
    let path = thread.options.data.graph(folder);
    let to = quarantine.take(&path).map_err(|error| failed(&format!("{}: {error}", show(&path))))?;
    drop(closed);
    Ok(Done::SetAside { to })
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

/// Closes a graph, and keeps it closed for as long as this lives. One that is in use is only closed where its clients are to be
/// cut off.
async fn closed(thread: &Rc<Thread>, folder: &str, cut: bool) -> Result<super::thread::Closed, Failure> {
    let closed = thread.hold_closed(folder)?;
    let begun = Instant::now();
    // Ends with the patience.
    while let Some(object) = thread.opened(folder) {
        if cut {
            object.cut_off(1012, "server restarting");
        }
        drop(object);
        if thread.close_unused(folder) {
            break;
        }
        if !cut || begun.elapsed() > ENDING {
            return Err(Failure("the graph is in use".into()));
        }
        tokio::time::sleep(ASKED_AGAIN).await;
    }
    Ok(closed)
}
