//! The server killed in the middle of an upload.

use std::io::Write as _;

use conformance::frames;
use conformance::{Server, TestGraph, raw};
use faults::{Ledger, is_long};

super::cases![an_upload_that_a_kill_ends_can_be_repeated];

fn an_upload_that_a_kill_ends_can_be_repeated(_: &Server) {
    let mut server = Server::own(Some(crate::wrapping()));
    let owner = server.person("owner");
    let (mut ledger, graph) = (Ledger::begin(&owner), TestGraph::initial(&owner));
    let body = frames::initial_graph(false);
    let rounds = if is_long() { 8 } else { 2 };
    for round in 1..=rounds {
        ledger.write(3);
        let mut stream = raw::connect(&owner);
        let path = graph.path("/snapshot/upload?reset=true&finished=true");
        let length = format!("content-length: {}", body.len());
        stream.write_all(raw::head(&owner, "POST", &path, &[&length]).as_bytes()).unwrap();
        stream.write_all(&body[..body.len() * round / (rounds + 1)]).unwrap();
        server.kill();
        server.restart();
        let status = owner.get(&graph.path("/pull?since=0")).status;
        assert!(matches!(status, 200 | 409), "round {round}: {status}");
        graph.upload("reset=true&finished=true", &body).status(200);
        assert_eq!(graph.rows(), frames::rows(&body), "round {round}");
        ledger.prove();
    }
    Ledger::on(graph).prove();
    server.stop();
}
