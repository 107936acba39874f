//! Connect envelopes: each rule of the parser and of the writer, and properties over random cuts.

mod pieces;

use pieces::cut;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use serde_json::{Value, json};
use sessions::connect::{Code, Error, Failure, MAX_MESSAGE_BYTES, Parser, Part, write_end, write_message};

type Items = Vec<Result<Part<Value>, Error>>;

const END: u8 = 2;

/// An envelope, written by hand.
fn envelope(flags: u8, payload: &str) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[flags], size.as_slice(), payload.as_bytes()].concat()
}

/// Reads a stream in these pieces; then says whether it was at its end.
fn read_pieces<'a>(limit: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Items, Result<(), Error>) {
    let mut parser = Parser::new(limit);
    let mut items = Items::new();
    for mut piece in pieces {
        while let Some(item) = parser.read(&mut piece) {
            items.push(item);
        }
        assert!(piece.is_empty(), "all of a piece is taken");
    }
    (items, parser.finish())
}

/// Reads a stream whole, byte by byte, and cut in two at every place; what comes out is always the same.
fn read(stream: &[u8]) -> (Items, Result<(), Error>) {
    const LIMIT: usize = 1000;
    let whole = read_pieces(LIMIT, [stream]);
    assert_eq!(read_pieces(LIMIT, stream.chunks(1)), whole, "byte by byte");
    for at in 0..stream.len() {
        let (before, after) = stream.split_at(at);
        assert_eq!(read_pieces(LIMIT, [before, after]), whole, "cut at {at}");
    }
    whole
}

/// The example of agents.md, appendix B.
#[test]
fn a_command_that_ran() {
    let messages = [
        json!({"event": {"start": {"pid": 17}}}),
        json!({"event": {"data": {"stdout": "aGkK"}}}),
        json!({"event": {"end": {"exited": true, "status": "exit status 0"}}}),
    ];
    let stream: Vec<_> = messages.iter().flat_map(|message| envelope(0, &message.to_string())).collect();
    let whole = [stream.as_slice(), &envelope(END, "{}")].concat();
    let mut expected: Items = messages.into_iter().map(|message| Ok(Part::Message(message))).collect();
    assert_eq!(read(&stream), (expected.clone(), Err(Error::MissingEnd)));
    expected.push(Ok(Part::End(Ok(()))));
    assert_eq!(read(&whole), (expected, Ok(())));
}

