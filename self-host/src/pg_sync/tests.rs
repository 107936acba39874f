//! Bridges over a service and a sink of this process.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use database::local::Sql as _;
use database::local_sqlite::{Rusqlite, Synchronous};
use http::StatusCode;
use pg_sync::body::BlockedReason;
use pg_sync::bridge::NotJoined;
use pg_sync::register::Registration;
use pg_sync::store::{Store, create_tables};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

use super::NotRegistered;
use super::bridges::Bridges;
use super::plan::plan;
use super::streams::{Reading, Sent};
use super::task::Outside;
use crate::config;
use crate::daemon::Hold;
use crate::log::{Format, Log, Threshold};

/// How long a test may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Runs a test that has tasks of its own.
pub(super) fn alone(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async { timeout(PATIENCE, test).await.expect("in time") });
}

/// Waits until something holds.
async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        sleep(Duration::from_millis(5)).await;
    }
}

/// A server of this process. It counts how many requests are under way at once, and keeps them.
#[derive(Clone)]
pub(super) struct Stub {
    pub(super) url: String,
    under_way: Rc<Cell<usize>>,
    /// The most requests that were under way at once.
    pub(super) most: Rc<Cell<usize>>,
    /// Heads and bodies, oldest first.
    pub(super) requests: Rc<RefCell<Vec<String>>>,
}

