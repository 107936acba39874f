//! Server-sent events: each rule of the parser and of the writer, recorded streams, and properties over random cuts.

mod pieces;

use pieces::cut;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use sessions::sse::{Error, Event, Frame, MAX_ID_BYTES, Parser, write_comment, write_heartbeat};

type Items = Vec<Result<Event, Error>>;

/// Reads a stream in these pieces.
fn read_pieces<'a>(parser: &mut Parser, pieces: impl IntoIterator<Item = &'a [u8]>) -> Items {
    let mut items = Items::new();
    for mut piece in pieces {
        while let Some(item) = parser.read(&mut piece) {
            items.push(item);
        }
        assert!(piece.is_empty(), "all of a piece is taken");
    }
    items
}

/// Reads a stream whole, byte by byte, and cut in two at every place; what comes out is always the same.
fn read(stream: impl AsRef<[u8]>) -> Vec<Event> {
    let stream = stream.as_ref();
    let whole = read_pieces(&mut Parser::default(), [stream]);
    assert_eq!(read_pieces(&mut Parser::default(), stream.chunks(1)), whole, "byte by byte");
    for at in 0..stream.len() {
        let (before, after) = stream.split_at(at);
        assert_eq!(read_pieces(&mut Parser::default(), [before, after]), whole, "cut at {at}");
    }
    whole.into_iter().map(Result::unwrap).collect()
}

fn data(stream: impl AsRef<[u8]>) -> Vec<String> {
    read(stream).into_iter().map(|event| event.data).collect()
}

fn event(id: Option<&str>, event: Option<&str>, data: &str) -> Event {
    Event { id: id.map(str::to_owned), event: event.map(str::to_owned), data: data.to_owned() }
}

#[test]
fn a_blank_line_ends_a_frame() {
    assert_eq!(data("data: a\n\ndata: b\n\n"), ["a", "b"]);
    assert_eq!(data("data: a\n\n\n\ndata: b\n\n"), ["a", "b"]);
    assert!(data("data: a\n").is_empty(), "the frame has not ended");
    assert!(data("").is_empty());
}

#[test]
fn all_kinds_of_line_ends_are_the_same() {
    assert_eq!(data("data: a\r\rdata: b\r\r"), ["a", "b"]);
    assert_eq!(data("data: a\r\n\r\ndata: b\r\n\r\n"), ["a", "b"]);
    assert_eq!(data("data: a\r\n\ndata: b\n\r\n"), ["a", "b"]);
    assert_eq!(data("data: a\r\ndata: b\rdata: c\ndata: d\n\r"), ["a\nb\nc\nd"]);
}

#[test]
fn a_frame_that_ends_with_a_carriage_return_does_not_wait_for_a_line_feed() {
    let mut parser = Parser::default();
    assert_eq!(read_pieces(&mut parser, [b"data: a\r\n\r".as_slice()]), [Ok(event(None, None, "a"))]);
    assert_eq!(read_pieces(&mut parser, [b"\ndata: b\r\n\r".as_slice()]), [Ok(event(None, None, "b"))]);
}

#[test]
fn one_space_after_the_colon_is_dropped() {
    assert_eq!(data("data:a\n\ndata: a\n\ndata:  a\n\ndata:\ta\n\n"), ["a", "a", " a", "\ta"]);
    assert_eq!(data("data: a \n\n"), ["a "]);
    assert_eq!(data("data: a: b\n\n"), ["a: b"]);
}

#[test]
fn lines_of_data_are_joined() {
    assert_eq!(data("data: a\ndata: b\n\n"), ["a\nb"]);
    assert_eq!(data("data\ndata: b\ndata\n\n"), ["\nb\n"]);
    assert_eq!(data("data: a\nid: 1\n: comment\ndata: b\n\n"), ["a\nb"]);
}

#[test]
fn frames_without_data_give_nothing() {
    assert!(data("data:\n\ndata\n\ndata:  \ndata: \t\n\nid: 3\n\nevent: a\n\nretry: 4\n\n").is_empty());
}

#[test]
fn other_lines_are_ignored() {
    assert_eq!(data(": ping\n\n:\n\nnonsense\n\n data: a\n\nDATA: b\ndata: c\nother: d\n\n"), ["c"]);
}

#[test]
fn a_name_holds_for_its_frame() {
    let events = read("event: a\ndata: 1\n\ndata: 2\n\nevent: b\n\ndata: 3\n\nevent: c\nevent\ndata: 4\n\n");
    let expected = [(Some("a"), "1"), (None, "2"), (None, "3"), (None, "4")];
    assert_eq!(events, expected.map(|(name, data)| event(None, name, data)));
}

