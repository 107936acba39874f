//! What holds at any time of a history, and in its end.

use std::collections::{BTreeMap, BTreeSet};

use database::{Database as _, ReadFrom};
use pollster::block_on;
use serde_json::{Value, json};
use sessions::event::Kind;
use sessions::registry::webhooks;
use sessions::session::Status;
use sessions::webhook::{Topic, delivery_id};

use super::{History, Limit, MAX_ROUNDS, MONEY, QUARTER};
use crate::receiver::Post;

impl History {
    /// The stored events.
    fn log(&self) -> Vec<Value> {
        self.world.events().into_iter().filter(|event| event.get("cursor").is_some()).collect()
    }

    /// What holds at any time.
    pub(super) fn check(&mut self) {
        // Whatever it does when it is woken is done.
        self.world.session.load().unwrap();
        self.world.pass(0);
        let log = self.log();
        self.check_log(&log);
        self.check_state(&log);
        self.check_budget(&log);
        let agent = self.world.agent.borrow();
        assert!(agent.prompts.values().all(|times| *times == 1), "{:?}", agent.prompts);
        assert!(agent.pushed.iter().all(|(_, is_forced)| !is_forced), "{:?}", agent.pushed);
    }

    /// What was stored stays, in its order, and a reader who goes on from where they left off sees all of it once.
    fn check_log(&mut self, log: &[Value]) {
        let cursors: Vec<u64> = log.iter().map(|event| event["cursor"].as_u64().unwrap()).collect();
        assert!(cursors.windows(2).all(|pair| pair[0] < pair[1]), "{cursors:?}");
        let times: Vec<i64> = log.iter().map(|event| event["ts"].as_i64().unwrap()).collect();
        assert!(times.windows(2).all(|pair| pair[0] <= pair[1]), "{times:?}");
        let ids: Vec<String> = log.iter().map(|event| event["event-id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an event came twice");
        assert_eq!(ids.get(..self.seen.len()), Some(&self.seen[..]), "an event was lost");
        self.seen = ids;
        if self.dice.roll(3) == 0 {
            self.read_on();
        }
    }

    fn read_on(&mut self) {
        let limit = self.dice.roll(20) + 1;
        let (_, body) = self.world.ask("GET", &format!("events?cursor={}&limit={limit}", self.reader.cursor), None);
        for event in body["events"].as_array().unwrap() {
            if let Some(cursor) = event.get("cursor").and_then(Value::as_u64) {
                self.reader.cursor = cursor;
                self.reader.events.push(event["event-id"].as_str().unwrap().to_owned());
            }
        }
        let both = self.reader.events.len().min(self.seen.len());
        assert_eq!(self.reader.events[..both], self.seen[..both], "a reader missed something");
    }

    /// The log alone tells where the session stands.
    fn check_state(&self, log: &[Value]) {
        let shown = self.world.ask("GET", "status", None).1;
        let (mut status, mut is_archived, mut open) = (Status::Created, false, BTreeSet::new());
        for event in log {
            let kind = Kind::stored(event["type"].as_str().unwrap());
            status = Status::after(&kind).unwrap_or(status);
            let request = || event["data"]["request-id"].as_str().unwrap().to_owned();
            match kind {
                Kind::SessionArchived => is_archived = true,
                Kind::SessionUnarchived => is_archived = false,
                Kind::ApprovalRequested => assert!(open.insert(request()), "an approval was asked for twice"),
                Kind::ApprovalGranted | Kind::ApprovalDenied => {
                    assert!(open.remove(&request()), "an approval was decided twice");
                }
                _ => {}
            }
        }
        assert_eq!(shown["status"], status.as_str());
        // Whatever died when the list of sessions was being told, it knows in the end.
        if self.world.clock.now.get() > self.rested_at {
            let listed = "SELECT status, archived, active FROM agent_sessions";
            let rows = block_on(self.db.query(ReadFrom::Primary, listed, &[])).unwrap();
            let row = (rows[0].string(0), rows[0].int(1), rows[0].int(2));
            assert_eq!(row, (Some(status.as_str().to_owned()), Some(i64::from(is_archived)), Some(0)));
        }
        let approvals = self.world.ask("GET", "approvals", None).1;
        let shown: BTreeSet<String> = approvals["approvals"]
            .as_array()
            .unwrap()
            .iter()
            .map(|approval| approval["request-id"].as_str().unwrap().to_owned())
            .collect();
        assert!(shown.is_subset(&open), "{shown:?} are shown, {open:?} are open by the log");
    }

    /// A limit is passed by one report at most, and nothing is begun once it is used up.
    fn check_budget(&mut self, log: &[Value]) {
        let prompts = self.world.agent.borrow().prompts.len();
        if let Limit::Turns(turns) = self.limit {
            assert!(prompts as u64 <= turns, "{prompts} prompts of {turns}");
        }
        let reached: Vec<&Value> = log.iter().filter(|event| event["type"] == "session.budget_reached").collect();
        assert!(reached.len() <= 1, "it is told once: {reached:?}");
        let counts = self.counts();
        let spent = counts["cost"].as_array().and_then(|cost| cost.first()?["amount"].as_f64()).unwrap_or_default();
        if self.limit == Limit::Money {
            if let Some(event) = reached.first() {
                let used = event["data"]["used"].as_f64().unwrap();
                assert!((MONEY..MONEY + QUARTER).contains(&used), "stopped at {used}");
            }
            assert_eq!(spent >= MONEY, !reached.is_empty(), "{spent} were spent, and {reached:?}");
        }
        if !reached.is_empty() {
            assert_eq!(*self.held_at.get_or_insert(prompts), prompts, "a prompt after the limit");
        }
    }

    /// What holds in the end.
    pub(super) fn end(&mut self) {
        self.check_sandboxes();
        if self.deleted {
            assert_eq!(self.world.tables(), Vec::<String>::new());
            for table in ["webhook_deliveries", "session_pulls"] {
                let rows = block_on(self.db.query(ReadFrom::Primary, &format!("SELECT 1 FROM {table}"), &[])).unwrap();
                assert_eq!(rows.len(), 0, "{table}");
            }
            return;
        }
        self.check();
        let log = self.log();
        while self.reader.events.len() < self.seen.len() {
            self.read_on();
        }
        self.check_messages(&log);
        self.check_notifications(&log);
        self.check_remarks(&log);
        self.check_day();
    }

    /// No sandbox is left behind but those of which nobody could know: the search for orphans finds them.
    fn check_sandboxes(&self) {
        for (sandbox, is_known) in &self.world.agent.borrow().alive {
            if *is_known {
                assert!(!self.deleted && self.world.owns(sandbox), "{sandbox} is nobody's");
            }
        }
    }

    /// Each accepted message is in the log once, and went to the agent, or waits, or something says why not.
    fn check_messages(&self, log: &[Value]) {
        let mut logged: BTreeMap<&str, usize> = BTreeMap::new();
        for event in log.iter().filter(|event| event["data"]["event"] == "user-message") {
            *logged.entry(event["data"]["message"].as_str().unwrap()).or_default() += 1;
        }
        for text in &self.accepted {
            assert_eq!(logged.get(text.as_str()), Some(&1), "{text}");
        }
        assert!(logged.values().all(|times| *times == 1), "{logged:?}");
        let known: BTreeSet<&str> = self.accepted.iter().chain(&self.unknown).map(String::as_str).collect();
        assert!(logged.keys().all(|text| known.contains(text)), "{logged:?}");
        let waiting = self.world.waiting_orders();
        let agent = self.world.agent.borrow();
        let lost = logged
            .keys()
            .filter(|text| !agent.prompts.contains_key(**text) && !waiting.iter().any(|order| order == *text));
        let count = |name: &str| log.iter().filter(|event| event["type"] == name).count();
        // Orders are dropped by a person who cancels; else each that is lost is told.
        if count("session.canceled") == 0 {
            let lost: Vec<&&str> = lost.collect();
            // Of a turn that was stopped nobody may know whether the agent had begun it.
            let is_stopped =
                |event: &&Value| event["type"] == "turn.completed" && event["data"].get("stopped").is_some();
            let told = count("agent.runtime.error") + log.iter().filter(is_stopped).count();
            assert!(lost.len() <= told, "{lost:?} are lost, {told} errors are told: {}", json!(log));
        }
    }

    /// Each receiver has each notification that it wanted, whatever it did, as one effect.
    fn check_notifications(&self, log: &[Value]) {
        let states = self.deliveries();
        let net = self.world.net.borrow();
        let mut bodies: BTreeMap<&str, &str> = BTreeMap::new();
        for got in &net.got {
            assert_eq!(*bodies.entry(got.id()).or_insert(&got.body), got.body, "what is sent again is the same");
        }
        let mut expected = BTreeSet::new();
        for hook in &self.hooks {
            let is_disabled = block_on(webhooks::get(&*self.db, hook)).unwrap().unwrap().disabled_at.is_some();
            for event in log {
                let Some(topic) = Topic::of(&Kind::stored(event["type"].as_str().unwrap())) else { continue };
                if *hook == "some" && !matches!(topic, Topic::TurnFinished | Topic::BudgetReached) {
                    continue;
                }
                let id = delivery_id(event["event-id"].as_str().unwrap(), hook);
                let url = format!("https://receiver.example/{hook}");
                let has_it = net.got.iter().any(|got| got.id() == id && got.url == url);
                match states.get(&id).map(String::as_str) {
                    Some("done") => assert!(has_it, "{id} is said to be done"),
                    Some("dead") => {
                        let tries = net.got.iter().filter(|got| got.id() == id);
                        let refused = tries.clone().any(|got| got.post == Post::Status(410));
                        assert!(refused || is_disabled, "{id} was given up, and its receiver was well in the end");
                    }
                    None => assert!(is_disabled, "{id} of {} was never made", event["type"]),
                    Some(other) => assert_eq!(other, "done", "{id} in the end"),
                }
                expected.insert(id);
            }
        }
        for id in bodies.keys() {
            assert!(expected.contains(*id), "{id} belongs to no event");
        }
    }

    /// Each remark is acted upon once, and a person is asked after so many rounds.
    fn check_remarks(&self, log: &[Value]) {
        let mut rounds = 0;
        let mut orders = String::new();
        for event in log.iter().filter(|event| event["type"] == "audit.log") {
            if event["data"]["event"] == "pull-request" {
                rounds += 1;
                assert!(rounds <= MAX_ROUNDS, "{rounds} rounds");
                orders.push_str(event["data"]["message"].as_str().unwrap());
            } else {
                rounds = 0;
            }
        }
        for number in 1..=self.remarks {
            let times = orders.matches(&format!("remark {number}.")).count();
            assert!(times <= 1, "remark {number} came {times} times");
        }
    }

    /// The database of all sessions knows what was used.
    fn check_day(&self) {
        let counts = self.counts();
        let rows =
            block_on(self.db.query(ReadFrom::Primary, "SELECT SUM(turns), SUM(tokens) FROM usage_daily", &[])).unwrap();
        let sum = |column: usize| rows[0].int(column).unwrap_or_default();
        assert_eq!((json!(sum(0)), json!(sum(1))), (counts["turns"].clone(), counts["tokens"].clone()));
    }
}
