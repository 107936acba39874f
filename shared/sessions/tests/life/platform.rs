//! The ports of a session's object: databases, a store of objects, bodies, and whoever it calls.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;

use database::local_sqlite::Rusqlite;
use database::sqlite::Sqlite;
use database::{Database, DbError, Param, ReadFrom, Row, Statement};
use serde_json::json;
use sessions::github::Sign;
use sessions::object::{Inbox, Platform};
use sessions::runtime::ProviderKind;
use web::{Failure, Hosted, LiveBody, LiveSource, RequestBody, ResponseBody, Source};

use crate::agent::{Agent, Runtimes};
use crate::bridges::{Bridges, ToBridges};
use crate::clock::{Clock, Tasks};
use crate::host::TestHost;
use crate::receiver::{Net, Outside};
use crate::screen::{Screen, Viewer, Viewers};

/// The object of the one runner that calls us: whether that is there, as it tells whoever rings.
pub(crate) struct Runners {
    clock: Rc<Clock>,
    presence: Rc<Cell<sessions::mailbox::Presence>>,
}

impl web::Peers for Runners {
    async fn ask(&self, _: &str, _: web::Call, _: usize) -> Result<(http::StatusCode, Vec<u8>), Failure> {
        self.clock.point().await;
        let said = json!({"presence": self.presence.get()}).to_string();
        Ok((http::StatusCode::OK, said.into_bytes()))
    }
}

/// The platform of one life of the object.
pub(crate) struct Here {
    pub(crate) host: TestHost,
    pub(crate) tasks: Rc<Tasks>,
    pub(crate) sql: Rc<Rusqlite>,
    pub(crate) db: Option<Rc<Sqlite>>,
    pub(crate) agent: Rc<RefCell<Agent>>,
    pub(crate) alarm: Rc<Cell<Option<i64>>>,
    pub(crate) viewers: Viewers,
    pub(crate) net: Rc<RefCell<Net>>,
    pub(crate) objects: Rc<RefCell<Option<Objects>>>,
    pub(crate) runner: Rc<Cell<sessions::mailbox::Presence>>,
    pub(crate) bridges: Rc<Bridges>,
}

impl Hosted for Here {
    type Host = TestHost;

    fn host(&self) -> &TestHost {
        &self.host
    }
}

/// Signs nothing in earnest.
pub(crate) struct Scribble;

impl Sign for Scribble {
    async fn rs256(&self, _: &[u8], _: &[u8]) -> Result<Vec<u8>, Failure> {
        Ok(vec![1])
    }
}

/// A database of all sessions that is far away.
pub(crate) struct Remote {
    pub(crate) clock: Rc<Clock>,
    pub(crate) db: Rc<Sqlite>,
}

impl Database for Remote {
    async fn query(&self, from: ReadFrom, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        self.clock.point().await;
        self.db.query(from, sql, params).await
    }

    async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, DbError> {
        self.clock.point().await;
        let done = self.db.execute(sql, params).await;
        self.clock.point().await;
        done
    }

    async fn batch(&self, statements: &[Statement<'_>]) -> Result<Vec<u64>, DbError> {
        self.clock.point().await;
        let done = self.db.batch(statements).await;
        self.clock.point().await;
        done
    }
}

/// The store of objects. Without one no transcripts are kept.
pub(crate) type Objects = Rc<RefCell<BTreeMap<String, Vec<u8>>>>;

pub(crate) struct Bucket(Objects);

impl web::Blobs for Bucket {
    async fn get(&self, key: &str, limit: usize) -> Result<Option<Vec<u8>>, Failure> {
        let found = self.0.borrow().get(key).cloned();
        assert!(found.as_ref().is_none_or(|bytes| bytes.len() <= limit));
        Ok(found)
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), Failure> {
        self.0.borrow_mut().insert(key.to_owned(), bytes);
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), Failure> {
        self.0.borrow_mut().remove(key);
        Ok(())
    }
}

/// A body in memory.
pub(crate) struct Body(pub(crate) Option<Vec<u8>>);

impl RequestBody for Body {
    fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn take(&mut self) -> Option<Self> {
        Some(Self(self.0.take()))
    }

    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.0.take())
    }

    async fn cancel(&mut self) {}

    async fn discard(&mut self, _: u64) {}
}

/// Status and body of an answer.
pub(crate) type Answered = (u16, Vec<u8>);

/// What is answered.
pub(crate) enum Answer {
    Bytes(Vec<u8>),
    Source(Box<dyn Source>),
    Live,
}

impl ResponseBody for Answer {
    fn empty() -> Self {
        Self::Bytes(Vec::new())
    }

    fn full(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }

    fn streamed(source: Box<dyn Source>) -> Self {
        Self::Source(source)
    }
}

impl LiveBody for Answer {
    fn live(_: Box<dyn LiveSource>) -> Self {
        Self::Live
    }
}

impl Platform for Here {
    type Request = Body;
    type Response = Answer;
    type Sql = Rusqlite;
    type Db = Remote;
    type Blobs = Bucket;
    type Fetch = Outside;
    type Sign = Scribble;
    type Runtimes = Runtimes;
    type Runners = Runners;
    type Socket = Screen;
    type Bridges = ToBridges;

    fn bridges(&self) -> Option<Rc<ToBridges>> {
        self.bridges.is_bound.get().then(|| Rc::new(ToBridges(Rc::clone(&self.bridges))))
    }

    fn accept(
        &self,
        _: &mut http::Request<Body>,
        inbox: Rc<Inbox>,
    ) -> Result<(Screen, http::Response<Answer>), Failure> {
        let screen = Screen::default();
        self.viewers.borrow_mut().push(Viewer { inbox, screen: screen.clone() });
        let mut response = http::Response::new(Answer::Live);
        *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
        Ok((screen, response))
    }

    fn sql(&self) -> &Rusqlite {
        &self.sql
    }

    fn db(&self) -> Option<Rc<Remote>> {
        let db = self.db.clone()?;
        Some(Rc::new(Remote { clock: Rc::clone(&self.host.clock), db }))
    }

    fn blobs(&self) -> Option<Rc<Bucket>> {
        self.objects.borrow().clone().map(|objects| Rc::new(Bucket(objects)))
    }

    fn runners(&self) -> Option<Rc<Runners>> {
        Some(Rc::new(Runners { clock: Rc::clone(&self.host.clock), presence: Rc::clone(&self.runner) }))
    }

    fn fetch(&self) -> Rc<Outside> {
        Rc::new(Outside { clock: Rc::clone(&self.host.clock), net: Rc::clone(&self.net) })
    }

    fn sign(&self) -> Rc<Scribble> {
        Rc::new(Scribble)
    }

    fn tokens(&self) -> Rc<sessions::github::TokenCache> {
        Rc::default()
    }

    fn runtimes(&self, kind: ProviderKind) -> Rc<Runtimes> {
        Rc::new(Runtimes { agent: Rc::clone(&self.agent), kind, clock: Rc::clone(&self.host.clock) })
    }

    fn set_alarm(&self, at: i64) {
        self.alarm.set(Some(at));
    }

    fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        self.tasks.spawn(work);
    }
}
