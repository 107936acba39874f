//! One session over a real database, with an agent that lives on when the object dies.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use database::local_sqlite::Rusqlite;
use database::sqlite::Sqlite;
use serde_json::{Value, json};
use sessions::object::Session;
use sessions::settings::Settings;
use transcripts::tool_token::Claims;

use crate::agent::Agent;
use crate::bridges::Bridges;
use crate::clock::{Clock, Owner, Tasks};
use crate::host::TestHost;
use crate::platform::{Answer, Answered, Body, Here, Objects};
use crate::receiver::Net;
use crate::screen::Viewers;

/// What lives on when the object dies.
#[derive(Clone)]
struct Lasting {
    host: TestHost,
    sql: Rc<Rusqlite>,
    db: Option<Rc<Sqlite>>,
    agent: Rc<RefCell<Agent>>,
    alarm: Rc<Cell<Option<i64>>>,
    settings: Rc<Settings>,
    viewers: Viewers,
    net: Rc<RefCell<Net>>,
    objects: Rc<RefCell<Option<Objects>>>,
    runner: Rc<Cell<sessions::mailbox::Presence>>,
    bridges: Rc<Bridges>,
}

impl Lasting {
    /// An object that knows nothing yet.
    fn object(&self, tasks: &Rc<Tasks>) -> Rc<Session<Here>> {
        let Self { host, sql, db, agent, alarm, settings, viewers, net, objects, runner, bridges } = self.clone();
        let (tasks, to) = (Rc::clone(tasks), Rc::clone(&bridges));
        let here = Here { host, tasks, sql, db, agent, alarm, viewers, net, objects, runner, bridges };
        let session = Session::new(here, settings);
        *to.session.borrow_mut() = Some(Rc::clone(&session));
        session
    }
}

/// A session that lives through many lives of its object.
pub(crate) struct World {
    pub(crate) clock: Rc<Clock>,
    pub(crate) agent: Rc<RefCell<Agent>>,
    pub(crate) net: Rc<RefCell<Net>>,
    alarm: Rc<Cell<Option<i64>>>,
    lasting: Lasting,
    /// Whether the runner that calls us is there.
    pub(crate) runner: Rc<Cell<sessions::mailbox::Presence>>,
    /// Whoever has opened a terminal, in all lives.
    pub(crate) viewers: Viewers,
    pub(crate) tasks: Rc<Tasks>,
    pub(crate) session: Rc<Session<Here>>,
    pub(crate) provider: &'static str,
    /// Bridges to databases, in all lives.
    pub(crate) bridges: Rc<Bridges>,
}

impl World {
    pub(crate) fn new(settings: Settings, provider: &'static str) -> Self {
        Self::beside(None, settings, provider)
    }

    /// The same, with a database of all sessions.
    pub(crate) fn beside(db: Option<Rc<Sqlite>>, settings: Settings, provider: &'static str) -> Self {
        let host = TestHost::default();
        let clock = Rc::clone(&host.clock);
        clock.now.set(1_700_000_000_000);
        let (settings, tasks) = (Rc::new(settings), Tasks::of(&clock));
        let bridges = Bridges::new(&host, db.clone(), &settings, &tasks);
        let lasting = Lasting {
            host,
            sql: Rc::new(Rusqlite::in_memory().unwrap()),
            db,
            agent: Rc::default(),
            alarm: Rc::default(),
            settings,
            viewers: Viewers::default(),
            net: Rc::default(),
            objects: Rc::default(),
            runner: Rc::new(Cell::new(sessions::mailbox::Presence { number: 1, offline: None, last_seen_at: 0 })),
            bridges: Rc::clone(&bridges),
        };
        let (agent, alarm) = (Rc::clone(&lasting.agent), Rc::clone(&lasting.alarm));
        let (session, viewers) = (lasting.object(&tasks), Rc::clone(&lasting.viewers));
        let (net, runner) = (Rc::clone(&lasting.net), Rc::clone(&lasting.runner));
        Self { clock, agent, net, alarm, lasting, runner, viewers, tasks, session, provider, bridges }
    }

