//! The daemon's own side: it takes the locks, says what it is, notices when it lost them, and cleans up behind itself
//! (docs/spec/daemon.md 4.1, 4.2).

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;

use crate::identity::Here;
use crate::lock::{self, FileSystem, Held, Lock, Mode, NotTaken};
use crate::record::{self, Kind, Reading, Record, Status};
use crate::weak::WeakLock;
use crate::{Build, Error, Limits, Owner, Program, Scope, directory, error, files, legacy, orphans, process};

/// A point on the way to a held lock, for tests that kill there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Before the first lock is tried.
    BeforeLock,
    /// The locks are held.
    AfterLock,
    /// Nothing was written yet.
    BeforeMetadata,
}

/// What a test makes the file system say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trial {
    /// The file system's number.
    pub file_system: Option<i64>,
    /// A second open file gets the lock too.
    pub second_gets_it: bool,
}

/// What a daemon asks for.
pub struct Claim<'a> {
    /// What for.
    pub scope: &'a Scope,
    /// What kind of daemon it is.
    pub kind: Kind,
    /// Who starts it.
    pub owner: Owner,
    /// Its program.
    pub program: &'a Program,
    /// How long it may take to end.
    pub stop_timeout: Duration,
    /// Start even where locks do not hold.
    pub allow_weak_lock: bool,
    /// What a test makes the file system say.
    pub trial: Trial,
    /// Told of each point on the way.
    pub step: &'a dyn Fn(Step),
}

/// What a daemon got.
#[derive(Debug)]
pub struct Taken {
    /// The locks.
    pub holder: Holder,
    /// Processes without a lock that were ended.
    pub recovered: Vec<u32>,
    /// What the log should say.
    pub warnings: Vec<String>,
    /// Whether the lock is a weak one: the database must not use a write-ahead log then.
    pub weak: bool,
}

/// The lock is lost: somebody replaced its file, and another daemon may write. Nothing may be written any more, and the
/// process ends with exit code 76.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lock is lost")]
pub struct Lost;

/// A daemon's hold of its scope. It is shared by the daemon's threads.
#[derive(Debug)]
pub struct Holder {
    scope: Scope,
    locks: Vec<Lock>,
    _weak: Option<WeakLock>,
    record: Mutex<Record>,
    token: String,
    checks: AtomicU32,
    lost: AtomicBool,
}

impl Holder {
    /// Takes the locks of a scope and writes the metadata. Each lock is tried once, and none is waited for.
    ///
    /// # Errors
    ///
    /// [`Error::RepoLocked`] with the metadata of who holds it, and what the data directory is refused for.
    pub fn take(claim: &Claim<'_>) -> Result<Taken, Error> {
        let scope = claim.scope;
        let mut warnings = directory::prepare(scope.directory())?;
        directory::make_folders(scope)?;
        let here = process::here().map_err(process::failed)?;
        (claim.step)(Step::BeforeLock);
        let mut locks = Vec::new();
        if scope.graph().is_some() {
            locks.push(take(&scope.whole(), scope, Mode::Shared)?.0);
        }
        let (lock, created) = take(scope, scope, Mode::Exclusive)?;
        let weak = weak_lock(claim, &lock, &here, &mut warnings)?;
        locks.push(lock);
        (claim.step)(Step::AfterLock);
        refuse_legacy(scope)?;
        let contact = orphans::Contact::of(scope);
        (claim.step)(Step::BeforeMetadata);
        let token = crate::random_token().map_err(|error| Error::io(Path::new("/dev/urandom"), error))?;
        let record = record(claim, &here).map_err(process::failed)?;
        files::write(&scope.token(), token.as_bytes()).map_err(|error| Error::io(&scope.token(), error))?;
        files::write_record(&scope.record(), &record).map_err(|error| Error::io(&scope.record(), error))?;
        let is_weak = weak.is_some();
        let holder = Self {
            scope: scope.clone(),
            locks,
            _weak: weak,
            record: Mutex::new(record),
            token,
            checks: AtomicU32::new(0),
            lost: AtomicBool::new(false),
        };
        // Whoever lost its lock file before we made this one does not know yet. This comes after the metadata, because it may
        // take its time: a lock that nobody explains is taken from its holder.
        let recovered = if created || !contact.is_named() {
            let limits = Limits::default();
            let recovered = orphans::recover(scope, claim.program, &here, orphans::Which::Deleted, &contact, &limits);
            recovered.inspect_err(|_| holder.clean_up())?
        } else {
            Vec::new()
        };
        Ok(Taken { holder, recovered, warnings, weak: is_weak })
    }