#[test]
fn the_last_id_counts_when_its_frame_ends() {
    let mut parser = Parser::default();
    assert_eq!(parser.last_event_id(), None);
    for (piece, last) in [
        ("id: 1\ndata: a\n", None),
        ("\n", Some("1")),
        ("data: b\n\n", Some("1")),
        ("id: 2\n\n", Some("2")),
        ("id: 3\nid: 4\ndata: c\n\n", Some("4")),
        ("id: a\0b\ndata: d\n\n", Some("4")),
        ("id\ndata: e\n\n", Some("")),
    ] {
        read_pieces(&mut parser, [piece.as_bytes()]);
        assert_eq!(parser.last_event_id(), last, "after {piece:?}");
    }
    let ids = read("id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n").into_iter().map(|event| event.id);
    assert_eq!(ids.collect::<Vec<_>>(), [Some("1".to_owned()), None, Some(String::new())]);
}

#[test]
fn a_long_id_is_ignored() {
    let stream = |length: usize| format!("id: {}\ndata: a\n\n", "7".repeat(length));
    assert_eq!(read(stream(MAX_ID_BYTES))[0].id, Some("7".repeat(MAX_ID_BYTES)));
    assert_eq!(read(stream(MAX_ID_BYTES + 1))[0].id, None);
}

#[test]
fn the_server_says_how_long_to_wait() {
    let mut parser = Parser::default();
    assert_eq!(parser.retry_ms(), None);
    for (line, wait) in [
        ("retry: 50\n", Some(50)),
        ("retry\n", Some(50)),
        ("retry: 5s\n", Some(50)),
        ("retry: -5\n", Some(50)),
        ("retry: +5\n", Some(50)),
        ("retry: 99999999999999999999\n", Some(50)),
        ("retry: 007\n", Some(7)),
    ] {
        read_pieces(&mut parser, [line.as_bytes()]);
        assert_eq!(parser.retry_ms(), wait, "after {line:?}");
    }
}

#[test]
fn one_byte_order_mark_may_stand_at_the_start() {
    assert_eq!(data("\u{feff}data: a\n\n\u{feff}data: b\n\n"), ["a"]);
    assert_eq!(data("\u{feff}: ping\n\ndata: a\n\n"), ["a"]);
    assert_eq!(data("\u{feff}\ndata: a\n\n"), ["a"]);
    assert!(data("\u{feff}\u{feff}data: a\n\n").is_empty());
    assert_eq!(data("data: \u{feff}a\n\n"), ["\u{feff}a"]);
}

#[test]
fn characters_may_be_cut_and_wrong_ones_are_replaced() {
    assert_eq!(data("data: grüße 😀\n\n"), ["grüße 😀"]);
    assert_eq!(data(b"data: a\xffb\xf0\x9f\n\n"), ["a\u{fffd}b\u{fffd}"]);
}

