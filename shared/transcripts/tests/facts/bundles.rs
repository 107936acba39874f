//! Bundles and archives, and what hostile ones are refused for (transcripts.md 4.2, 4.4).

use proptest::prelude::*;
use tar::{Builder, EntryType, Header};
use transcripts::archive;
use transcripts::bundle::{Bundle, BundleError, Described, Manifest, Member, is_path};
use transcripts::sha256_hex;

const LIMIT: usize = 1 << 20;

fn member(path: &str, bytes: &[u8]) -> Member {
    (path.to_owned(), 0o600, bytes.to_vec())
}

fn bundle(members: Vec<Member>) -> Result<Bundle, BundleError> {
    Bundle::new(Described { agent: "claude".into(), ..Described::default() }, members, LIMIT)
}

#[test]
fn an_archive_gives_the_bundle_back() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(150));
    let first = bundle(vec![member("b", b"\xff\x00"), member(&long, b""), member(".a/c.jsonl", &[7; 5_000])]).unwrap();
    let bytes = archive::write(&first).unwrap();
    assert_eq!(bytes, archive::write(&first).unwrap(), "the same bundle gives the same bytes");
    assert_eq!(archive::read(&bytes, LIMIT).unwrap(), first);
    assert_eq!(archive::read(&bytes, 5_002).unwrap(), first);
    assert_eq!(archive::read(&bytes, 5_001), Err(BundleError::TooLarge));
}

#[test]
fn members_nobody_knows_are_kept() {
    let first = bundle(vec![member("a", b"x")]).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&first.manifest().to_json().unwrap()).unwrap();
    manifest["later"] = serde_json::json!([1, {"a": null}]);
    let read = Manifest::parse(manifest.to_string().as_bytes()).unwrap();
    let again: serde_json::Value = serde_json::from_str(&read.to_json().unwrap()).unwrap();
    assert_eq!(again, manifest);
}

#[test]
fn paths_stay_where_they_belong() {
    for path in ["a", ".claude/projects/-x/y.jsonl", "é/ü", "a b"] {
        assert!(is_path(path) && bundle(vec![member(path, b"x")]).is_ok(), "{path}");
    }
    let long = "x".repeat(513);
    for path in ["", "/a", "../a", "a/../b", "a/..", "./a", "a//b", "a/", "a\\b", "a\0b", "a\nb", "..", ".", &long] {
        assert!(!is_path(path), "{path}");
        assert_eq!(bundle(vec![member(path, b"x")]), Err(BundleError::Path), "{path}");
    }
    assert_eq!(bundle(vec![member("a", b"x"), member("a", b"y")]), Err(BundleError::Path));
    assert_eq!(bundle(Vec::new()), Err(BundleError::Files));
    let many = (0..65).map(|n| member(&n.to_string(), b"")).collect();
    assert_eq!(bundle(many), Err(BundleError::Files));
    assert_eq!(bundle(vec![member("a", &[0; LIMIT]), member("b", b"x")]), Err(BundleError::TooLarge));
    assert!(bundle(vec![member("a", &[0; LIMIT])]).is_ok());
}

/// An archive of entries as they are given: name, kind, bytes.
fn archive_of(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    for (path, kind, bytes) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // Written by hand: the library refuses names that lead elsewhere.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        archive.append(&header, *bytes).unwrap();
    }
    archive.into_inner().unwrap()
}

fn manifest(path: &str, size: u64, bytes: &[u8]) -> String {
    let sha256 = sha256_hex(bytes);
    serde_json::json!({"v": 1, "files": [{"path": path, "size": size, "sha256": sha256, "mode": 0o600}]}).to_string()
}

#[test]
fn hostile_archives_are_refused() {
    use EntryType::{Directory, Fifo, Link, Regular, Symlink};
    let good = manifest("a", 1, b"x");
    let named =
        |text: &str, entry: (&str, EntryType, &[u8])| archive_of(&[("manifest.json", Regular, text.as_bytes()), entry]);
    assert!(archive::read(&named(&good, ("a", Regular, b"x")), LIMIT).is_ok());
    for (bytes, expected) in [
        (Vec::new(), BundleError::Manifest),
        (vec![7; 2_000], BundleError::Archive),
        (archive_of(&[("a", Regular, b"x")]), BundleError::Manifest),
        (archive_of(&[("a", Regular, b"x"), ("manifest.json", Regular, good.as_bytes())]), BundleError::Manifest),
        (archive_of(&[("manifest.json", Regular, good.as_bytes())]), BundleError::Manifest),
        (named(&good, ("a", Symlink, b"")), BundleError::Archive),
        (named(&good, ("a", Link, b"")), BundleError::Archive),
        (named(&good, ("a", Fifo, b"")), BundleError::Archive),
        (named(&good, ("a", Directory, b"")), BundleError::Archive),
        (named(&good, ("b", Regular, b"x")), BundleError::Manifest),
        (named(&good, ("a", Regular, b"y")), BundleError::Manifest),
        (named(&good, ("a", Regular, b"xx")), BundleError::Manifest),
        (named(&manifest("../a", 1, b"x"), ("../a", Regular, b"x")), BundleError::Path),
        (named(&manifest("/a", 1, b"x"), ("/a", Regular, b"x")), BundleError::Path),
        (named(&manifest("a", u64::MAX, b"x"), ("a", Regular, b"x")), BundleError::TooLarge),
        (named("{}", ("a", Regular, b"x")), BundleError::Manifest),
        (named("{\"v\":2,\"files\":[]}", ("a", Regular, b"x")), BundleError::Manifest),
        (
            archive_of(&[("manifest.json", Regular, good.as_bytes()), ("a", Regular, b"x"), ("b", Regular, b"y")]),
            BundleError::TooLarge,
        ),
        (
            archive_of(&[("manifest.json", Regular, good.as_bytes()), ("a", Regular, b"x"), ("b", Regular, b"")]),
            BundleError::Manifest,
        ),
    ] {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(600)]).into_owned();
        assert_eq!(archive::read(&bytes, LIMIT).err(), Some(expected), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_go_through_an_archive(
        files in prop::collection::btree_map("[a-z]{1,8}(/[a-z.]{0,1}[a-z]{1,40}){0,4}", prop::collection::vec(any::<u8>(), 0..2_000), 1..8)
    ) {
        let first = bundle(files.iter().map(|(path, bytes)| member(path, bytes)).collect()).unwrap();
        prop_assert_eq!(&archive::read(&archive::write(&first).unwrap(), LIMIT).unwrap(), &first);
        for (file, bytes) in first.members() {
            prop_assert_eq!(&files[&file.path], bytes);
        }
    }

    /// Whatever is changed in an archive: it is refused, or it is a bundle whose files are what its manifest says.
    #[test]
    fn a_changed_archive_is_never_misread(at in 0_usize..4_096, bit in 0_u32..8) {
        let mut bytes = archive::write(&bundle(vec![member("a", &[1; 900]), member("b/c", b"xyz")]).unwrap()).unwrap();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(read) = archive::read(&bytes, LIMIT) {
            for (file, bytes) in read.members() {
                prop_assert_eq!(&file.sha256, &sha256_hex(bytes));
            }
        }
    }
}
