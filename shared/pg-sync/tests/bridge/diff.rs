//! Gaps that are told as differences of rows (pg-sync.md 4.8, `on_gap: "diff"`).

use pg_sync::answer::Answer;
use pg_sync::bridge::{Event, Mode, NotJoined, State};
use pg_sync::options::{OnGap, Options, Replica};
use pg_sync::rows::Known;
use pg_sync::shape::{Ask, LogMode};
use pg_sync::wake::Wake;
use serde_json::{Value as Json, json};

use crate::rig::{Rig, keys, options};

fn diffing() -> Options {
    Options { on_gap: OnGap::Diff, replica: Replica::Default, ..options() }
}

/// A row in a snapshot.
fn row(id: &str, n: &str) -> Json {
    json!({"key": id, "value": {"id": id, "n": n}, "headers": {"operation": "insert", "snapshot_mark": 1}})
}

/// All rows; the snapshot shows the transactions below `xmax`, but for those that are under way.
fn snapshot(rows: &[Json], xmax: u64, under_way: &[u64]) -> String {
    let xmin = under_way.first().copied().unwrap_or(xmax);
    let list: Vec<String> = under_way.iter().map(u64::to_string).collect();
    let metadata = json!({"xmin": xmin.to_string(), "xmax": xmax.to_string(), "xip_list": list, "snapshot_mark": 1});
    json!({"metadata": metadata, "data": rows}).to_string()
}

fn message(operation: &str, id: &str, value: &Json, xid: u64) -> Json {
    json!({"key": id, "value": value, "headers": {"operation": operation, "lsn": xid.to_string(), "op_position": 0, "txids": [xid]}})
}

impl Rig {
    /// Follows with these rows as what is known.
    fn knowing(rows: &[Json]) -> Self {
        let mut rig = Self::new(diffing(), Mode::Live);
        rig.subscribe("a", Wake::default());
        rig.connect();
        assert_eq!(rig.ask(), Ask::Now(LogMode::ChangesOnly));
        rig.answer(200, "h1", "0_inf", "[]");
        assert!(matches!(rig.ask(), Ask::Rows(cursor) if cursor.handle == "h1"));
        assert_eq!(rig.joined(), Vec::<String>::new(), "not before it is known what there was");
        rig.answer(200, "h1", "0_inf", &snapshot(rows, 100, &[]));
        assert_eq!(rig.joined(), ["a"]);
        rig.up_to_date();
        rig
    }

    fn up_to_date(&mut self) {
        assert!(matches!(self.ask(), Ask::CatchUp(_)));
        let cursor = self.bridge.stored().cursor.clone().unwrap();
        self.answer(200, &cursor.handle, &cursor.offset, "[]");
        assert_eq!(self.bridge.stored().state, State::Live);
        self.pass(1_000);
    }

    /// The log is replaced, and its new end found.
    fn rotate(&mut self) {
        self.answer(409, "", "", "[]");
        assert_eq!(self.ask(), Ask::Now(LogMode::ChangesOnly));
        let handle = format!("h{}", self.bridge.stored().gap_seq + 1);
        self.answer(200, &handle, "0_inf", "[]");
        assert!(matches!(self.ask(), Ask::Rows(cursor) if cursor.handle == handle));
    }

    /// What is asked after so long.
    fn ask_after(&mut self, ms: i64) -> Ask {
        self.pass(ms);
        self.happens(Event::Due);
        self.ask()
    }

    fn handle(&self) -> String {
        self.bridge.stored().cursor.clone().unwrap().handle
    }

    fn rows_come(&mut self, body: &str) {
        self.answer(200, &self.handle(), "0_inf", body);
    }

    fn changes_come(&mut self, place: &str, changes: &[Json]) {
        self.answer(200, &self.handle(), place, &Json::from(changes).to_string());
    }
}

fn told(wake: &Json) -> Vec<(String, String, Json)> {
    let changes = wake["changes"].as_array().unwrap().iter();
    let text = |value: &Json| value.as_str().unwrap().to_owned();
    changes.map(|change| (text(&change["operation"]), text(&change["key"]), change["value"].clone())).collect()
}