/// Of the recordings `one-piece` and `stream-frames`, in their pieces.
#[test]
fn recorded_streams() {
    let note = |n: u32| format!(r#"{{"type":"note","n":{n}}}"#);
    let cases: &[(&[&str], &[String])] = &[
        (
            &[concat!(
                "data: {\"type\":\"note\",\"n\":1}\n\n",
                "data: {\"type\":\"note\",\"n\":2}\n\n",
                "data: {\"type\":\"note\",\"n\":3}\n\n",
                "data: {\"type\":\"note\",\"n\":4}\n\n"
            )],
            &[note(1), note(2), note(3), note(4)],
        ),
        (&["data: {\"type\":\"no", "te\",\"n\":2}\n\n"], &[note(2)]),
        (&["data: {\"type\":\"note\",\"n\":3}\r\n\r\n"], &[note(3)]),
        (&[": a comment\n\n", "event: other\nid: 77\nretry: 5\ndata: {\"type\":\"note\",\"n\":4}\n\n"], &[note(4)]),
        (&["data:{\"type\":\"note\",\"n\":5}\n\n"], &[note(5)]),
        (&["data:   {\"type\":\"note\",\ndata: \"n\":6}\n\n"], &["  {\"type\":\"note\",\n\"n\":6}".to_owned()]),
        (&["data: this is not json\n\n"], &["this is not json".to_owned()]),
        (
            &["data: \"a string\"\n\n", "data: 5\n\n", "data: null\n\n", "data: [1,2]\n\n"],
            &["\"a string\"".to_owned(), "5".to_owned(), "null".to_owned(), "[1,2]".to_owned()],
        ),
        (&["data:\n\n", "\n\n", "id: 3\n\n", "nonsense\n\n", " data: {\"type\":\"note\",\"n\":\"indented\"}\n\n"], &[]),
        (
            &["data: {\"type\":\"note\",\"text\":\"gr\u{fc}", "\u{df}e \u{1f600}\"}\n\n"],
            &["{\"type\":\"note\",\"text\":\"grüße 😀\"}".to_owned()],
        ),
        (&["data: {\"type\":\"note\",\"n\":8}\r\n\r", "\ndata: {\"type\":\"note\",\"n\":9}\n\n"], &[note(8), note(9)]),
        (&["data: {\"type\":\"note\",\"n\":10}\n\n"], &[note(10)]),
    ];
    let mut connection = Parser::default();
    for (pieces, expected) in cases {
        let items = read_pieces(&mut connection, pieces.iter().map(|piece| piece.as_bytes()));
        let found: Vec<_> = items.into_iter().map(|item| item.unwrap().data).collect();
        assert_eq!(&found, expected, "{pieces:?}");
        assert_eq!(&data(pieces.concat()), expected, "{pieces:?}");
    }
    assert_eq!(connection.last_event_id(), Some("3"));
    assert_eq!(connection.retry_ms(), Some(5));
}

#[test]
fn a_frame_may_have_as_many_bytes_as_the_limit() {
    let fits = "id: 1\ndata: 89\n: a comment does not count\n\n";
    let too_large = "id: 2\ndata: 890\n\n";
    let comment = format!(": {}\n\n", "long".repeat(100));
    let stream = [fits, too_large, fits, &comment, fits].concat();
    let fine = || Ok(event(Some("1"), None, "89"));
    let expected = [fine(), Err(Error::FrameTooLarge { limit: 13, id: Some("2".to_owned()) }), fine(), fine()];
    for size in 1..=stream.len() {
        let mut parser = Parser::new(13);
        assert_eq!(read_pieces(&mut parser, stream.as_bytes().chunks(size)), expected, "in pieces of {size}");
    }
}

#[test]
fn the_id_of_a_frame_that_is_too_large_counts() {
    let streams = [
        "id: 5\ndata: 0123456789\n\n",
        // The line of the id is the one that is too much.
        "data: 0123456789\nid: 5\n\n",
        "data: 0123456789abcdef\nid: 5\n\n",
        "data: 0123\ndata: 4567\nid: 4\nid: 5\n\n",
    ];
    for stream in streams {
        for size in 1..=stream.len() {
            let mut parser = Parser::new(20);
            let items = read_pieces(&mut parser, stream.as_bytes().chunks(size));
            let expected = Error::FrameTooLarge { limit: 20, id: Some("5".to_owned()) };
            assert_eq!(items, [Err(expected)], "{stream:?} in pieces of {size}");
            assert_eq!(parser.last_event_id(), Some("5"));
        }
    }
}

#[test]
fn the_writer_writes_what_clients_expect() {
    let mut out = String::new();
    Frame { id: Some(7), event: None, data: r#"{"type":"note"}"# }.write(&mut out);
    Frame { id: None, event: Some("message"), data: "a\r\nb\rc\n\n" }.write(&mut out);
    Frame { id: None, event: None, data: "" }.write(&mut out);
    write_comment(&mut out, "ping");
    write_comment(&mut out, "a\ndata: b");
    write_heartbeat(&mut out, 7, 1_700_000_000_000);
    let expected = concat!(
        "id: 7\ndata: {\"type\":\"note\"}\n\n",
        "event: message\ndata: a\ndata: b\ndata: c\ndata: \ndata: \n\n",
        "data: \n\n",
        ": ping\n\n",
        ": a\n: data: b\n\n",
        "event: heartbeat\ndata: {\"cursor\":7,\"ts\":1700000000000}\n\n",
    );
    assert_eq!(out, expected);
}

/// The most memory that reading these pieces takes at one time, in bytes.
fn memory<'a>(limit: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut parser = Parser::new(limit);
    let read = || {
        for mut piece in pieces {
            while parser.read(&mut piece).is_some() {}
        }
    };
    allocation_counter::measure(read).bytes_max
}

#[test]
fn memory_is_bounded_whatever_comes() {
    const LIMIT: usize = 100_000;
    let long = "x".repeat(1_000_000);
    let line = format!("data: {}\n", "x".repeat(1000)).repeat(1000);
    let streams = [
        long.clone(),
        format!("data: {long}"),
        format!(": {long}"),
        line.clone(),
        format!("{line}data: {long}"),
        format!("id: {long}\nevent: {long}\n"),
        format!("event: {}\n", "x".repeat(1000)).repeat(1000),
        format!("{}\ndata: {}", line.get(..90_000).unwrap(), "x".repeat(95_000)),
        "id: 1\n".repeat(100_000),
        "\n: x\ndata: x\n\r".repeat(100_000),
    ];
    for stream in streams {
        for size in [7, 1000, stream.len()] {
            let memory = memory(LIMIT, stream.as_bytes().chunks(size));
            // A buffer that grows takes up to three times its content while it is moved.
            assert!(memory <= 3 * LIMIT as u64, "{memory} bytes for {} in pieces of {size}", stream.get(..20).unwrap());
        }
    }
}

#[test]
fn memory_is_given_back_after_a_long_line() {
    let long = "x".repeat(200_000);
    for (limit, held, stream) in [
        (300_000, 64 * 1024, format!("data: {long}\n\n")),
        (100_000, 100, format!("data: {long}")),
        (100_000, 100, format!("data: {long}\n")),
    ] {
        let mut parser = Parser::new(limit);
        let read = || drop(read_pieces(&mut parser, stream.as_bytes().chunks(1000)));
        assert!(allocation_counter::measure(read).bytes_current <= held, "limit {limit}");
    }
}

/// The seed is fixed, so that every run tries the same values.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

/// Streams of pieces that mean something, in any order.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let pieces: &[&[u8]] = &[
        b"data",
        b"id",
        b"event",
        b"retry",
        b":",
        b": ",
        b" ",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"12",
        b"{\"a\":1}",
        b"\0",
        b"\xef\xbb\xbf",
        b"\xef",
        b"\xf0\x9f\x98\x80",
        b"\xff",
        b"data: abc\n\n",
        b"id: 9\n",
        b": comment\n",
    ];
    let piece = prop_oneof![9 => select(pieces.to_vec()).prop_map(<[u8]>::to_vec), 1 => vec(any::<u8>(), 0..4)];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// The standard's words over a whole text, in the plainest way.
