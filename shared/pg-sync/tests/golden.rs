//! Identities of the reference, as it computed them (pg-sync.md 2.1).

use golden_support::{Tally, lines};
use pg_sync::reference::{canonical, source_ref};

/// Fact 4 of pg-sync.md 3: the identity is the one that the reference's runtime computes.
#[test]
fn identities_of_the_reference() {
    let mut tally = Tally::default();
    let lines = lines("pg-sync.jsonl");
    for line in &lines {
        let case = line["case"].as_str().unwrap();
        let metadata = line.get("metadata").filter(|metadata| !metadata.is_null());
        let text = canonical(&line["options"], metadata);
        assert_eq!(text, line["canonical"].as_str().unwrap(), "{case}");
        assert_eq!(source_ref(&text), line["sourceRef"].as_str().unwrap(), "{case}");
        tally.check();
    }
    tally.assert(lines.len(), 45, &[]);
}
