//! What is stored, and what is not.

use database::local_sqlite::Rusqlite;
use sessions::mailbox::desk::Desk;
use sessions::mailbox::limits;
use sessions::mailbox::store::MailboxRows;

#[test]
fn looking_writes_nothing() {
    let sql = Rusqlite::in_memory().unwrap();
    let rows = MailboxRows(&sql);
    assert!(!rows.exist().unwrap());
    assert_eq!((rows.desk().unwrap(), rows.runner().unwrap()), (None, None));
    assert!(!rows.exist().unwrap());
    rows.create().unwrap();
    rows.create().unwrap();
    assert!(rows.exist().unwrap());
    assert_eq!(rows.desk().unwrap(), None);
}

#[test]
fn a_report_is_known_for_a_day() {
    let sql = Rusqlite::in_memory().unwrap();
    let rows = MailboxRows(&sql);
    rows.create().unwrap();
    assert!(rows.note_notice("n", 0).unwrap());
    assert!(!rows.note_notice("n", limits::NOTICE_KNOWN_MS - 1).unwrap());
    assert!(rows.note_notice("n", limits::NOTICE_KNOWN_MS).unwrap());
}

#[test]
fn rows_of_an_earlier_version_are_read() {
    let desk: Desk = serde_json::from_str(r#"{"lease":3,"something-else":1}"#).unwrap();
    assert_eq!(desk, Desk { lease: 3, ..Desk::default() });
}