fn plainly(stream: &[u8]) -> Vec<Event> {
    let stream = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let text = String::from_utf8_lossy(stream).replace("\r\n", "\n").replace('\r', "\n");
    let mut events = Vec::new();
    let mut pending = (None, None, None::<String>);
    // What stands after the last line end is not a line yet.
    for line in text.rsplit_once('\n').map_or("", |(lines, _)| lines).split('\n') {
        if line.is_empty() {
            let (id, name, data) = std::mem::take(&mut pending);
            if let Some(data) = data.filter(|data| !data.trim_ascii().is_empty()) {
                events.push(Event { id, event: name, data });
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "id" if !value.contains('\0') => pending.0 = Some(value),
            "event" => pending.1 = Some(value).filter(|name| !name.is_empty()),
            "data" => pending.2 = Some(pending.2.map_or(value.clone(), |data| data + "\n" + &value)),
            _ => {}
        }
    }
    events
}

fn written() -> impl Strategy<Value = (Option<u64>, Option<&'static str>, String)> {
    let characters = ['a', ' ', ':', '\n', '\r', '\0', '\u{feff}', 'é', '😀', '"'];
    let data = vec(select(characters.to_vec()), 0..12).prop_map(String::from_iter);
    (option::of(any::<u64>()), select(vec![None, Some("message"), Some("heartbeat")]), data)
}

proptest! {
    #![proptest_config(config(3000))]

    #[test]
    fn cuts_make_no_difference(stream in stream(), places in vec(any::<prop::sample::Index>(), 0..8), limit in 0..60_usize) {
        let (mut whole, mut pieces) = (Parser::new(limit), Parser::new(limit));
        let items = read_pieces(&mut whole, [stream.as_slice()]);
        prop_assert_eq!(&read_pieces(&mut pieces, cut(&stream, &places)), &items);
        prop_assert_eq!(whole.last_event_id(), pieces.last_event_id());
        prop_assert_eq!(whole.retry_ms(), pieces.retry_ms());
        prop_assert_eq!(&read_pieces(&mut Parser::new(limit), stream.chunks(1)), &items);
        // A byte that is not UTF-8 becomes three.
        for event in items.into_iter().flatten() {
            prop_assert!(event.data.len() <= 3 * limit.max(4));
        }
    }

    #[test]
    fn a_plainer_reader_agrees(stream in stream()) {
        let items = read_pieces(&mut Parser::default(), [stream.as_slice()]);
        let events: Vec<_> = items.into_iter().map(Result::unwrap).collect();
        prop_assert_eq!(events, plainly(&stream));
    }

    #[test]
    fn what_was_written_is_read(frames in vec(written(), 0..8), places in vec(any::<prop::sample::Index>(), 0..8)) {
        let (mut out, mut expected) = (String::new(), Vec::new());
        for (id, name, data) in &frames {
            Frame { id: *id, event: *name, data }.write(&mut out);
            write_comment(&mut out, data);
            let data = data.replace("\r\n", "\n").replace('\r', "\n");
            if !data.trim_ascii().is_empty() {
                expected.push(Ok(Event { id: id.map(|id| id.to_string()), event: name.map(str::to_owned), data }));
            }
        }
        prop_assert_eq!(read_pieces(&mut Parser::default(), cut(out.as_bytes(), &places)), expected);
    }
}