#[test]
fn differences_are_told_instead_of_a_gap() {
    let mut rig = Rig::knowing(&[row("1", "a"), row("2", "a"), row("3", "a"), row("4", "a")]);
    assert_eq!(rig.told(), Vec::<Json>::new(), "rows that were there are no changes");
    // An update names what has changed; the rest of the row stays known.
    rig.changes_come("101_0", &[message("update", "4", &json!({"id": "4", "n": "b"}), 101)]);
    assert_eq!(rig.told().len(), 1);
    rig.rotate();
    assert_eq!(rig.told(), Vec::<Json>::new(), "not before the rows have come");
    rig.restart();
    rig.connect();
    assert!(matches!(rig.ask(), Ask::Rows(_)), "a new process asks again");
    let after = snapshot(&[row("4", "b"), row("1", "a"), row("2", "z"), row("5", "a")], 200, &[]);
    rig.rows_come(&after);
    let wakes = rig.told();
    assert_eq!((wakes.len(), &wakes[0]["type"]), (1, &json!("pg_sync.change")));
    let expected = [
        ("delete".to_owned(), "3".to_owned(), json!({})),
        ("update".to_owned(), "2".to_owned(), json!({"id": "2", "n": "z"})),
        ("insert".to_owned(), "5".to_owned(), json!({"id": "5", "n": "a"})),
    ];
    assert_eq!(told(&wakes[0]), expected);
    assert_eq!(wakes[0]["counts"], json!({"insert": 1, "update": 1, "delete": 1}));
    for change in wakes[0]["changes"].as_array().unwrap() {
        assert_eq!((&change["synthetic"], &change["tx"], &change["partial"]), (&json!(true), &Json::Null, &Json::Null));
    }
    assert_eq!((rig.bridge.stored().gap_seq, rig.storage.gaps.len()), (1, 1), "the log says where it was");
    assert_eq!(rig.bridge.stored().gap, None);
    // Nothing has happened: nothing is told.
    rig.up_to_date();
    rig.rotate();
    rig.rows_come(&after);
    assert_eq!(rig.told(), Vec::<Json>::new());
}

#[test]
fn what_the_rows_show_is_told_once() {
    let mut rig = Rig::knowing(&[row("1", "a")]);
    rig.rotate();
    // 205 was under way, and came into the log before others that the rows show.
    rig.rows_come(&snapshot(&[row("1", "b"), row("2", "b")], 210, &[205]));
    assert_eq!(keys(&rig.told()[0]), ["1", "2"]);
    let insert = |id: &str, xid: u64| message("insert", id, &json!({"id": id, "n": "b"}), xid);
    rig.changes_come("204_0", &[message("update", "1", &json!({"id": "1", "n": "b"}), 204)]);
    assert_eq!(rig.told(), Vec::<Json>::new());
    rig.changes_come("209_0", &[insert("3", 205), insert("2", 209)]);
    assert_eq!(keys(&rig.told()[0]), ["3"]);
    assert!(rig.bridge.stored().shown.is_some());
    rig.changes_come("212_0", &[insert("4", 211)]);
    assert_eq!(keys(&rig.told()[0]), ["4"]);
    assert_eq!(rig.bridge.stored().shown, None, "the log has come to what the rows cannot show");
    // What was dropped is known all the same.
    rig.rotate();
    rig.rows_come(&snapshot(&[row("1", "b"), row("2", "b"), row("3", "b"), row("4", "b")], 300, &[]));
    assert_eq!(rig.told(), Vec::<Json>::new());
}

/// What happens before somebody has joined, and is shown by the rows, is theirs to read; nothing later is dropped.
#[test]
fn an_observer_who_joins_before_the_rows_come_hears_of_everything() {
    let mut rig = Rig::new(diffing(), Mode::Live);
    rig.subscribe("a", Wake::default());
    rig.connect();
    rig.answer(200, "h1", "0_inf", "[]");
    rig.pass(10_000);
    assert_eq!(rig.joined(), ["a"], "the caller waits no longer");
    assert!(matches!(rig.ask(), Ask::CatchUp(_)), "and rows are not asked for any more");
    rig.changes_come("50_0", &[message("insert", "1", &json!({"id": "1"}), 50)]);
    assert_eq!(keys(&rig.told()[0]), ["1"]);
    // The next gap is told, and then rows are known.
    rig.rotate();
    rig.rows_come(&snapshot(&[row("1", "a")], 100, &[]));
    let gap = rig.told();
    assert_eq!((gap.len(), &gap[0]["type"], &gap[0]["diff"]), (1, &json!("pg_sync.gap"), &json!("unavailable")));
    rig.up_to_date();
    rig.rotate();
    rig.rows_come(&snapshot(&[], 200, &[]));
    assert_eq!(told(&rig.told()[0]), [("delete".to_owned(), "1".to_owned(), json!({}))]);
}

