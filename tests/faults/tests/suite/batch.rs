//! Batches whose statements fail.

use conformance::Server;
use faults::{Ledger, Order, Platform};

super::cases![
    every_statement_of_a_batch_may_fail,
    a_commit_that_fails_changes_nothing,
    storage_that_stays_broken_refuses_until_it_is_whole,
];

/// Enough blocks to fill the tail, so that the batch writes nodes and deletes some.
const BLOCKS: usize = 40;

/// More statements than any batch has.
const MAX_STATEMENTS: usize = 500;

fn every_statement_of_a_batch_may_fail(server: &Server) {
    let platform = Platform::of(server);
    let mut ledger = Ledger::begin(&server.person("owner"));
    ledger.write(BLOCKS);
    for after in [false, true] {
        let mut tried = 0;
        // Every place is tried, as there are few.
        for place in 0.. {
            assert!(place < MAX_STATEMENTS, "a batch without an end");
            let draft = ledger.draft(BLOCKS);
            let t = ledger.graph.t();
            let order = Order::fail("sql", ".").of(&ledger.graph).skip(place);
            platform.clear();
            platform.order(&if after { order.after() } else { order });
            let answer = ledger.graph.batch(t, &draft.entries);
            let was_hit = platform.is_done();
            platform.clear();
            if answer.status == 200 && answer.json()["type"] == "tx/batch/ok" {
                ledger.acknowledge(draft);
            } else {
                assert!(was_hit, "statement {place}: {} {}", answer.status, answer.json());
                assert_eq!(ledger.graph.t(), t, "statement {place}: what failed is not there in part");
            }
            if !was_hit {
                break;
            }
            tried += 1;
            ledger.prove();
        }
        assert!(tried > 2, "only {tried} statements were found");
    }
}

fn a_commit_that_fails_changes_nothing(server: &Server) {
    let platform = Platform::of(server);
    let mut ledger = Ledger::begin(&server.person("owner"));
    for blocks in [1, BLOCKS] {
        let before = (ledger.graph.pull(), ledger.graph.rows());
        platform.order(&Order::fail("commit", ".").of(&ledger.graph));
        assert!(ledger.try_write(blocks).is_err());
        platform.clear();
        assert_eq!((ledger.graph.pull(), ledger.graph.rows()), before, "{blocks} blocks");
        ledger.prove();
    }
}

fn storage_that_stays_broken_refuses_until_it_is_whole(server: &Server) {
    let platform = Platform::of(server);
    let mut ledger = Ledger::begin(&server.person("owner"));
    platform.order(&Order::fail("sql", ".").of(&ledger.graph).always().saying("database or disk is full: SQLITE_FULL"));
    for _ in 0..5 {
        let draft = ledger.draft(1);
        let answer = ledger.graph.batch(1, &draft.entries);
        assert!(answer.status >= 500 || answer.json()["type"] == "tx/reject", "{} {}", answer.status, answer.json());
    }
    platform.clear();
    ledger.prove();
}