    fn lock_record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The metadata as it was written last.
    pub fn record(&self) -> Record {
        self.lock_record().clone()
    }

    /// The scope.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The token of the daemon's own routes.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Makes sure that the lock is still the one that others find. To be asked before each commit and each administrative
    /// change, and every five seconds; it costs one `stat` for each lock. Each tenth time the metadata is compared too.
    ///
    /// # Errors
    ///
    /// [`Lost`], from then on always.
    pub fn check(&self) -> Result<(), Lost> {
        let count = self.checks.fetch_add(1, Ordering::Relaxed);
        self.look(count % 10 == 9)
    }

    fn look(&self, metadata_too: bool) -> Result<(), Lost> {
        // A lock that cannot be looked at is not known to be held.
        let in_place = self.locks.iter().all(|lock| lock.is_in_place().unwrap_or(false));
        let mut lost = !in_place;
        if metadata_too && !lost {
            // Metadata that is gone or unreadable is no other daemon's; another id is.
            let own = self.lock_record().lock_id.clone();
            lost = files::read_record(&self.scope.record()).record().is_some_and(|found| found.lock_id != own);
        }
        if lost {
            self.lost.store(true, Ordering::Release);
        }
        if self.lost.load(Ordering::Acquire) { Err(Lost) } else { Ok(()) }
    }

    /// Whether [`Self::check`] found the lock lost.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Says where the daemon answers, and that it does.
    ///
    /// # Errors
    ///
    /// When the lock is lost, or the file cannot be written.
    pub fn publish(&self, endpoint: String, listen: Vec<String>) -> Result<(), Error> {
        self.change(|record| {
            record.endpoint = endpoint;
            record.listen = listen;
            record.status = Status::Ready;
        })
    }

    /// Says that the daemon ends.
    ///
    /// # Errors
    ///
    /// When the lock is lost, or the file cannot be written.
    pub fn stopping(&self) -> Result<(), Error> {
        self.change(|record| record.status = Status::Stopping)
    }

    /// Has another owner from now on. Only a daemon of nobody gets one.
    ///
    /// # Errors
    ///
    /// When it has an owner, when the lock is lost, or when the file cannot be written.
    pub fn set_owner(&self, owner: Owner) -> Result<(), Error> {
        let present = self.lock_record().owner;
        if present != Owner::Unknown {
            let repo = self.scope.name();
            return Err(Error::OwnedByOther { repo, owner: present, requester: owner, unit: None });
        }
        self.change(|record| record.owner = owner)
    }

    fn change(&self, change: impl FnOnce(&mut Record)) -> Result<(), Error> {
        self.look(true).map_err(|Lost| Error::Lost { repo: self.scope.name() })?;
        let mut record = self.lock_record();
        let mut next = record.clone();
        change(&mut next);
        files::write_record(&self.scope.record(), &next).map_err(|error| Error::io(&self.scope.record(), error))?;
        *record = next;
        Ok(())
    }

