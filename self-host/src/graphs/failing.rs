//! Graphs whose storage fails (self-host.md 9.1): one whose log could not be synced, and one whose file is damaged.

use std::path::Path;
use std::rc::Rc;

use database::Trouble;
use web::{Event, Failure, Host as _, Hosted as _, Level};

use super::durable::UNSYNCED;
use super::object::GraphObject;
use super::thread::Thread;
use crate::store::{empty_log, graph_file, is_damaged, leave_log, read_only};

/// What SQLite says of a damaged file.
const DAMAGED: &str = "database disk image is malformed";

impl Thread {
    /// Gives up a graph whose commits may not be on the disk. It is opened again from its rows by whoever comes next.
    pub(super) fn give_up(&self, object: &Rc<GraphObject>, failure: &Failure) {
        object.host().report(&Event::new(Level::Error, "db-sync/sync-failed").with_error(&failure.0));
        if object.durable.is_lost() {
            return self.abandon();
        }
        object.durable.fail();
        self.doubt(object);
        self.remove(object);
        object.cut_off(1011, "storage failed");
    }

    /// Notes that nobody knows how much of a graph's log is on the disk. Whoever closed the database now would write into the
    /// rows what may not be read as it was written.
    fn doubt(&self, object: &Rc<GraphObject>) {
        leave_log(object.shared().borrow().sql());
        self.options.metrics.condition.doubt(&object.file(), true);
        if let Some(name) = object.folder().file_name().and_then(|name| name.to_str()) {
            self.doubtful.borrow_mut().insert(name.to_owned(), Rc::downgrade(object));
        }
    }

    fn remove(&self, object: &Rc<GraphObject>) {
        self.graphs.borrow_mut().retain(|_, other| !Rc::ptr_eq(other, object));
    }

    /// Refuses a graph that is known to be damaged, and one that was given up and is still held by something that ends soon:
    /// only who opens its file alone reads it from the disk.
    pub(super) fn require_usable(&self, folder: &str) -> Result<(), Failure> {
        let (file, condition) = (graph_file(&self.options.data.graph(folder)), &self.options.metrics.condition);
        if condition.is_damaged(&file) {
            if !condition.looks_again(&file) || is_damaged(&file) {
                return Err(Failure(DAMAGED.into()));
            }
            condition.whole(&file);
        }
        let held = self.doubtful.borrow().get(folder).is_some_and(|last| last.strong_count() > 0);
        if held { Err(Failure(UNSYNCED.into())) } else { Ok(()) }
    }

    /// Makes sure that the log of a graph that was given up is on the disk, where that is not known. Until it is, the graph can
    /// be read alone.
    pub(super) fn settle_doubt(&self, folder: &str, object: &Rc<GraphObject>) {
        if !self.doubtful.borrow().contains_key(folder) {
            return;
        }
        let graph = object.shared().borrow();
        match read_only(graph.sql(), false).and_then(|()| empty_log(graph.sql())) {
            Ok(()) => {
                self.doubtful.borrow_mut().remove(folder);
                self.options.metrics.condition.doubt(&object.file(), false);
            }
            Err(error) => {
                object.host().report(
                    &Event::new(Level::Warning, "db-sync/graph-read-only").with_error(&format!("{UNSYNCED}: {error}")),
                );
                // One that cannot even be made read-only is not written all the same: its commits are refused.
                if read_only(graph.sql(), true).is_err() {
                    object.durable.fail();
                }
            }
        }
    }

    /// Tries again what could not be put on the disk.
    pub(super) fn settle_doubts(&self) {
        let names: Vec<String> = self.doubtful.borrow().keys().cloned().collect();
        for name in &names {
            let object = self.graphs.borrow().get(name).cloned();
            if let Some(object) = object {
                self.settle_doubt(name, &object);
            }
        }
    }

    /// Leaves a graph whose file is damaged, as it is: nothing more is written into it, and its sockets end. One that another
    /// connection finds whole is read again. Gives what whoever asked is told.
    pub(super) fn leave_damaged(&self, object: &Rc<GraphObject>) -> Failure {
        if !is_damaged(&object.file()) {
            let failure = Failure("what was read was damaged, and the file is not: disk I/O error".into());
            self.give_up(object, &failure);
            return failure;
        }
        leave_log(object.shared().borrow().sql());
        object.durable.fail();
        self.remove(object);
        self.tell_damaged(&object.file());
        object.cut_off(1011, "graph damaged");
        Failure(DAMAGED.into())
    }

    /// Tells of the file of a graph that could not be opened, if that is why.
    pub(super) fn tell_damage_of(&self, folder: &str, failure: &Failure) {
        let file = graph_file(&self.options.data.graph(folder));
        if Trouble::of(&failure.0) == Some(Trouble::Damaged) && is_damaged(&file) {
            self.tell_damaged(&file);
        }
    }

    /// Says once which file is damaged, and what can be done.
    fn tell_damaged(&self, file: &Path) {
        if self.options.metrics.condition.damaged(file) {
            let hint = format!(
                "{}: `logseq-sync repair graph-db` says what of it can be read, else restore a backup; the file is left as it is",
                file.display()
            );
            self.options.log.event(&Event::new(Level::Error, "db-sync/graph-damaged").with_detail(&hint));
        }
    }
}
