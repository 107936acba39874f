//! A store in SQLite and memory that can fail at any step, and the files of this machine.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use database::sqlite::Sqlite;
use database::{Database, DbError, Migration, Param, ReadFrom, Row, Statement};
use pollster::block_on;
use transcripts::bundle::{Bundle, Described};
use transcripts::codec::Vault;
use transcripts::places::Pattern;
use transcripts::store::{Place, Store};
use transcripts::target::{Entry, Target, TargetError};
use web::{Blobs, Failure};

/// A step of a store: what was begun is done or not, and then the machine is gone.
#[derive(Default)]
pub(crate) struct Crash {
    /// Steps that still succeed; none for all.
    pub(crate) left: Cell<Option<usize>>,
    /// Whether the step at which it happens is done.
    pub(crate) does_it: Cell<bool>,
}

impl Crash {
    /// Whether this step is done, and whether its answer comes.
    fn step(&self) -> (bool, bool) {
        match self.left.get() {
            None => (true, true),
            Some(0) => (false, false),
            Some(1) => {
                self.left.set(Some(0));
                (self.does_it.get(), false)
            }
            Some(left) => {
                self.left.set(Some(left - 1));
                (true, true)
            }
        }
    }
}

pub(crate) struct World {
    pub(crate) db: Sqlite,
    pub(crate) objects: RefCell<BTreeMap<String, Vec<u8>>>,
    pub(crate) crash: Crash,
    pub(crate) vault: Vault,
    pub(crate) limit: usize,
    pub(crate) quota: Option<u64>,
}

const SCHEMA: Migration =
    Migration { name: "0012", sql: include_str!("../../../../migrations/agents/0012_add_transcripts.sql") };

impl World {
    pub(crate) fn new() -> Self {
        Self {
            db: Sqlite::in_memory(&[SCHEMA]).unwrap(),
            objects: RefCell::default(),
            crash: Crash::default(),
            vault: Vault::new(Some([5; 32])),
            limit: 4 << 20,
            quota: None,
        }
    }

    pub(crate) fn store(&self) -> Store<'_, Self, Self> {
        Store { db: self, blobs: self, vault: &self.vault, limit: self.limit, quota: self.quota }
    }

    pub(crate) fn rows(&self, sql: &str) -> Vec<Row> {
        block_on(self.db.query(ReadFrom::Primary, sql, &[])).unwrap()
    }

    pub(crate) fn count(&self, sql: &str) -> i64 {
        self.rows(sql)[0].int(0).unwrap()
    }

    /// Every object has a row, and every row its object.
    pub(crate) fn check(&self) {
        let named: Vec<String> = self
            .rows(
                "SELECT object_key FROM transcript_snapshots WHERE object_key IS NOT NULL UNION ALL \
                 SELECT partial_key FROM transcript_snapshots WHERE partial_key IS NOT NULL",
            )
            .iter()
            .map(|row| row.string(0).unwrap())
            .collect();
        let objects = self.objects.borrow();
        for key in &named {
            assert!(objects.contains_key(key), "a row without its object: {key}");
        }
        let garbage: Vec<String> =
            self.rows("SELECT object_key FROM transcript_garbage").iter().map(|row| row.string(0).unwrap()).collect();
        for key in objects.keys() {
            assert!(named.contains(key) || garbage.contains(key), "nobody knows of {key}");
            assert!(!(named.contains(key) && garbage.contains(key)), "{key} is needed, and garbage");
        }
    }
}

fn gone() -> DbError {
    DbError("the machine is gone".into())
}

impl Database for World {
    async fn query(&self, from: ReadFrom, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        self.db.query(from, sql, params).await
    }

    async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, DbError> {
        let (does, answers) = self.crash.step();
        let done = if does { self.db.execute(sql, params).await? } else { 0 };
        if answers { Ok(done) } else { Err(gone()) }
    }

    async fn batch(&self, statements: &[Statement<'_>]) -> Result<Vec<u64>, DbError> {
        let (does, answers) = self.crash.step();
        let done = if does { self.db.batch(statements).await? } else { Vec::new() };
        if answers { Ok(done) } else { Err(gone()) }
    }
}

impl Blobs for World {
    async fn get(&self, key: &str, limit: usize) -> Result<Option<Vec<u8>>, Failure> {
        let found = self.objects.borrow().get(key).cloned();
        assert!(found.as_ref().is_none_or(|bytes| bytes.len() <= limit));
        Ok(found)
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), Failure> {
        let (does, answers) = self.crash.step();
        if does {
            assert!(self.objects.borrow_mut().insert(key.to_owned(), bytes).is_none(), "{key} is stored twice");
        }
        if answers { Ok(()) } else { Err(Failure("the machine is gone".into())) }
    }

