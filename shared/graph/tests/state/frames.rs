//! Framing both ways (sync.md 10.1, 23).

use datascript::Row;
use graph::snapshot::{FrameError, FrameReader, FrameWriter};

fn read(pieces: &[&[u8]]) -> Result<Vec<Row>, FrameError> {
    let mut rows = Vec::new();
    let mut reader = FrameReader::new();
    for piece in pieces {
        let mut piece = *piece;
        while let Some(row) = reader.next_row(&mut piece)? {
            rows.push(row);
        }
    }
    reader.end().map(|()| rows)
}

fn framed(payload: &[u8]) -> Vec<u8> {
    [&u32::try_from(payload.len()).unwrap().to_be_bytes(), payload].concat()
}

fn row(addr: u32, content: &str, addresses: Option<&str>) -> Row {
    Row { addr, content: content.into(), addresses: addresses.map(Into::into) }
}

#[test]
fn the_bytes_of_the_specification() {
    let mut writer = FrameWriter::new();
    writer.row(1, "row-1", None);
    writer.row(2, "row-2", None);
    let bytes = writer.finish();
    assert_eq!(bytes, framed(br#"[[1,"row-1",null],[2,"row-2",null]]"#));
    assert_eq!(bytes[..4], [0, 0, 0, 0x23]);
}

#[test]
fn rows_survive_any_cut() {
    let contents = [
        "",
        "[\"~:keys\",\"\\\\\"]",
        "~leading",
        "^caret",
        "`tick",
        "~",
        "日本語😀 \u{0}\u{1f}\u{7f}\r\n\t\u{8}\u{c}/\"",
        "plain",
    ];
    let mut bytes = Vec::new();
    let mut expected = Vec::new();
    for (i, part) in contents.chunks(3).enumerate() {
        let mut writer = FrameWriter::new();
        for (j, content) in part.iter().enumerate() {
            let addr = u32::try_from(10 * i + j).unwrap();
            let addresses = (j == 1).then_some("[1,2,3]");
            writer.row(i64::from(addr), content, addresses);
            expected.push(row(addr, content, addresses));
        }
        bytes.extend(writer.finish());
    }
    assert_eq!(read(&[&bytes]).unwrap(), expected);
    for step in 1..9 {
        let pieces: Vec<&[u8]> = bytes.chunks(step).collect();
        assert_eq!(read(&pieces).unwrap(), expected, "pieces of {step}");
    }
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        assert_eq!(read(&[head, tail]).unwrap(), expected, "cut at {cut}");
    }
}

#[test]
fn a_stream_cut_short_is_invalid() {
    let bytes = framed(br#"[[1,"row",null]]"#);
    for cut in 1..bytes.len() {
        assert_eq!(read(&[&bytes[..cut]]), Err(FrameError::Invalid), "cut at {cut}");
    }
    assert_eq!(read(&[]), Ok(Vec::new()));
}

#[test]
fn other_spellings_of_the_same_rows() {
    let expected = vec![row(7, "é😀/", Some("[1]"))];
    let spellings: [&str; 4] = [
        r#"[[7,"é😀/","[1]"]]"#,
        r#" [ [ 7 , "\u00e9\uD83D\uDE00\/" , "\u005b1]" ] ] "#,
        "[\n[\t\"~i7\",\"é\\ud83d\\ude00/\",\"[1]\"]\r]",
        r#"[["~i7","é😀/","[1]"]]"#,
    ];
    for spelling in spellings {
        assert_eq!(read(&[&framed(spelling.as_bytes())]).as_ref(), Ok(&expected), "{spelling}");
    }
    assert_eq!(read(&[&framed(br#"[[0,"x","~_"]]"#)]), Ok(vec![row(0, "x", None)]));
    assert_eq!(read(&[&framed(b"[]")]), Ok(Vec::new()));
}

#[test]
fn what_is_no_row_is_invalid() {
    let payloads: &[&[u8]] = &[
        b"",
        b"\x01\x02",
        b"null",
        b"{}",
        b"[",
        b"[[1,\"a\",null]",
        b"[[1,\"a\",null]]]",
        b"[[1,\"a\",null]] x",
        b"[[1,\"a\",null],]",
        b"[[1,\"a\"]]",
        b"[[1,\"a\",null,2]]",
        b"[[-1,\"a\",null]]",
        b"[[1.5,\"a\",null]]",
        b"[[07,\"a\",null]]",
        b"[[00,\"a\",null]]",
        b"[[4294967296,\"a\",null]]",
        b"[[\"1\",\"a\",null]]",
        b"[[null,\"a\",null]]",
        b"[[1,2,null]]",
        b"[[1,null,null]]",
        b"[[1,\"~:kw\",null]]",
        b"[[1,\"^0\",null]]",
        b"[[1,\"a\",[1]]]",
        b"[[1,\"a\",\"1\"]]",
        b"[[1,\"a\",true]]",
        b"[[1,\"a\",nul]]",
        b"[[1,\"a\",nulll]]",
        b"[[11111111111111111111111111111111111111111,\"a\",null]]",
        b"[\"^ \",1,2]",
        b"[[1,\"\\ud800\",null]]",
        b"[[1,\"\\ud800x\",null]]",
        b"[[1,\"\\udc00\",null]]",
        b"[[1,\"\\ud800\\ud800\",null]]",
        b"[[1,\"\\x\",null]]",
        b"[[1,\"\\u00g0\",null]]",
        b"[[1,\"a\nb\",null]]",
        b"[[1,\"\xff\",null]]",
    ];
    for payload in payloads {
        assert_eq!(read(&[&framed(payload)]), Err(FrameError::Invalid), "{}", String::from_utf8_lossy(payload));
    }
}

#[test]
fn lengths_beyond_the_limit_are_refused_unseen() {
    assert_eq!(read(&[&(64_u32 << 20).saturating_add(1).to_be_bytes()]), Err(FrameError::Invalid));
    assert_eq!(read(&[&u32::MAX.to_be_bytes()]), Err(FrameError::Invalid));
}

#[test]
fn a_row_may_be_two_million_bytes_long() {
    let mut writer = FrameWriter::new();
    writer.row(2, &"x".repeat(2_000_000), None);
    assert_eq!(read(&[&writer.finish()]).map(|rows| rows[0].content.len()), Ok(2_000_000));
    let mut writer = FrameWriter::new();
    writer.row(2, &"x".repeat(2_000_001), None);
    assert_eq!(read(&[&writer.finish()]), Err(FrameError::RowTooLarge));
}