impl Stub {
    /// Begins to answer: a request's head and body give the whole answer.
    pub(super) async fn start<F, A>(answer: F) -> Self
    where
        F: Fn(String) -> A + 'static,
        A: Future<Output = String> + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/shape", listener.local_addr().unwrap());
        let stub = Self { url, under_way: Rc::default(), most: Rc::default(), requests: Rc::default() };
        let (its, answer) = (stub.clone(), Rc::new(answer));
        spawn_local(async move {
            while let Ok((connection, _)) = listener.accept().await {
                spawn_local(its.clone().converse(connection, Rc::clone(&answer)));
            }
        });
        stub
    }

    async fn converse<F, A>(self, mut connection: TcpStream, answer: Rc<F>)
    where
        F: Fn(String) -> A,
        A: Future<Output = String>,
    {
        while let Some(request) = received(&mut connection).await {
            self.requests.borrow_mut().push(request.clone());
            self.under_way.set(self.under_way.get() + 1);
            self.most.set(self.most.get().max(self.under_way.get()));
            let answer = answer(request).await;
            self.under_way.set(self.under_way.get() - 1);
            if connection.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// The next request, with its body.
async fn received(connection: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    let mut piece = [0; 4096];
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        let read = connection.read(&mut piece).await.ok().filter(|read| *read > 0)?;
        text.push_str(std::str::from_utf8(&piece[..read]).unwrap());
    }
}

/// A whole answer.
pub(super) fn told(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

/// A service whose log has these changes, each an answer's message.
async fn service(changes: &Rc<RefCell<Vec<String>>>) -> Stub {
    let changes = Rc::clone(changes);
    Stub::start(move |request| {
        let changes = Rc::clone(&changes);
        async move {
            let from = request.split_once("offset=").and_then(|(_, rest)| rest.split_once('_')?.0.parse().ok());
            let from: usize = from.unwrap_or(changes.borrow().len());
            if request.contains("live=true") {
                until(|| changes.borrow().len() > from).await;
            }
            let mut messages = changes.borrow()[from..].to_vec();
            messages.push(json!({"headers": {"control": "up-to-date"}}).to_string());
            let headers = format!("electric-handle: h\r\nelectric-offset: {}_0\r\n", changes.borrow().len());
            told("200 OK", &headers, &format!("[{}]", messages.join(",")))
        }
    })
    .await
}

fn insert(number: usize) -> String {
    let headers = json!({"operation": "insert", "lsn": number.to_string(), "op_position": 0});
    json!({"key": format!("k{number}"), "value": {"id": number.to_string()}, "headers": headers}).to_string()
}

/// Bridges over a folder, as a configuration says. The lock is that of all that are begun there: requests of bridges that have ended go on for a while.
fn begun(folder: &TempDir, hold: &Arc<Hold>, configuration: &str) -> (Rc<Rusqlite>, Bridges) {
    let folder = folder.path();
    let config = config::observed(configuration).unwrap();
    let sql = Rc::new(Rusqlite::open(&folder.join("pg-sync.sqlite"), Synchronous::Full).unwrap());
    create_tables(&sql).unwrap();
    let log = Log::open(Format::Text, Threshold::Warn, Some(&folder.join("log"))).unwrap();
    let mut outside = Outside::new(&config, Arc::clone(hold), log).unwrap();
    outside.again_ms = 20;
    let bridges = Bridges::begin(&sql, plan(&config), Rc::new(outside)).unwrap();
    (sql, bridges)
}

/// Ends bridges, and waits until nobody has their database any more.
async fn ended((sql, bridges): (Rc<Rusqlite>, Bridges)) {
    bridges.end();
    while Rc::strong_count(&sql) > 1 {
        sleep(Duration::from_millis(5)).await;
    }
}

fn connection(service: &Stub, more: &str) -> String {
    format!("[pg_sync.connections.main]\nurl = \"{}\"\n{more}\n", service.url)
}

/// Asks for a source, of the rows after a number.
fn asked(bridges: &mut Bridges, service: &Stub, after: usize) -> oneshot::Receiver<Result<String, NotRegistered>> {
    let (answer, registered) = oneshot::channel();
    let options = json!({"url": service.url, "table": "orders", "where": format!("id > {after}")});
    bridges.register("user".into(), Registration::read(&json!({"options": options})).unwrap(), answer);
    registered
}

async fn status(bridges: &Bridges, source_ref: &str) -> StatusCode {
    let (answer, read) = oneshot::channel();
    bridges.read("user", source_ref, Reading::Head, answer);
    match read.await.unwrap() {
        Sent::Whole(response) => response.status(),
        Sent::Events(head, _) => head.status(),
    }
}

#[test]
fn a_table_that_is_let_through_no_more_is_read_no_more() {
    alone(async {
        let folder = tempfile::tempdir().unwrap();
        let hold = Hold::of_test(folder.path());
        let service = service(&Rc::default()).await;
        let (sql, mut bridges) = begun(&folder, &hold, &connection(&service, "tables = [\"orders\"]"));
        let source_ref = asked(&mut bridges, &service, 0).await.unwrap().unwrap();
        assert_eq!(status(&bridges, &source_ref).await, StatusCode::OK);
        ended((sql, bridges)).await;

        let before = service.requests.borrow().len();
        let (sql, bridges) = begun(&folder, &hold, &connection(&service, "tables = [\"others\"]"));
        let block = || Store::new(Rc::clone(&sql), 0).open().unwrap().unwrap().stored().block.clone();
        until(|| block().is_some()).await;
        assert_eq!(block().unwrap().reason, BlockedReason::TableNotAllowed);
        assert_eq!(status(&bridges, &source_ref).await, StatusCode::NOT_FOUND);
        assert_eq!(service.requests.borrow().len(), before, "nobody asks for it any more");
        ended((sql, bridges)).await;

        let (sql, bridges) = begun(&folder, &hold, &connection(&service, ""));
        let is_blocked = || Store::new(Rc::clone(&sql), 0).open().unwrap().unwrap().stored().block.is_some();
        until(|| !is_blocked()).await;
        assert_eq!(status(&bridges, &source_ref).await, StatusCode::OK);
        ended((sql, bridges)).await;
    });
}

#[test]
fn an_observation_that_has_ended_stays_so_when_others_are_begun_again() {
    alone(async {
        let folder = tempfile::tempdir().unwrap();
        let hold = Hold::of_test(folder.path());
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "secret").unwrap();
        let changes: Rc<RefCell<Vec<String>>> = Rc::default();
        let service = service(&changes).await;
        let sink = Stub::start(async |_| told("200 OK", "", "{}")).await;
        let observed = |id: &str, wake: &str| {
            format!(
                "[[pg_sync.observations]]\nid = \"{id}\"\nconnection = \"main\"\ntable = \"orders\"\nwake = {{ {wake} }}\n"
            )
        };
        let configuration = format!(
            "[pg_sync]\nsink_url = \"{}\"\nsink_secret_file = \"{}\"\n{}{}{}",
            sink.url,
            secret.display(),
            connection(&service, ""),
            observed("once", "one_shot = true"),
            observed("always", ""),
        );
        let planned = plan(&config::observed(&configuration).unwrap());
        let [once, always] = planned[0].observers.as_slice() else { panic!("two observe one source") };
        let heard = |id: &str| -> Vec<String> {
            let requests = sink.requests.borrow();
            let bodies = requests.iter().map(|request| request.split_once("\r\n\r\n").unwrap().1);
            let bodies = bodies.map(|body| serde_json::from_str::<Json>(body).unwrap());
            let its = bodies.filter(|body| body["key"].as_str().unwrap().contains(id));
            its.map(|body| body["type"].as_str().unwrap().to_owned()).collect()
        };
        let (sql, bridges) = begun(&folder, &hold, &configuration);
        let observers =
            |sql: &Rc<Rusqlite>| Store::new(Rc::clone(sql), 0).open().ok().flatten().map(|it| it.observers().len());
        until(|| observers(&sql) == Some(2)).await;
        until(|| service.requests.borrow().iter().any(|request| request.contains("live=true"))).await;
        changes.borrow_mut().push(insert(1));
        until(|| heard(&once.id).len() == 2 && heard(&always.id).len() == 1).await;

        // The next change cannot be stored for a while.
        sql.execute("ALTER TABLE pg_observers RENAME TO away", &[]).unwrap();
        changes.borrow_mut().push(insert(2));
        until(|| std::fs::read_to_string(folder.path().join("log")).unwrap().contains("cannot be stored")).await;
        sql.execute("ALTER TABLE away RENAME TO pg_observers", &[]).unwrap();
        until(|| heard(&always.id).len() == 2).await;
        for number in 3..6 {
            changes.borrow_mut().push(insert(number));
            until(|| heard(&always.id).len() == number).await;
        }
        assert_eq!(heard(&once.id), ["pg_sync.change", "pg_sync.ended"]);
        bridges.end();
    });
}

#[test]
fn sources_that_the_service_refuses_leave_nothing_behind() {
    alone(async {
        let folder = tempfile::tempdir().unwrap();
        let hold = Hold::of_test(folder.path());
        let service = Stub::start(async |_| told("400 Bad Request", "", "{\"message\":\"no\"}")).await;
        let (sql, mut bridges) = begun(&folder, &hold, &connection(&service, ""));
        for after in 0..200 {
            let refused = asked(&mut bridges, &service, after).await.unwrap();
            assert!(matches!(refused, Err(NotRegistered::Bridge(NotJoined::Refused(_)))), "{refused:?}");
        }
        assert!(bridges.running() <= 2, "{} are kept", bridges.running());
        assert_eq!(pg_sync::store::bridges(&sql).unwrap(), []);
        bridges.end();
    });
}

#[test]
fn a_burst_of_registrations_gets_no_more_than_the_quota() {
    alone(async {
        let folder = tempfile::tempdir().unwrap();
        let hold = Hold::of_test(folder.path());
        let service = service(&Rc::default()).await;
        let (sql, mut bridges) = begun(&folder, &hold, &connection(&service, ""));
        let burst: Vec<_> = (0..130).map(|after| asked(&mut bridges, &service, after)).collect();
        let mut refused = 0;
        for registered in burst {
            match registered.await.unwrap() {
                Ok(_) => {}
                Err(NotRegistered::Quota(100)) => refused += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(refused, 30);
        ended((sql, bridges)).await;

        // Those that are stored count from the beginning on.
        let (_, mut bridges) = begun(&folder, &hold, &connection(&service, ""));
        let more = asked(&mut bridges, &service, 200);
        assert_eq!(more.await.unwrap(), Err(NotRegistered::Quota(100)));
        bridges.end();
    });
}