    async fn delete(&self, key: &str) -> Result<(), Failure> {
        let (does, answers) = self.crash.step();
        if does {
            self.objects.borrow_mut().remove(key);
        }
        if answers { Ok(()) } else { Err(Failure("the machine is gone".into())) }
    }
}

pub(crate) fn place<'a>(session: &'a str, user: &'a str, run: &'a str, seq: u64) -> Place<'a> {
    Place { session, user, epoch: 0, run, seq }
}

pub(crate) fn plain(bytes: &[u8]) -> Bundle {
    Bundle::plain(Described::default(), bytes.to_vec(), 64 << 20).unwrap()
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(step).collect()
}

/// Files of this machine, as a runner has them. A write outlasts a crash before it returns.
pub(crate) struct Machine {
    /// Steps after which the process ends, as a power cut would end it; for the child of a test.
    pub(crate) dies_after: Cell<Option<usize>>,
    /// What was waited for, in milliseconds.
    pub(crate) paused: RefCell<Vec<u32>>,
    /// Calls that are refused because the machine is not reached.
    pub(crate) unreachable: Cell<usize>,
    /// What is done at each pause, such as a file that grows.
    pub(crate) at_pause: RefCell<Box<dyn FnMut()>>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            dies_after: Cell::new(None),
            paused: RefCell::default(),
            unreachable: Cell::new(0),
            at_pause: RefCell::new(Box::new(|| {})),
        }
    }
}

impl Machine {
    fn step(&self) {
        if let Some(left) = self.dies_after.get() {
            if left == 0 {
                std::process::abort();
            }
            self.dies_after.set(Some(left - 1));
        }
    }

    fn reached(&self) -> Result<(), TargetError> {
        let left = self.unreachable.get();
        self.unreachable.set(left.saturating_sub(1));
        if left > 0 { Err(TargetError::Unreachable("away".into())) } else { Ok(()) }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function for map_err")]
fn refused(error: std::io::Error) -> TargetError {
    TargetError::Refused(error.to_string())
}

impl Target for Machine {
    async fn stat(&self, path: &str) -> Result<Option<Entry>, TargetError> {
        self.reached()?;
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_file() => Ok(Some(Entry::File(found.len()))),
            Ok(_) => Ok(Some(Entry::Other)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(refused(error)),
        }
    }

    async fn read(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, TargetError> {
        self.reached()?;
        match fs::read(path) {
            Ok(bytes) if bytes.len() > limit => Err(TargetError::Refused("too large".into())),
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(refused(error)),
        }
    }

    async fn write(&self, path: &str, bytes: &[u8]) -> Result<(), TargetError> {
        self.step();
        let mut file = fs::File::create(path).map_err(refused)?;
        // In two halves, so that a crash can leave one.
        let (first, second) = bytes.split_at(bytes.len() / 2);
        file.write_all(first).map_err(refused)?;
        self.step();
        file.write_all(second).map_err(refused)?;
        self.step();
        file.sync_all().map_err(refused)
    }

    async fn make_folder(&self, path: &str) -> Result<(), TargetError> {
        self.step();
        fs::create_dir_all(path).map_err(refused)
    }

    async fn set_mode(&self, path: &str, mode: u32) -> Result<(), TargetError> {
        self.step();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(refused)
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), TargetError> {
        self.step();
        fs::rename(from, to).map_err(refused)?;
        self.step();
        let folder = Path::new(to).parent().unwrap();
        fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(refused)
    }

    async fn find(&self, home: &str, pattern: &Pattern, most: usize) -> Result<Vec<String>, TargetError> {
        let mut found = Vec::new();
        let mut folders = vec![PathBuf::from(home).join(pattern.folder())];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                let below = path.strip_prefix(home).unwrap().to_str().unwrap().to_owned();
                match entry.file_type().unwrap() {
                    kind if kind.is_dir() => folders.push(path),
                    kind if kind.is_file() && pattern.matches(&below) => found.push(below),
                    _ => {}
                }
            }
        }
        if found.len() > most { Err(TargetError::Refused("too many".into())) } else { Ok(found) }
    }

    async fn pause(&self, ms: u32) {
        self.paused.borrow_mut().push(ms);
        (self.at_pause.borrow_mut())();
    }
}

/// A folder that is gone with its value.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("transcripts-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn home(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
