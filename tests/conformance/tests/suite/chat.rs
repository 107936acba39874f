//! The client `logseq/chat` (sync.md 14), played by its stand-in.

use conformance::chat::{Chat, Ended, create_graph, sign_in, upload};
use conformance::socket::Closed;
use conformance::{Server, Socket, TestGraph, frames, tx};
use serde_json::{Value, json};

super::cases![
    a_graph_is_made_in_one_upload_and_opened,
    an_access_token_erases_nothing,
    items_need_not_be_normalised,
    an_entity_that_nobody_can_name_is_dropped_and_the_entry_goes_on,
    its_own_edit_comes_back_to_its_socket,
    two_devices_follow_each_other,
    a_page_and_its_blocks_go,
    a_lost_answer_is_tried_again,
    its_socket_says_no_hello_and_pings,
    a_replaced_graph_ends_the_socket,
    a_cursor_from_before_begins_anew,
];

const TIME: i64 = 1_795_000_000_000;

/// A new page, as a map item.
fn page(id: &str, title: &str) -> Value {
    json!([
        "^ ",
        "~:db/id",
        format!("pending/{id}"),
        "~:block/uuid",
        format!("~u{id}"),
        "~:block/title",
        title,
        "~:block/name",
        title.to_lowercase(),
        "~:block/created-at",
        TIME,
        "~:block/updated-at",
        TIME,
        "~:block/tags",
        [["~:db/ident", "~:logseq.class/Page"]],
    ])
}

/// A new block, as a map item.
fn block(id: &str, page: &str, order: &str, title: &str) -> Value {
    json!([
        "^ ",
        "~:db/id",
        format!("pending/{id}"),
        "~:block/uuid",
        format!("~u{id}"),
        "~:block/title",
        title,
        "~:block/page",
        tx::block(page),
        "~:block/parent",
        tx::block(page),
        "~:block/order",
        order,
        "~:block/created-at",
        TIME,
        "~:block/updated-at",
        TIME,
    ])
}

/// A device with its own graph of one page, and the page's uuid.
fn device(server: &Server) -> (Chat, String) {
    let client = sign_in(server, "chat");
    let graph = create_graph(&client);
    let mut chat = Chat::open(&client, &graph);
    chat.connect();
    let home = tx::id();
    chat.write("insert-blocks", &[page(&home, &format!("Home {home}"))]);
    chat.follow().unwrap();
    (chat, home)
}

fn cas(id: &str, attribute: &str, old: impl Into<Value>, new: impl Into<Value>) -> Value {
    json!(["~:db.fn/cas", tx::block(id), format!("~:{attribute}"), old.into(), new.into()])
}

fn a_graph_is_made_in_one_upload_and_opened(server: &Server) {
    let client = sign_in(server, "chat");
    let graph = create_graph(&client);
    let chat = Chat::open(&client, &graph);
    assert_eq!((chat.mirror.cursor, chat.rows.len()), (0, frames::rows(&frames::initial_graph(false)).len()));
    assert_eq!(chat.mirror.schema_version, conformance::chat::SCHEMA_VERSION);
}

fn an_access_token_erases_nothing(server: &Server) {
    // First on the desktop, with an identity token, then with the app.
    let desktop = server.person("both");
    let graph = TestGraph::initial(&desktop);
    let mut claims = server.issuer.claims(&desktop.user);
    let fields = claims.as_object_mut().unwrap();
    for absent in ["aud", "email", "email_verified", "cognito:username"] {
        fields.remove(absent);
    }
    fields.insert("client_id".into(), json!(server.issuer.client_id));
    let app = desktop.with_token(&server.issuer.sign(&claims));
    app.get("/graphs").status(200);
    let members = desktop.get(&format!("/graphs/{}/members", graph.id)).status(200).json();
    let member = &members["members"][0];
    assert_eq!(member["email"], conformance::tokens::email(&desktop.user), "{members}");
    assert_eq!(member["username"], json!(desktop.user), "{members}");
}