#[test]
fn nobody_joins_while_differences_are_made() {
    let mut rig = Rig::knowing(&[]);
    rig.rotate();
    rig.subscribe("b", Wake::default());
    assert_eq!(rig.joined(), Vec::<String>::new());
    rig.pass(10_000);
    assert_eq!(rig.not_joined(), [("b".to_owned(), NotJoined::Unavailable)]);
    rig.subscribe("c", Wake::default());
    rig.rows_come(&snapshot(&[row("1", "a")], 100, &[]));
    assert_eq!(rig.joined(), ["c"]);
    let sends = rig.sends();
    assert_eq!(sends.iter().map(|(id, ..)| id.as_str()).collect::<Vec<_>>(), ["a"], "it happened before");
}

/// What cannot be compared is a gap as without `diff`, and says why.
#[test]
fn what_cannot_be_compared_is_told_as_a_gap() {
    let many: Vec<Json> = (0..50_001).map(|id| row(&id.to_string(), "a")).collect();
    let different: Vec<Json> = (0..10_001).map(|id| row(&id.to_string(), "a")).collect();
    let wide = "x".repeat(16_000);
    let large: Vec<Json> = (0..1_100).map(|id| row(&format!("{id}{wide}"), "a")).collect();
    let odd = json!({"headers": {"operation": "insert"}, "value": {"n": "1"}});
    let answer = |status: u16, body: &str| crate::rig::answer(status, "h2", "0_inf", body, false);
    for (answer, diff) in [
        (answer(400, "no subsets"), "unavailable"),
        (answer(404, ""), "unavailable"),
        (answer(200, "<html>"), "unavailable"),
        (answer(200, "[]"), "unavailable"),
        (answer(200, &snapshot(&[odd], 200, &[])), "unavailable"),
        (answer(200, &snapshot(&[row("1", "a"), row("1", "b")], 200, &[])), "unavailable"),
        (Answer::TooLarge, "too_large"),
        (answer(200, &snapshot(&many, 200, &[])), "too_large"),
        (answer(200, &snapshot(&different, 200, &[])), "too_large"),
        (answer(200, &snapshot(&large, 200, &[])), "too_large"),
    ] {
        let mut rig = Rig::knowing(&[row("x", "a")]);
        rig.rotate();
        rig.answered(answer);
        let gap = rig.told();
        assert_eq!((gap.len(), &gap[0]["type"]), (1, &json!("pg_sync.gap")), "{diff}");
        assert_eq!((&gap[0]["diff"], &gap[0]["reason"]), (&json!(diff), &json!("must_refetch")));
        assert_eq!(rig.storage.known.len(), 0, "what was remembered counts no more");
        rig.up_to_date();
        rig.changes_come("150_0", &[message("insert", "y", &json!({"id": "y"}), 150)]);
        assert_eq!(keys(&rig.told()[0]), ["y"], "it goes on");
        assert!(rig.storage.known.is_empty());
    }
}

/// A service that fails is asked again, with pauses, for five minutes.
#[test]
fn the_gap_is_told_after_five_minutes() {
    let mut rig = Rig::knowing(&[row("1", "a")]);
    rig.rotate();
    let begun = rig.now;
    for failures in 0.. {
        assert!(failures < 100, "it has an end");
        if rig.is_asking() {
            rig.answered(Answer::Busy { status: 503, retry_after_ms: None, detail: String::new() });
        }
        rig.pass(5_000);
        let told = rig.told();
        if !told.is_empty() {
            assert_eq!((&told[0]["type"], &told[0]["diff"]), (&json!("pg_sync.gap"), &json!("unavailable")));
            assert!((295_000..=306_000).contains(&(rig.now - begun)));
            break;
        }
    }
    rig.pass(300_000);
    assert!(matches!(rig.ask(), Ask::CatchUp(_)), "and then it goes on from where the log ended");
}

#[test]
fn a_secret_that_was_changed_is_read_again_for_rows_too() {
    let mut rig = Rig::knowing(&[row("1", "a")]);
    rig.rotate();
    rig.answer(401, "", "", "no");
    assert!(matches!(rig.ask(), Ask::Rows(_)));
    rig.answer(401, "", "", "no");
    assert_eq!(rig.told()[0]["diff"], "unavailable");
    assert!(matches!(rig.ask(), Ask::CatchUp(_)));
}