#[test]
fn the_end_tells_of_a_failure() {
    let failure = |code, message: &str| Err(Failure { code, message: message.to_owned() });
    let cases = [
        ("{}", Ok(())),
        (r#"{"metadata":{"a":["b"]}}"#, Ok(())),
        (r#"{"error":null}"#, Ok(())),
        (r#"{"error":{}}"#, failure(Code::Unknown, "")),
        (r#"{"error":{"code":"not_found","message":"no process"}}"#, failure(Code::NotFound, "no process")),
        (r#"{"error":{"code":"deadline_exceeded","details":[1]}}"#, failure(Code::DeadlineExceeded, "")),
        (r#"{"error":{"code":"new_in_2030","message":"m"},"metadata":{}}"#, failure(Code::Unknown, "m")),
    ];
    for (payload, outcome) in cases {
        assert_eq!(read(&envelope(END, payload)), (vec![Ok(Part::End(outcome))], Ok(())), "{payload}");
    }
}

#[test]
fn wrong_streams_are_told_once() {
    let message = envelope(0, "1");
    let cases = [
        (envelope(1, "{}"), Error::Compressed),
        (envelope(3, "{}"), Error::Compressed),
        (envelope(4, "{}"), Error::Flags(4)),
        (envelope(0x82, "{}"), Error::Flags(0x82)),
        (envelope(0, ""), Error::Payload),
        (envelope(0, "{"), Error::Payload),
        (envelope(0, "{} {}"), Error::Payload),
        (envelope(0, &"[".repeat(500)), Error::Payload),
        (envelope(END, ""), Error::Payload),
        (envelope(END, "1"), Error::Payload),
        (envelope(END, r#"{"error":1}"#), Error::Payload),
        (vec![0, 0xff, 0xff, 0xff, 0xff], Error::TooLarge { size: 0xffff_ffff, limit: 1000 }),
    ];
    for (wrong, error) in cases {
        let stream = [message.as_slice(), &wrong, &message, &envelope(END, "{}")].concat();
        let expected = vec![Ok(Part::Message(json!(1))), Err(error)];
        assert_eq!(read(&stream), (expected, Err(Error::MissingEnd)), "{wrong:?}");
    }
}

#[test]
fn nothing_comes_after_the_end() {
    let stream = [envelope(END, "{}"), envelope(END, "{}"), envelope(0, "1")].concat();
    let expected = vec![Ok(Part::End(Ok(()))), Err(Error::AfterEnd)];
    assert_eq!(read(&stream), (expected, Err(Error::MissingEnd)));
}

#[test]
fn a_stream_may_not_stop_early() {
    let message = envelope(0, "{}");
    for length in 0..=message.len() {
        let (items, end) = read_pieces(1000, [&message[..length]]);
        assert_eq!((items.len(), end), (usize::from(length == message.len()), Err(Error::MissingEnd)));
    }
}

#[test]
fn an_envelope_may_have_as_many_bytes_as_the_limit() {
    let stream = |size: usize| envelope(0, &"1".repeat(size));
    assert_eq!(read_pieces(9, [stream(9).as_slice()]).0, [Ok(Part::Message(json!(111_111_111)))]);
    assert_eq!(read_pieces(9, [stream(10).as_slice()]).0, [Err(Error::TooLarge { size: 10, limit: 9 })]);
}

#[test]
fn a_message_of_another_form_is_an_error() {
    let mut parser = Parser::default();
    let stream = envelope(0, r#"{"secret":"x"}"#);
    let error = parser.read::<u32>(&mut stream.as_slice()).unwrap().unwrap_err();
    assert_eq!(error, Error::Payload);
    assert!(!error.to_string().contains("secret"));
}

#[test]
fn the_words_of_a_failure_are_bounded_and_stay_out_of_its_text() {
    let long = format!("{}é", "x".repeat(MAX_MESSAGE_BYTES - 1));
    let stream = envelope(END, &json!({"error": {"code": "internal", "message": long}}).to_string());
    let (items, _) = read_pieces(1 << 20, [stream.as_slice()]);
    let [Ok(Part::End(Err(failure)))] = items.as_slice() else { panic!("{items:?}") };
    assert_eq!(failure.message, "x".repeat(MAX_MESSAGE_BYTES - 1));
    assert_eq!(failure.to_string(), "the call failed: internal");
}

#[test]
fn failures_of_single_calls() {
    let of = |status, body: &str| {
        let failure = Failure::of_answer(status, body.as_bytes());
        (failure.code, failure.message)
    };
    assert_eq!(of(404, r#"{"code":"not_found","message":"no process"}"#), (Code::NotFound, "no process".to_owned()));
    assert_eq!(of(404, r#"{"code":"not_found"}"#), (Code::NotFound, String::new()));
    let by_status = [
        (401, Code::Unauthenticated),
        (403, Code::PermissionDenied),
        (404, Code::Unimplemented),
        (429, Code::Unavailable),
        (502, Code::Unavailable),
        (503, Code::Unavailable),
        (504, Code::Unavailable),
        (400, Code::Unknown),
        (500, Code::Unknown),
        (501, Code::Unknown),
        (505, Code::Unknown),
    ];
    for (status, code) in by_status {
        for body in ["", "<html>", "[]", "{}", r#"{"message":"m"}"#] {
            assert_eq!(of(status, body), (code, String::new()), "{status} {body}");
        }
    }
}

#[test]
fn the_writer_writes_envelopes() {
    let mut out = Vec::new();
    let request = json!({"process": {"cmd": "/bin/bash", "args": ["-l", "-c", "echo hi"]}, "stdin": false});
    write_message(&mut out, &request).unwrap();
    assert_eq!(out, envelope(0, &request.to_string()));
    out.clear();
    write_end(&mut out, Ok(())).unwrap();
    write_end(&mut out, Err(&Failure { code: Code::NotFound, message: "m".to_owned() })).unwrap();
    let failed = envelope(END, r#"{"error":{"code":"not_found","message":"m"}}"#);
    assert_eq!(out, [envelope(END, "{}"), failed].concat());
}

#[test]
fn what_cannot_be_written_leaves_nothing_behind() {
    let mut out = vec![1];
    let no_json = std::collections::BTreeMap::from([((1, 2), 3)]);
    assert_eq!(write_message(&mut out, &no_json), Err(Error::Payload));
    assert_eq!(out, [1]);
}

#[test]
fn an_announced_length_takes_no_memory() {
    let announced = u32::try_from(sessions::connect::MAX_ENVELOPE_BYTES).unwrap().to_be_bytes();
    let stream = [&[0], announced.as_slice(), b"[1,"].concat();
    let read = || {
        let mut parser = Parser::default();
        assert_eq!(parser.read::<Value>(&mut stream.as_slice()), None);
    };
    assert!(allocation_counter::measure(read).bytes_max < 100);
}

/// The seed is fixed, so that every run tries the same values.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

fn message() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u32>().prop_map(|pid| json!({"event": {"start": {"pid": pid}}})),
        ".{0,300}".prop_map(|text| json!({"event": {"data": {"stdout": text}}})),
        Just(json!({})),
    ]
}

/// Envelopes of any flags and payloads, and rubbish between them.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let payload = select(vec!["{}", "1", "", "{", r#"{"error":{"code":"internal"}}"#, r#"{"error":1}"#, "[[[[]]]]"]);
    let flags = prop_oneof![8 => Just(0), 2 => Just(END), 1 => any::<u8>()];
    let piece = prop_oneof![
        9 => (flags, payload).prop_map(|(flags, payload)| envelope(flags, payload)),
        1 => vec(any::<u8>(), 0..12),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn cuts_make_no_difference(stream in stream(), places in vec(any::<prop::sample::Index>(), 0..8), limit in 0..40_usize) {
        let whole = read_pieces(limit, [stream.as_slice()]);
        prop_assert_eq!(&read_pieces(limit, cut(&stream, &places)), &whole);
        prop_assert_eq!(&read_pieces(limit, stream.chunks(1)), &whole);
        let errors = whole.0.iter().filter(|item| item.is_err()).count();
        prop_assert!(errors == usize::from(whole.0.last().is_some_and(Result::is_err)), "one error, the last item");
    }

    #[test]
    fn what_was_written_is_read(
        messages in vec(message(), 0..8),
        failed in any::<bool>(),
        places in vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let outcome = if failed { Err(Failure { code: Code::Aborted, message: "m".to_owned() }) } else { Ok(()) };
        let mut out = Vec::new();
        for message in &messages {
            write_message(&mut out, message).unwrap();
        }
        write_end(&mut out, outcome.as_ref().map(|&()| ())).unwrap();
        let mut expected: Items = messages.into_iter().map(|message| Ok(Part::Message(message))).collect();
        expected.push(Ok(Part::End(outcome)));
        prop_assert_eq!(read_pieces(1 << 20, cut(&out, &places)), (expected, Ok(())));
    }
}