fn items_need_not_be_normalised(server: &Server) {
    let (mut chat, home) = device(server);
    let (one, two) = (tx::id(), tx::id());
    chat.write("insert-blocks", &[block(&one, &home, "a0", "One"), block(&two, &home, "a1", "Two")]);
    chat.follow().unwrap();
    assert_eq!(chat.mirror.get(&one, "block/page"), Some(&tx::block(&home)));
    // Items of four elements.
    chat.write("save-block", &[tx::add(tx::block(&one), "block/title", "One, again")]);
    chat.write(
        "save-block",
        &[
            tx::retract(tx::block(&one), "block/updated-at", TIME),
            tx::add(tx::block(&one), "block/updated-at", TIME + 1),
        ],
    );
    chat.follow().unwrap();
    assert_eq!(chat.mirror.get(&one, "block/title"), Some(&json!("One, again")));
    assert_eq!(chat.mirror.get(&one, "block/updated-at"), Some(&json!(TIME + 1)));
    // Compare-and-set of a value, and of an absent value.
    chat.write(
        "save-block",
        &[cas(&two, "block/title", "Two", "Second"), cas(&two, "block/collapsed?", Value::Null, true)],
    );
    chat.follow().unwrap();
    assert_eq!(chat.mirror.get(&two, "block/title"), Some(&json!("Second")));
    assert_eq!(chat.mirror.get(&two, "block/collapsed?"), Some(&json!(true)));
    // The expected value is not there: the entry is refused and changes nothing.
    let refused =
        chat.send_at(chat.mirror.cursor, "save-block", &[cas(&two, "block/title", "Two", "Third")], &tx::id());
    assert_eq!(
        (&refused["type"], &refused["reason"]),
        (&json!("tx/reject"), &json!("db transact failed")),
        "{refused}"
    );
    // References in a map item, as a list; and an attribute that is retracted.
    let map = json!(["^ ", "~:db/id", tx::block(&two), "~:block/refs", [tx::block(&one), tx::block(&home)]]);
    chat.write("save-block", &[map]);
    chat.write("save-block", &[json!(["~:db.fn/retractAttribute", tx::block(&two), "~:block/collapsed?"])]);
    chat.follow().unwrap();
    let refs = chat.mirror.get(&two, "block/refs").unwrap();
    let mut ids: Vec<String> = refs[1].as_array().unwrap().iter().map(Value::to_string).collect();
    ids.sort();
    let mut expected = [tx::block(&one).to_string(), tx::block(&home).to_string()];
    expected.sort();
    assert_eq!((&refs[0], ids.as_slice()), (&json!("~#set"), expected.as_slice()));
    assert_eq!(chat.mirror.get(&two, "block/collapsed?"), None);
    chat.write("delete-blocks", &[tx::retract_entity(tx::block(&one))]);
    chat.follow().unwrap();
    assert_eq!(chat.mirror.block(&one), None);
    assert_eq!(chat.mirror.deleted, [tx::block(&one).to_string()]);
    // The log is normalised as for other clients: items of five elements, no entity numbers, none of these forms.
    let pull = chat.client.get(&format!("/sync/{}/pull?since=0", chat.graph)).json();
    for row in pull["txs"].as_array().unwrap() {
        let tx = conformance::transit::expand(row["tx"].as_str().unwrap());
        for item in tx.as_array().unwrap() {
            let item = item.as_array().unwrap();
            assert!(item.len() == 5 || (item.len() == 2 && item[0] == "~:db/retractEntity"), "{tx}");
            assert!(!item[1].is_number(), "{tx}");
        }
    }
}

fn an_entity_that_nobody_can_name_is_dropped_and_the_entry_goes_on(server: &Server) {
    let (mut chat, home) = device(server);
    let one = tx::id();
    // A file entity is named by the number that it has on the device.
    let local = json!(["~:db/add", 180, "~:file/last-modified-at", format!("~m{TIME}")]);
    chat.write("insert-blocks", &[local, block(&one, &home, "a0", "One")]);
    chat.follow().unwrap();
    assert_eq!(chat.mirror.get(&one, "block/title"), Some(&json!("One")));
}

fn its_own_edit_comes_back_to_its_socket(server: &Server) {
    let (mut chat, home) = device(server);
    let one = tx::id();
    let t = chat.write("insert-blocks", &[block(&one, &home, "a0", "One")]);
    // For a write over HTTP every socket hears `changed`.
    chat.hear().unwrap();
    assert_eq!(chat.mirror.cursor, t);
    assert_eq!(chat.mirror.get(&one, "block/title"), Some(&json!("One")));
}