/// Logs that are replaced while rows are compared, and connections that lead elsewhere, hide nothing.
#[test]
fn another_gap_meanwhile_is_a_part_of_the_first() {
    let mut rig = Rig::knowing(&[row("1", "a")]);
    rig.rotate();
    // Another log answers: it was replaced between the two requests.
    rig.answer(200, "h9", "0_inf", &snapshot(&[row("1", "b")], 200, &[]));
    assert_eq!(rig.ask_after(1_000), Ask::Now(LogMode::ChangesOnly));
    rig.answer(200, "h9", "0_inf", "[]");
    rig.rows_come(&snapshot(&[row("1", "c")], 200, &[]));
    assert_eq!(told(&rig.told()[0]), [("update".to_owned(), "1".to_owned(), json!({"id": "1", "n": "c"}))]);
    rig.up_to_date();
    rig.connection.revision = 2;
    rig.happens(Event::ConnectionTouched);
    rig.connect();
    rig.answer(200, "h10", "0_inf", "[]");
    rig.rows_come(&snapshot(&[row("1", "c"), row("2", "c")], 5, &[]));
    assert_eq!(keys(&rig.told()[0]), ["2"]);
}

/// Of a row that is gone nothing is known: it wakes whoever waits for rows that are gone, whatever else they wait for.
#[test]
fn a_filter_misses_no_row_that_is_gone() {
    let filter = [("status".to_owned(), Some("paid".to_owned()))];
    let wake = Wake { filter: filter.into_iter().collect(), ..Wake::default() };
    let inserts = Wake { ops: Some([pg_sync::change::Operation::Insert].into()), ..Wake::default() };
    let mut rig = Rig::knowing(&[row("1", "a")]);
    rig.subscribe("filters", wake);
    rig.subscribe("inserts", inserts);
    rig.rotate();
    rig.rows_come(&snapshot(&[], 200, &[]));
    let mut names: Vec<String> = rig.sends().into_iter().map(|(id, ..)| id).collect();
    names.sort();
    assert_eq!(names, ["a", "filters"]);
}

/// Rows that become too many are not remembered any more, and that is said at the next gap.
#[test]
fn what_grows_too_large_is_forgotten() {
    let rows: Vec<Json> = (0..50_000).map(|id| row(&id.to_string(), "a")).collect();
    let mut rig = Rig::knowing(&rows);
    assert!(matches!(rig.bridge.stored().known, Known::Rows { count: 50_000, .. }));
    let insert = |id: &str, xid: u64| message("insert", id, &json!({"id": id, "n": "a"}), xid);
    rig.changes_come("201_0", &[message("delete", "7", &json!({"id": "7"}), 200), insert("more", 201)]);
    assert!(matches!(rig.bridge.stored().known, Known::Rows { count: 50_000, .. }));
    assert_eq!(rig.storage.known.len(), 50_000);
    rig.changes_come("202_0", &[insert("too many", 202)]);
    assert_eq!((rig.bridge.stored().known, rig.storage.known.len()), (Known::TooLarge, 0));
    rig.told();
    rig.rotate();
    rig.rows_come(&snapshot(&[row("1", "a")], 300, &[]));
    assert_eq!(rig.told()[0]["diff"], "too_large");
    assert_eq!(rig.storage.known.len(), 1, "those that are few again are known from here on");
}

/// A table without a primary key may hold a row twice.
#[test]
fn rows_that_are_there_twice_are_not_told() {
    let mut rig = Rig::knowing(&[row("1", "a"), row("1", "a")]);
    rig.rotate();
    rig.rows_come(&snapshot(&[row("1", "a"), row("1", "a"), row("2", "a"), row("2", "a")], 200, &[]));
    assert_eq!(keys(&rig.told()[0]), ["2"]);
}

#[test]
fn a_bridge_that_compares_can_rest() {
    let mut rig = Rig::knowing(&[row("1", "a")]);
    rig.rotate();
    rig.happens(Event::Unsubscribe { id: "a".into() });
    rig.actions.clear();
    assert!(matches!(rig.bridge.stored().state, State::Idle { .. }));
    rig.pass(3_600_000);
    assert_eq!((rig.bridge.stored().comparing, rig.bridge.stored().gap), (None, None));
    rig.subscribe("b", Wake::default());
    rig.connect();
    rig.up_to_date();
    assert_eq!(rig.joined(), ["b"]);
}