    /// Removes socket, token and metadata, as the last thing that a daemon does; what another daemon wrote is left alone. The
    /// locks are freed when this is dropped, or when the process ends.
    pub fn clean_up(&self) {
        if self.look(true).is_err() {
            return;
        }
        for path in [self.scope.socket(), self.scope.token(), self.scope.record()] {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn take(locked: &Scope, wanted: &Scope, mode: Mode) -> Result<(Lock, bool), Error> {
    match Lock::take(&locked.lock(), mode) {
        Ok(taken) => Ok(taken),
        Err(NotTaken::Busy) => {
            let repo = wanted.name();
            Err(Error::RepoLocked { repo, holders: holders(locked), legacy: false })
        }
        // A directory that cannot be written was told before; a file here that is none is told as it is.
        Err(NotTaken::Io(error)) => Err(Error::io(&locked.lock(), error)),
    }
}

/// Metadata of those who keep a scope busy: its own daemon, or those of its graphs.
pub(crate) fn holders(scope: &Scope) -> Vec<serde_json::Value> {
    let told = |scope: &Scope| files::read_record(&scope.record()).record().map(error::holder);
    if lock::ask(&scope.lock()).ok() == Some(Held::Shared) {
        let graphs = scope.graphs().unwrap_or_default();
        let held = |graph: &&Scope| lock::ask(&graph.lock()).is_ok_and(|held| held != Held::Free);
        return graphs.iter().filter(held).filter_map(told).collect();
    }
    told(scope).into_iter().collect()
}

fn refuse_legacy(scope: &Scope) -> Result<(), Error> {
    let living = legacy::living(scope);
    if living.is_empty() {
        return Ok(());
    }
    let holders = living.iter().map(|one| {
        json!({
            "graph": one.graph, "pid": one.content.get("pid"), "owner": one.content.get("owner-source"),
        })
    });
    Err(Error::RepoLocked { repo: scope.name(), holders: holders.collect(), legacy: true })
}

/// Makes sure that the lock holds here, or takes a weak one beside it where that was asked for.
fn weak_lock(
    claim: &Claim<'_>,
    lock: &Lock,
    here: &Here,
    warnings: &mut Vec<String>,
) -> Result<Option<WeakLock>, Error> {
    let scope = claim.scope;
    let number = match claim.trial.file_system {
        Some(number) => number,
        None => lock.file_system().map_err(|error| Error::io(&scope.lock(), error))?,
    };
    let holds = !claim.trial.second_gets_it && lock.keeps_others_out();
    let file_system = match (lock::file_system(number), holds) {
        (FileSystem::Network(name), _) => name.to_owned(),
        (_, false) => format!("file system {number:#x}"),
        (FileSystem::Fuse, true) => {
            warnings.push("the data directory lies on FUSE: locks hold on this machine only".to_owned());
            return Ok(None);
        }
        (FileSystem::Local, true) => return Ok(None),
    };
    if !claim.allow_weak_lock {
        return Err(Error::LockUnsupported { path: scope.directory().to_owned(), file_system });
    }
    warnings.push(format!("{file_system}: the lock is weak, and only one machine may use this directory"));
    let path = scope.folder().join(".daemon.weak");
    match WeakLock::take(&path, here).map_err(|error| Error::io(&path, error))? {
        Some(weak) => Ok(Some(weak)),
        None => Err(Error::RepoLocked { repo: scope.name(), holders: holders(scope), legacy: false }),
    }
}

fn record(claim: &Claim<'_>, here: &Here) -> io::Result<Record> {
    let scope = claim.scope;
    let Build { revision, version } = &claim.program.build;
    let mut extra = serde_json::Map::new();
    extra.insert("version".to_owned(), version.as_str().into());
    let pid = std::process::id();
    Ok(Record {
        v: record::VERSION,
        kind: claim.kind,
        data_dir: scope.directory().to_string_lossy().into_owned(),
        graph: scope.graph().map(str::to_owned),
        pid,
        pid_start: Some(process::own_start()?),
        boot_id: Some(here.boot_id.clone()),
        pid_ns: Some(here.pid_ns),
        host: here.host.clone(),
        unit: (claim.owner == Owner::Service).then(|| process::unit(pid)).flatten(),
        lock_id: crate::random_id()?,
        owner: claim.owner,
        status: Status::Starting,
        revision: revision.clone(),
        started_at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        endpoint: String::new(),
        listen: Vec::new(),
        token_file: "daemon.token".to_owned(),
        exe: std::env::current_exe()?.to_string_lossy().into_owned(),
        stop_timeout_ms: u64::try_from(claim.stop_timeout.as_millis()).unwrap_or(u64::MAX),
        extra,
    })
}

/// What stands where metadata is expected.
pub(crate) fn reading(scope: &Scope) -> Reading {
    files::read_record(&scope.record())
}

/// Whether somebody holds the scope's lock alone.
pub(crate) fn is_held(scope: &Scope) -> Result<bool, Error> {
    let path = scope.lock();
    lock::ask(&path).map(|held| held == Held::Exclusive).map_err(|error| Error::io(&path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Program {
        Program {
            executable: "/nowhere".into(),
            serve: "serve",
            launch: &[],
            build: Build { version: "1.0.0".into(), revision: "abc".into() },
        }
    }

    fn take(scope: &Scope, owner: Owner, trial: Trial, allow_weak_lock: bool) -> Result<Taken, Error> {
        let program = program();
        let stop_timeout = Duration::from_secs(1);
        Holder::take(&Claim {
            scope,
            kind: Kind::SelfHost,
            owner,
            program: &program,
            stop_timeout,
            allow_weak_lock,
            trial,
            step: &|_| {},
        })
    }

    fn plain(scope: &Scope) -> Result<Taken, Error> {
        take(scope, Owner::Cli, Trial::default(), false)
    }

    fn scope(root: &Path, graph: Option<&str>) -> Scope {
        Scope::new(root, graph).unwrap()
    }

    /// Facts 3, 4 and 6: owner and endpoint stand in the metadata, the lock file is empty, and no change of the rest changes
    /// the owner.
    #[test]
    fn metadata_tells_the_owner_and_the_lock_file_is_empty() {
        for owner in [Owner::Cli, Owner::Desktop] {
            let root = tempfile::tempdir().unwrap();
            let scope = scope(root.path(), None);
            let holder = take(&scope, owner, Trial::default(), false).unwrap().holder;
            holder.publish("unix:/x".into(), vec!["http://127.0.0.1:1".into()]).unwrap();
            let found = reading(&scope).record().unwrap().clone();
            assert_eq!((found.owner, found.status, found.endpoint.as_str()), (owner, Status::Ready, "unix:/x"));
            holder.stopping().unwrap();
            let found = reading(&scope).record().unwrap().clone();
            assert_eq!((found.owner, found.status), (owner, Status::Stopping));
            assert_eq!(std::fs::read(scope.lock()).unwrap(), b"");
            holder.clean_up();
            drop(holder);
            assert_eq!(reading(&scope), Reading::Absent);
            assert!(scope.lock().exists() && !scope.token().exists());
        }
    }

    /// Daemons of graphs stand beside each other; the directory's excludes them and they exclude it.
    #[test]
    fn both_levels_exclude_each_other() {
        let root = tempfile::tempdir().unwrap();
        let (whole, a, b) = (scope(root.path(), None), scope(root.path(), Some("a")), scope(root.path(), Some("b")));
        let first = plain(&a).unwrap().holder;
        let second = plain(&b).unwrap().holder;
        let Err(Error::RepoLocked { holders, legacy: false, .. }) = plain(&whole) else { panic!() };
        let graphs: Vec<_> = holders.iter().map(|holder| holder["graph"].as_str().unwrap()).collect();
        assert_eq!(graphs, ["a", "b"]);
        assert!(matches!(plain(&a), Err(Error::RepoLocked { holders, .. }) if holders[0]["graph"] == "a"));
        first.clean_up();
        drop(first);
        second.clean_up();
        drop(second);
        let directory = plain(&whole).unwrap().holder;
        assert!(matches!(plain(&a), Err(Error::RepoLocked { holders, .. }) if holders[0]["graph"].is_null()));
        directory.clean_up();
        drop(directory);
    }

    /// Facts 9, 10 and 11: the holder's changes are accepted, and none once its lock file or its metadata is another's.
    #[test]
    fn who_lost_the_lock_writes_nothing_any_more() {
        let root = tempfile::tempdir().unwrap();
        let scope = scope(root.path(), None);
        let holder = plain(&scope).unwrap().holder;
        for _ in 0..25 {
            assert_eq!(holder.check(), Ok(()));
        }
        std::fs::remove_file(scope.lock()).unwrap();
        let successor = plain(&scope).unwrap().holder;
        assert_eq!(holder.check(), Err(Lost));
        assert!(matches!(holder.stopping(), Err(Error::Lost { .. })));
        holder.clean_up();
        drop(holder);
        let found = reading(&scope).record().unwrap().clone();
        assert_eq!(found.lock_id, successor.record().lock_id);
        assert_eq!(successor.check(), Ok(()));
        // The other sign: metadata with another id, seen at the tenth look at the latest.
        let foreign = Record { lock_id: "another".into(), ..successor.record() };
        files::write_record(&scope.record(), &foreign).unwrap();
        assert!((0..10).any(|_| successor.check().is_err()));
        // What was lost once stays so.
        files::write_record(&scope.record(), &successor.record()).unwrap();
        assert_eq!(successor.check(), Err(Lost));
    }

    /// Fact 41: only who has no owner gets one.
    #[test]
    fn a_daemon_of_nobody_gets_an_owner_once() {
        let root = tempfile::tempdir().unwrap();
        let scope = scope(root.path(), None);
        let holder = take(&scope, Owner::Unknown, Trial::default(), false).unwrap().holder;
        holder.set_owner(Owner::Cli).unwrap();
        assert_eq!(reading(&scope).record().unwrap().owner, Owner::Cli);
        assert!(matches!(holder.set_owner(Owner::Desktop), Err(Error::OwnedByOther { .. })));
    }

    #[test]
    fn a_file_system_without_locks_is_refused_or_gets_a_weak_one() {
        let root = tempfile::tempdir().unwrap();
        let scope = scope(root.path(), None);
        let network = Trial { file_system: Some(0x6969), ..Trial::default() };
        let broken = Trial { second_gets_it: true, ..Trial::default() };
        for trial in [network, broken] {
            assert!(matches!(take(&scope, Owner::Cli, trial, false), Err(Error::LockUnsupported { .. })));
            let taken = take(&scope, Owner::Cli, trial, true).unwrap();
            assert!(taken.weak && taken.warnings.iter().any(|warning| warning.contains("weak")));
            taken.holder.clean_up();
            drop(taken.holder);
        }
        let fuse = Trial { file_system: Some(0x6573_5546), ..Trial::default() };
        let taken = take(&scope, Owner::Cli, fuse, false).unwrap();
        assert!(!taken.weak && taken.warnings.iter().any(|warning| warning.contains("FUSE")));
    }

    #[test]
    fn a_living_client_of_logseq_keeps_its_graph() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("graphs/notes");
        std::fs::create_dir_all(&folder).unwrap();
        let lock = folder.join(legacy::NAME);
        std::fs::write(&lock, format!(r#"{{"repo":"notes","pid":{}}}"#, std::process::id())).unwrap();
        for graph in [None, Some("notes")] {
            let refused = plain(&scope(root.path(), graph));
            assert!(matches!(refused, Err(Error::RepoLocked { legacy: true, .. })));
        }
        assert!(plain(&scope(root.path(), Some("other"))).is_ok());
        std::fs::write(&lock, r#"{"repo":"notes","pid":2147483000}"#).unwrap();
        assert!(plain(&scope(root.path(), Some("notes"))).is_ok());
        assert!(lock.exists());
    }
}