fn two_devices_follow_each_other(server: &Server) {
    let (mut chat, home) = device(server);
    let mut other = Chat::open(&chat.client, &chat.graph);
    other.connect();
    // And the desktop app, which replays transactions.
    let mut desktop = Socket::open(&chat.client, &chat.graph);
    let (one, two) = (tx::id(), tx::id());
    let t = chat.write("insert-blocks", &[block(&one, &home, "a0", "One")]);
    other.hear().unwrap();
    assert_eq!(other.mirror.cursor, t);
    assert_eq!(other.mirror.get(&one, "block/title"), Some(&json!("One")));
    // The other device writes without having followed: it is stale, pulls, and sends again.
    chat.write("save-block", &[tx::add(tx::block(&one), "block/title", "One!")]);
    let t = other.write("insert-blocks", &[block(&two, &home, "a1", "Two")]);
    let entry = tx::entry(&[tx::add(tx::block(&two), "block/title", "Two, from the desktop")], "save-block", &tx::id());
    desktop.drain();
    assert_eq!(desktop.ask(&tx::batch(t, &[entry]))["type"], "tx/batch/ok");
    chat.follow().unwrap();
    other.follow().unwrap();
    assert_eq!(chat.mirror.get(&two, "block/title"), Some(&json!("Two, from the desktop")));
    for (id, attributes) in &other.mirror.entities {
        assert_eq!(chat.mirror.entities.get(id), Some(attributes), "{id}");
    }
}

fn a_page_and_its_blocks_go(server: &Server) {
    let (mut chat, home) = device(server);
    let blocks: Vec<String> = (0..5).map(|_| tx::id()).collect();
    let items: Vec<Value> = blocks.iter().enumerate().map(|(n, id)| block(id, &home, &format!("a{n}"), "x")).collect();
    chat.write("insert-blocks", &items);
    // Deleting a page in the app only marks it, by a map item.
    let recycled = json!(["^ ", "~:db/id", tx::block(&home), "~:logseq.property/deleted-at", TIME]);
    chat.write("delete-page", &[recycled]);
    chat.follow().unwrap();
    assert_eq!(chat.mirror.get(&home, "logseq.property/deleted-at"), Some(&json!(TIME)));
    assert!(blocks.iter().all(|id| chat.mirror.block(id).is_some()));
    chat.write("delete-blocks", &[tx::retract_entity(tx::block(&blocks[0]))]);
    chat.follow().unwrap();
    assert!(chat.mirror.block(&blocks[0]).is_none() && chat.mirror.block(&blocks[1]).is_some());
}

fn a_lost_answer_is_tried_again(server: &Server) {
    let (mut chat, home) = device(server);
    let (one, tx_id) = (tx::id(), tx::id());
    let items = [block(&one, &home, "a0", "One")];
    let before = chat.mirror.cursor;
    let lost = chat.send_at(before, "insert-blocks", &items, &tx_id);
    assert_eq!(lost["type"], "tx/batch/ok", "{lost}");
    // The same entry again: the answer is stale, because its own first entry was applied.
    let again = chat.send_at(before, "insert-blocks", &items, &tx_id);
    assert_eq!(again["reason"], "stale", "{again}");
    chat.follow().unwrap();
    let again = chat.send_at(chat.mirror.cursor, "insert-blocks", &items, &tx_id);
    assert_eq!((&again["type"], &again["t"]), (&json!("tx/batch/ok"), &lost["t"]), "{again}");
    chat.follow().unwrap();
    assert_eq!(chat.mirror.get(&one, "block/title"), Some(&json!("One")));
}

fn its_socket_says_no_hello_and_pings(server: &Server) {
    let (mut chat, _) = device(server);
    chat.socket().ping(b"from android");
    chat.follow().unwrap();
}

fn a_replaced_graph_ends_the_socket(server: &Server) {
    let (mut chat, home) = device(server);
    chat.write("insert-blocks", &[block(&tx::id(), &home, "a0", "One")]);
    chat.follow().unwrap();
    upload(&chat.client, &chat.graph, &frames::rows(&frames::initial_graph(false)));
    let ended = chat.follow().unwrap_err();
    assert_eq!(ended, Ended::Closed(Closed(1012, "snapshot replaced".into())));
    // Its cursor is beyond the counter of the new graph.
    chat.connect();
    assert_eq!(chat.follow(), Err(Ended::Reset("cursor-ahead".into())));
    let mut anew = Chat::open(&chat.client, &chat.graph);
    anew.connect();
    anew.follow().unwrap();
    assert_eq!(anew.mirror.cursor, 0);
}

fn a_cursor_from_before_begins_anew(server: &Server) {
    let (mut chat, _) = device(server);
    chat.mirror.cursor = 1 << 40;
    assert_eq!(chat.follow(), Err(Ended::Reset("cursor-ahead".into())));
    for (since, message) in
        [(json!(-1), "invalid since"), (json!("0"), "invalid request"), (Value::Null, "invalid request")]
    {
        let ask = json!({ "type": "entity/pull", "since": since });
        assert_eq!(chat.socket().ask(&ask), json!({ "type": "error", "message": message }), "{since}");
    }
}
