//! Uploads in each other's way, in the way of deletions, and with an index that fails (sync.md 10.4, 10.5).

use std::rc::Rc;

use database::local::Sql as _;
use graph::snapshot::FrameWriter;
use protocol::limits::UPLOAD_IDLE_MS;
use serde_json::{Value, json};

use crate::world::{Answer, TestBody, World, Write, request};

/// A graph with that many pages: its rows and its checksum.
type Rows = Vec<(i64, String, Option<String>)>;

fn page(n: usize) -> Value {
    let uuid = format!("00000000-0000-4000-8000-{n:012x}");
    let title = format!("page {n}");
    json!([
        ["~:db/add", uuid, "~:block/uuid", format!("~u{uuid}")],
        ["~:db/add", uuid, "~:block/name", title],
        ["~:db/add", uuid, "~:block/title", title],
    ])
}

fn write(world: &World, graph: &str, n: usize) {
    let t = world.ok("owner", "GET", &format!("/sync/{graph}/pull"), "")["t"].clone();
    let body = json!({ "t-before": t, "txs": [{ "tx": page(n).to_string(), "outliner-op": "create-page" }] });
    let answer = world.ok("owner", "POST", &format!("/sync/{graph}/tx/batch"), &body.to_string());
    assert_eq!(answer["type"], "tx/batch/ok");
}

fn rows_of(world: &World, graph: &str) -> Rows {
    let graph = world.graph(graph).graph.clone();
    // The rows alone hold everything after a checkpoint.
    graph.borrow_mut().checkpoint().unwrap();
    let graph = graph.borrow();
    let mut rows = Vec::new();
    graph
        .sql()
        .query("SELECT addr, content, addresses FROM kvs ORDER BY addr", &[], &mut |row| {
            rows.push((row.int(0)?.unwrap(), row.text(1)?.unwrap().into_owned(), row.text(2)?.map(Into::into)));
            Ok(std::ops::ControlFlow::Continue(()))
        })
        .unwrap();
    rows
}

fn staged(world: &World, graph: &str) -> i64 {
    let graph = world.graph(graph).graph.clone();
    let graph = graph.borrow();
    graph.sql().connection().query_row("SELECT count(*) FROM upload_rows", [], |row| row.get(0)).unwrap()
}

/// A graph of `pages` pages from number `from` on, as somebody would upload it.
fn written(world: &World, from: usize, pages: usize) -> (Rows, String) {
    let source = world.create("owner", &format!("source {from} {pages}"));
    for n in from..from + pages {
        write(world, &source, n);
    }
    let checksum = world.ok("owner", "GET", &format!("/sync/{source}/pull"), "")["checksum"].clone();
    (rows_of(world, &source), checksum.as_str().unwrap().to_owned())
}

fn frame(rows: &[(i64, String, Option<String>)]) -> Vec<u8> {
    let mut writer = FrameWriter::new();
    for (addr, content, addresses) in rows {
        writer.row(*addr, content, addresses.as_deref());
    }
    writer.finish()
}

fn halves(rows: &Rows) -> [Vec<u8>; 2] {
    let (first, second) = rows.split_at(rows.len() / 2);
    [frame(first), frame(second)]
}

fn upload(world: &World, user: &str, graph: &str, query: &str, body: TestBody) -> Answer {
    let mut upload = request(Some(user), "POST", &format!("/sync/{graph}/snapshot/upload?{query}"), "");
    *upload.body_mut() = body;
    // Not by `send`: other requests may come in the middle of this one.
    let (parts, body) = pollster::block_on(sync_http::handle(world, &world.service, upload)).into_parts();
    Answer { status: parts.status.as_u16(), headers: parts.headers, bytes: body.bytes().unwrap() }
}

fn part(world: &World, user: &str, graph: &str, query: &str, bytes: &[u8]) -> (u16, String) {
    let answer = upload(world, user, graph, query, TestBody::chunks([bytes.to_vec()]));
    if answer.status == 200 { (200, String::new()) } else { answer.refusal() }
}