    /// The object dies, with everything that it was doing, and is started anew.
    pub(crate) fn crash(&mut self) {
        if self.bridges.only_session_died.take() {
            self.tasks.end_of(Owner::Session);
            self.clock.dead.set(false);
            self.session = self.lasting.object(&self.tasks);
            return;
        }
        self.tasks.end();
        self.clock.fuse.set(None);
        self.clock.dead.set(false);
        self.tasks = Tasks::of(&self.clock);
        self.bridges.crash(&self.tasks);
        self.session = self.lasting.object(&self.tasks);
    }

    /// Whether the object has died of its fuse.
    pub(crate) fn is_dead(&self) -> bool {
        self.clock.dead.get()
    }

    /// Messages that are stored and have not gone to the agent.
    pub(crate) fn waiting_orders(&self) -> Vec<String> {
        let connection = self.lasting.sql.connection();
        let mut statement = connection.prepare("SELECT message FROM orders ORDER BY seq").unwrap();
        let orders = statement.query_map([], |row| row.get(0)).unwrap();
        orders.map(Result::unwrap).collect()
    }

    /// From now on there is a store of objects.
    pub(crate) fn has_objects(&self) {
        *self.lasting.objects.borrow_mut() = Some(Objects::default());
    }

    /// What lies in the store of objects.
    pub(crate) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.lasting.objects.borrow().as_ref().unwrap().borrow().clone()
    }

    /// The service gives up a sandbox that was not used for long.
    pub(crate) fn expire(&self, sandbox: &str) -> u16 {
        self.send(&[("x-caller", "service")], "POST", &format!("expire/{sandbox}"), None).0
    }

    /// Lets time go by; alarms go off. It stands still when the object dies.
    pub(crate) fn pass(&self, ms: i64) {
        let end = self.clock.now.get() + ms;
        self.tasks.run();
        while !self.is_dead() {
            let wake = self.clock.next_wake().filter(|at| *at <= end);
            let alarm = self.alarm.get().filter(|at| *at <= end);
            let bridges = self.bridges.next_alarm().filter(|at| *at <= end);
            let Some(next) = [wake, alarm, bridges].into_iter().flatten().min() else { break };
            self.clock.advance(next);
            self.bridges.ring(self.clock.now.get());
            if self.alarm.get().is_some_and(|at| at <= next) {
                self.alarm.set(None);
                self.session.alarm().unwrap();
            }
            self.tasks.run();
        }
        if !self.is_dead() {
            self.clock.advance(end);
            self.tasks.run();
        }
    }

    /// Whether nothing is to come but by a person.
    pub(crate) fn alarm(&self) -> Option<i64> {
        self.alarm.get()
    }

    /// Asks with an idempotency key.
    pub(crate) fn keyed(&self, method: &str, path: &str, body: &Value, key: &str) -> (u16, Value) {
        self.send(&[("x-user-id", "ann"), ("idempotency-key", key)], method, path, Some(body))
    }

    /// Asks for a socket, as that user.
    pub(crate) fn ask_for_socket(&self, path: &str, user: &str) -> (u16, Value) {
        self.send(&[("x-user-id", user), ("upgrade", "websocket")], "GET", path, None)
    }

    /// Asks the object; gives status and body, when it has answered.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.send(&[("x-user-id", "ann")], method, path, body)
    }

    /// The same, by somebody else than the creator.
    pub(crate) fn ask_as(&self, user: &str, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.send(&[("x-user-id", user)], method, path, body)
    }

    /// A delivery is sent again, as the service asks for it.
    pub(crate) fn replay(&self, delivery_id: &str) -> (u16, Value) {
        self.send(&[("x-caller", "service")], "POST", &format!("replay/{delivery_id}"), None)
    }

    /// Whether the session says that a sandbox is its own, as the service asks.
    pub(crate) fn owns(&self, sandbox_id: &str) -> bool {
        self.send(&[("x-caller", "service")], "POST", &format!("disown/{sandbox_id}"), None).0 == 200
    }

    /// A runner that calls us, or its object, asks: under that key, and said to be there or not as [`Self::runner`] has it.
    pub(crate) fn of_runner(&self, key: &str, verb: &str, body: &Value) -> (u16, Value) {
        let presence = serde_json::to_string(&self.runner.get()).unwrap();
        let presence = web::url::encode(&presence);
        let headers = [("x-caller", "service"), ("x-runner-key", key), ("x-runner-presence", presence.as_str())];
        self.send(&headers, "POST", &format!("mailbox/{verb}"), Some(body))
    }

    /// The agent of the session asks, with what its token says, as the service sends it on.
    pub(crate) fn of_tool(&self, claims: &Claims, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let claims = web::url::encode(&serde_json::to_string(claims).unwrap());
        let headers = [("x-user-id", "ann"), ("x-caller", "tool"), ("x-tool-claims", claims.as_str())];
        self.send(&headers, method, path, body)
    }

    /// Everything that the object has stored of itself, as text.
    pub(crate) fn stored_text(&self) -> String {
        let connection = self.lasting.sql.connection();
        let mut statement = connection.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").unwrap();
        let tables: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let mut text = String::new();
        for table in tables {
            let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
            let columns = statement.column_count();
            let mut rows = statement.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                for column in 0..columns {
                    match row.get_ref(column).unwrap() {
                        rusqlite::types::ValueRef::Text(bytes) | rusqlite::types::ValueRef::Blob(bytes) => {
                            text.push_str(&String::from_utf8_lossy(bytes));
                            text.push('\n');
                        }
                        _ => {}
                    }
                }
            }
        }
        text
    }

    /// GitHub tells something, as the service sends it on.
    pub(crate) fn hear(&self, told: &Value) -> (u16, Value) {
        self.send(&[("x-caller", "service")], "POST", "follow-up", Some(told))
    }

    /// The same with an idempotency key.
    pub(crate) fn replay_keyed(&self, delivery_id: &str, key: &str) -> (u16, Value) {
        let headers = [("x-caller", "service"), ("idempotency-key", key)];
        self.send(&headers, "POST", &format!("replay/{delivery_id}"), None)
    }

    fn send(&self, headers: &[(&'static str, &str)], method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let mut request = http::Request::new(Body(body.map(|body| body.to_string().into_bytes())));
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = format!("https://session/__session__/{path}").parse().unwrap();
        for (name, value) in [("x-session-id", "s"), ("x-stream-base", "https://base.test")].iter().chain(headers) {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match self.answer(request) {
            Some((status, bytes)) => (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)),
            None => (0, Value::Null),
        }
    }

    /// What the object answers, if it does. The body of a stream is none.
    pub(crate) fn answer(&self, request: http::Request<Body>) -> Option<Answered> {
        let answered: Rc<RefCell<Option<Answered>>> = Rc::default();
        let (session, slot) = (Rc::clone(&self.session), Rc::clone(&answered));
        self.tasks.spawn(async move {
            let response = sessions::object::handle(&session, request).await;
            let status = response.status().as_u16();
            let bytes = match response.into_body() {
                Answer::Bytes(bytes) => bytes,
                Answer::Source(mut source) => {
                    let mut all = Vec::new();
                    while let Some(mut bytes) = source.next().unwrap() {
                        all.append(&mut bytes);
                    }
                    all
                }
                Answer::Live => Vec::new(),
            };
            *slot.borrow_mut() = Some((status, bytes));
        });
        // Nothing here takes longer than a second of this world, but for what the agent holds back.
        for _ in 0..100 {
            self.tasks.run();
            if let Some(answer) = answered.borrow_mut().take() {
                return Some(answer);
            }
            if self.is_dead() {
                return None;
            }
            self.pass(50);
        }
        None
    }

    pub(crate) fn create(&self) -> (u16, Value) {
        self.create_with(|_| {})
    }

    /// Creates a session that belongs to a graph.
    pub(crate) fn create_in_graph(&self, graph: &str) -> (u16, Value) {
        self.create_with(|task| task["project"]["graph-id"] = graph.into())
    }

    /// Creates a session that may use so much.
    pub(crate) fn create_within(&self, budget: Option<&Value>) -> (u16, Value) {
        self.create_by(|init| {
            if let (Some(budget), Some(members)) = (budget, init.as_object_mut()) {
                members.insert("budget".to_owned(), budget.clone());
            }
        })
    }

    /// The same, with a task that was changed.
    pub(crate) fn create_with(&self, change: impl FnOnce(&mut Value)) -> (u16, Value) {
        self.create_by(|init| change(&mut init["task"]))
    }

    pub(crate) fn create_by(&self, change: impl FnOnce(&mut Value)) -> (u16, Value) {
        let mut init = json!({"task": {"id": "s", "source": {"node-id": "n", "node-title": "Title"}, "intent": {"content": "Do it."},
            "project": {"id": "p", "title": "P"}, "agent": {"provider": "claude"}, "runtime-provider": self.provider,
            "capabilities": {"push-enabled": true, "pr-enabled": true}}, "secrets": {}});
        change(&mut init);
        self.ask("POST", "init", Some(&init))
    }

    /// Deletes the session.
    pub(crate) fn delete(&self) {
        assert_eq!(self.ask("POST", "delete", None), (200, json!({"ok": true})));
    }

    /// The lines that were reported under this name, read.
    pub(crate) fn reported(&self, name: &str) -> Vec<Value> {
        let reports = self.lasting.host.reports.borrow();
        let lines = reports.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["event"] == name).collect()
    }

    /// Drops tables, as if an earlier version had made the session.
    pub(crate) fn forget_tables(&self, names: &[&str]) {
        for name in names {
            self.lasting.sql.connection().execute(&format!("DROP TABLE {name}"), []).unwrap();
        }
    }

    /// The tables of the session's own database.
    pub(crate) fn tables(&self) -> Vec<String> {
        let connection = self.lasting.sql.connection();
        let mut statement = connection.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").unwrap();
        let names = statement.query_map([], |row| row.get(0)).unwrap();
        names.map(Result::unwrap).collect()
    }

    /// Bytes of the longest row that the object has stored, whatever its table.
    pub(crate) fn longest_row(&self) -> i64 {
        let sum = |columns: &[String]| {
            let lengths = columns.iter().map(|column| format!("COALESCE(LENGTH(CAST({column} AS BLOB)), 0)"));
            format!("COALESCE(MAX({}), 0)", lengths.collect::<Vec<_>>().join(" + "))
        };
        self.of_each_table(&sum).into_iter().max().unwrap()
    }

    /// In how many values a text stands that the object has stored, whatever its table.
    pub(crate) fn rows_with(&self, text: &str) -> i64 {
        let sum = |columns: &[String]| {
            let found = columns.iter().map(|column| format!("COALESCE(SUM(INSTR({column}, '{text}') > 0), 0)"));
            found.collect::<Vec<_>>().join(" + ")
        };
        self.of_each_table(&sum).into_iter().sum()
    }

    /// What an expression over a table's columns gives, for each of the object's tables.
    fn of_each_table(&self, expression: &dyn Fn(&[String]) -> String) -> Vec<i64> {
        let connection = self.lasting.sql.connection();
        let of = |table: String| {
            let mut statement = connection.prepare(&format!("SELECT name FROM pragma_table_info('{table}')")).unwrap();
            let columns: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
            let sql = format!("SELECT {} FROM {table}", expression(&columns));
            connection.query_row(&sql, [], |row| row.get(0)).unwrap()
        };
        self.tables().into_iter().map(of).collect()
    }

    pub(crate) fn message(&self, text: &str) -> (u16, Value) {
        self.ask("POST", "messages", Some(&json!({"message": text, "kind": "user"})))
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        let (status, body) = self.ask("GET", "events?limit=10000", None);
        assert_eq!(status, 200, "{body}");
        body["events"].as_array().unwrap().clone()
    }
}
