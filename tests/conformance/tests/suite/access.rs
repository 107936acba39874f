//! Who may do what, over the wire: every row of the table for every caller.

use std::collections::HashMap;

use conformance::{Answer, Client, Server, Socket, TestGraph, tokens};
use serde_json::json;

use super::access_table::{CALLERS, Caller, ROWS};

super::cases![every_route_answers_every_caller_as_the_table_says];

/// One user for each column, and the spare member.
struct People(HashMap<&'static str, Client>);

impl People {
    fn of(server: &Server) -> Self {
        let roles = ["owner", "manager", "member", "removed", "stranger", "spare"];
        let people: HashMap<_, _> = roles.into_iter().map(|role| (role, server.person(role))).collect();
        // Only users whom the server has seen can be named.
        for person in people.values() {
            person.get("/graphs").status(200);
        }
        Self(people)
    }

    /// A graph that all of them stand in their relation to, with an asset.
    fn graph(&self) -> TestGraph {
        let graph = TestGraph::create(&self.0["owner"]);
        for (role, rights) in [("manager", "manager"), ("member", "member"), ("removed", "member"), ("spare", "member")]
        {
            graph.invite(&self.0[role], rights);
        }
        // The removed member was there, and known to be.
        let removed = &self.0["removed"];
        removed.get(&graph.path("/health")).status(200);
        graph.owner.delete(&format!("/graphs/{}/members/{}", graph.id, removed.user)).status(200);
        graph.owner.send("PUT", &format!("/assets/{}/a.png", graph.id), &[], Some(b"x")).status(200);
        graph
    }
}

fn ask(server: &Server, people: &People, caller: Caller, method: &str, path: &str, body: &str) -> Answer {
    let client = match caller {
        Caller::User(role) => people.0[role].clone(),
        Caller::Nobody | Caller::Operator => server.anonymous(),
    };
    let mut headers = Vec::new();
    if caller == Caller::Operator {
        headers.push(("x-db-sync-admin-token", server.admin_token.as_str()));
    }
    if method != "UPGRADE" {
        let body = (!matches!(method, "GET" | "HEAD" | "DELETE")).then_some(body.as_bytes());
        return client.send(method, path, &headers, body);
    }
    let query = client.token.as_ref().map(|token| format!("?token={token}")).unwrap_or_default();
    match Socket::try_open_path(&client, &format!("{path}{query}"), &headers) {
        Ok(_) => Answer { status: 101, headers: http::HeaderMap::new(), bytes: Vec::new() },
        Err(answer) => answer,
    }
}

fn every_route_answers_every_caller_as_the_table_says(server: &Server) {
    let people = People::of(server);
    let mut graph = people.graph();
    let mut problems = Vec::new();
    for (method, pattern, expected, body) in ROWS {
        for (caller, status) in CALLERS.into_iter().zip(expected) {
            let path = pattern
                .replace(":graph-id", &graph.id)
                .replace(":member-id", &people.0["spare"].user)
                .replace(":owner-email", &tokens::email(&people.0["owner"].user));
            let answer = ask(server, &people, caller, method, &path, body);
            if answer.status != status {
                problems.push(format!("{caller:?} {method} {pattern}: {} instead of {status}", answer.status));
            }
            match status {
                // An answer to HEAD has no body.
                401 | 403 if method != "HEAD" => {
                    let error = if status == 401 { "unauthorized" } else { "forbidden" };
                    if answer.json() != json!({ "error": error }) {
                        problems.push(format!("{caller:?} {method} {pattern}: {}", answer.json()));
                    }
                }
                _ => {}
            }
            // What has changed something leaves another graph behind than the next caller is to find.
            if answer.status < 400 && !matches!(method, "GET" | "HEAD" | "UPGRADE") {
                graph = people.graph();
            }
        }
    }
    assert!(problems.is_empty(), "{} of the table's statuses are others:\n{}", problems.len(), problems.join("\n"));
}