fn is_listed_ready(world: &World, graph: &str) -> bool {
    let list = world.ok("owner", "GET", "/graphs", "");
    let graphs = list["graphs"].as_array().unwrap();
    graphs.iter().find(|listed| listed["graph-id"] == graph).unwrap()["graph-ready-for-use?"] == true
}

fn pull_status(world: &World, graph: &str) -> u16 {
    world.call(Some("owner"), "GET", &format!("/sync/{graph}/pull"), "").status
}

#[test]
fn a_last_part_that_comes_again_takes_nothing_back() {
    let world = World::new();
    let (rows, _) = written(&world, 1, 60);
    let [first, last] = halves(&rows);
    let graph = world.create("owner", "g");
    assert_eq!(part(&world, "owner", &graph, "reset=true", &first).0, 200);
    assert_eq!(part(&world, "owner", &graph, "reset=false&finished=true", &last).0, 200);
    write(&world, &graph, 500);
    let before = rows_of(&world, &graph);
    let again = part(&world, "owner", &graph, "reset=false&finished=true", &last);
    assert_eq!(again, (409, "upload conflict".into()));
    assert_eq!(rows_of(&world, &graph), before);
    write(&world, &graph, 501);
}

#[test]
fn two_who_upload_at_a_time_do_not_mix() {
    let world = World::new();
    let ((a_rows, a_sum), (b_rows, b_sum)) = (written(&world, 1, 60), written(&world, 200, 50));
    let ([a1, a2], [b1, b2]) = (halves(&a_rows), halves(&b_rows));
    let graph = world.create("owner", "g");
    world.ok("owner", "POST", &format!("/graphs/{graph}/members"), r#"{"user-id":"bob"}"#);
    let conflict = (409, "upload conflict".to_owned());
    assert_eq!(part(&world, "owner", &graph, "reset=true", &a1).0, 200);
    assert_eq!(part(&world, "bob", &graph, "reset=true", &b1), conflict);
    let end = |sum: &str| format!("reset=false&finished=true&checksum={sum}");
    assert_eq!(part(&world, "bob", &graph, &end(&b_sum), &b2), conflict);
    assert_eq!(part(&world, "owner", &graph, &end(&a_sum), &a2).0, 200);
    let late = part(&world, "bob", &graph, "reset=false&finished=true", &b2);
    assert_eq!(late, conflict, "nor after its end");
    assert_eq!(rows_of(&world, &graph), a_rows);
    assert!(is_listed_ready(&world, &graph));
    assert_eq!(
        part(&world, "bob", &graph, &format!("reset=true&finished=true&checksum={b_sum}"), &frame(&b_rows)).0,
        200
    );
    assert_eq!(rows_of(&world, &graph), b_rows, "one after the other may");
}

#[test]
fn sockets_close_when_their_graph_is_replaced() {
    let world = World::new();
    let (rows, sum) = written(&world, 1, 5);
    let graph = world.create("owner", "g");
    let socket = world.connect("owner", &graph);
    let query = format!("reset=true&finished=true&checksum={sum}");
    assert_eq!(part(&world, "owner", &graph, &query, b"").0, 400);
    assert_eq!(part(&world, "owner", &graph, "reset=false&finished=true", b"").0, 200);
    assert_eq!(*socket.closed.borrow(), None, "nothing is replaced");
    let object = world.graph(&graph);
    let seen = Rc::new(std::cell::Cell::new(0));
    let body = {
        let (object, seen) = (Rc::clone(&object), Rc::clone(&seen));
        TestBody::chunks([frame(&rows)]).before_chunk(
            1,
            Box::new(move || {
                seen.set(object.sockets.borrow().iter().filter(|socket| socket.closed.borrow().is_some()).count());
            }),
        )
    };
    assert_eq!(upload(&world, "owner", &graph, &query, body).status, 200);
    assert_eq!(*socket.closed.borrow(), Some((1012, "snapshot replaced".into())), "D-50");
    assert_eq!(seen.get(), 1, "before its rows are taken");
    world.connect("owner", &graph);
    let socket = object.sockets.borrow().last().cloned().unwrap();
    assert_eq!(part(&world, "owner", &graph, &query, b"no snapshot").0, 400);
    assert_eq!(*socket.closed.borrow(), Some((1012, "snapshot replaced".into())), "also when it then fails");
}

/// What becomes of the index's writes, in turn.
type Fates = fn() -> Vec<Write>;

#[test]
fn an_upload_that_changed_nothing_locks_nobody_out() {
    let world = World::new();
    let (rows, _) = written(&world, 1, 5);
    let fates: [(&str, Fates); 4] = [
        ("the flag was not set", || vec![Write::Refused]),
        ("the flag was set and the answer lost", || vec![Write::Lost]),
        ("nor could it be lifted again", || vec![Write::Lost, Write::Refused]),
        ("nor when the next one came", || vec![Write::Lost, Write::Refused, Write::Refused]),
    ];
    for (what, fates) in fates {
        for written in [false, true] {
            let graph = world.create("owner", what);
            if written {
                write(&world, &graph, 1);
            }
            let index = world.graph(&graph).db.clone().unwrap();
            index.writes.borrow_mut().extend(fates());
            assert_eq!(part(&world, "owner", &graph, "reset=true&finished=true", &frame(&rows)).0, 500, "{what}");
            assert_eq!(pull_status(&world, &graph), 200, "{what}");
            assert_eq!(pull_status(&world, &graph), 200, "{what}");
            assert!(is_listed_ready(&world, &graph), "{what}");
            world.sql(&format!("UPDATE graphs SET graph_name = graph_id WHERE graph_id = '{graph}'"));
        }
    }
}

#[test]
fn a_graph_that_was_never_open_is_not_opened_by_a_failure() {
    let world = World::new();
    let (rows, _) = written(&world, 1, 5);
    let body = r#"{"graph-name":"x","graph-e2ee?":false,"graph-ready-for-use?":false}"#;
    let graph = world.ok("owner", "POST", "/graphs", body)["graph-id"].as_str().unwrap().to_owned();
    let index = world.graph(&graph).db.clone().unwrap();
    index.writes.borrow_mut().push_back(Write::Lost);
    assert_eq!(part(&world, "owner", &graph, "reset=true&finished=true", &frame(&rows)).0, 500);
    assert_eq!((pull_status(&world, &graph), is_listed_ready(&world, &graph)), (409, false));
    assert_eq!(part(&world, "owner", &graph, "reset=true&finished=true", &frame(&rows)).0, 200);
    assert_eq!((pull_status(&world, &graph), is_listed_ready(&world, &graph)), (200, true));
}

#[test]
fn an_end_of_which_the_index_did_not_hear_is_told_later() {
    let world = World::new();
    let (rows, _) = written(&world, 1, 5);
    let graph = world.create("owner", "g");
    let index = world.graph(&graph).db.clone().unwrap();
    let fine = || Write::After(Box::new(|| {}));
    index.writes.borrow_mut().extend([fine(), Write::Refused]);
    assert_eq!(part(&world, "owner", &graph, "reset=true&finished=true", &frame(&rows)).0, 500);
    assert!(!is_listed_ready(&world, &graph));
    assert_eq!(pull_status(&world, &graph), 200);
    assert!(is_listed_ready(&world, &graph));
}

#[test]
fn a_late_ready_does_not_open_a_graph_that_is_closed_again() {
    let world = Rc::new(World::new());
    let (rows, _) = written(&world, 1, 60);
    let [first, last] = halves(&rows);
    let graph = world.create("owner", "g");
    let index = world.graph(&graph).db.clone().unwrap();
    let next = {
        let (world, graph, first) = (Rc::clone(&world), graph.clone(), first.clone());
        Box::new(move || assert_eq!(part(&world, "owner", &graph, "reset=true", &first).0, 200))
    };
    index.writes.borrow_mut().extend([Write::After(Box::new(|| {})), Write::After(next)]);
    assert_eq!(part(&world, "owner", &graph, "reset=true&finished=true", &frame(&rows)).0, 200);
    assert_eq!((pull_status(&world, &graph), is_listed_ready(&world, &graph)), (409, false));
    assert_eq!(part(&world, "owner", &graph, "reset=false&finished=true", &last).0, 200);
    assert_eq!((pull_status(&world, &graph), is_listed_ready(&world, &graph)), (200, true));
}

#[test]
fn an_upload_that_nobody_goes_on_with_is_over() {
    let world = World::new();
    let (rows, _) = written(&world, 1, 60);
    let [first, _] = halves(&rows);
    for opened in [false, true] {
        let graph = world.create("owner", &format!("g {opened}"));
        if opened {
            write(&world, &graph, 300);
        }
        assert_eq!(part(&world, "owner", &graph, "reset=true", &first).0, 200);
        assert_eq!((pull_status(&world, &graph), is_listed_ready(&world, &graph)), (409, false));
        world.time.advance(UPLOAD_IDLE_MS + 1);
        assert_eq!((pull_status(&world, &graph), is_listed_ready(&world, &graph)), (200, true), "open as it was");
        write(&world, &graph, 301);
        assert_eq!(staged(&world, &graph), 0);
    }
}

#[test]
fn a_request_that_is_given_up_drops_its_rows_at_once() {
    let world = Rc::new(World::new());
    let (rows, sum) = written(&world, 1, 60);
    let graph = world.create("owner", "g");
    world.ok("owner", "POST", &format!("/graphs/{graph}/members"), r#"{"user-id":"bob"}"#);
    // 400 frames are more than is kept in memory before it is stored.
    let many = || TestBody::chunks(rows.chunks(1).map(frame));
    let query = format!("reset=false&finished=true&checksum={sum}");
    let mut broken = many();
    broken.broken = true;
    assert_eq!(upload(&world, "bob", &graph, &query, broken).refusal(), (400, "request interrupted".into()));
    assert_eq!(staged(&world, &graph), 0);
    let removal = {
        let (world, graph) = (Rc::clone(&world), graph.clone());
        Box::new(move || {
            world.ok("owner", "DELETE", &format!("/graphs/{graph}/members/bob"), "");
        })
    };
    let removed = upload(&world, "bob", &graph, &query, many().before_chunk(rows.len(), removal));
    assert_eq!(removed.refusal(), (403, "forbidden".into()));
    assert_eq!(staged(&world, &graph), 0);
    assert_eq!(pull_status(&world, &graph), 200);
}

#[test]
fn an_upload_that_races_a_deletion_leaves_no_rows() {
    for reset in [false, true] {
        for third in 0..=3 {
            let world = Rc::new(World::new());
            let (rows, sum) = written(&world, 1, 60);
            let graph = world.create("owner", "g");
            let deletion = {
                let (world, graph) = (Rc::clone(&world), graph.clone());
                Box::new(move || {
                    world.ok("owner", "DELETE", &format!("/graphs/{graph}"), "");
                })
            };
            let at = rows.len() * third / 3;
            let body = TestBody::chunks(rows.chunks(1).map(frame)).before_chunk(at, deletion);
            let query = format!("reset={reset}&finished=true&checksum={sum}");
            let answer = upload(&world, "owner", &graph, &query, body);
            assert_eq!(answer.refusal(), (404, "not found".into()), "reset {reset}, at {at}");
            assert_eq!((rows_of(&world, &graph).len(), staged(&world, &graph)), (0, 0), "reset {reset}, at {at}");
        }
    }
}
