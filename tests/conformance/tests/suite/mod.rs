//! The cases, one file per part of the protocol.

mod access;
mod access_table;
mod agents;
mod assets;
mod chat;
mod door;
mod download;
mod e2ee;
mod graphs;
mod health;
mod members;
mod pipeline;
mod size;
mod sync_http;
mod tokens;
mod upload;
mod ws;

pub(crate) use conformance::cases;
use conformance::cases::Case;
use conformance::people::{LeftOut, People, Presumes};

/// What cases presume of the way in which the server finds out who asks.
const LEFT_OUT: &[LeftOut] = &[
    LeftOut {
        presumes: Presumes::CognitoTokens,
        reason: "access tokens count like identity tokens, and several clients may be meant",
        cases: &[
            "tokens::claims_that_do_not_fit_are_unauthorized",
            "tokens::tokens_that_clients_really_send_are_accepted",
            "chat::an_access_token_erases_nothing",
        ],
    },
    LeftOut {
        presumes: Presumes::IssuedTokens,
        reason: "the case makes tokens with claims, signatures or users of its own",
        cases: &["tokens::", "door::an_unverified_address_stands_for_nobody", "door::names_have_limits"],
    },
    LeftOut {
        presumes: Presumes::Newcomers,
        reason: "somebody is let in by somebody else, or kept out",
        cases: &[
            "access::",
            "assets::access_is_checked",
            "download::a_third_device_reads_what_two_wrote",
            "e2ee::every_member_has_a_copy_of_the_graph_key",
            "e2ee::managers_grant_keys_to_members",
            "e2ee::public_keys_are_found_by_email",
            "graphs::access_is_for_owner_and_members",
            "graphs::delete_is_for_managers",
            "graphs::list_shows_own_and_shared_graphs_newest_first",
            "graphs::names_are_free_for_other_owners",
            "members::",
            "sync_http::every_route_by_every_kind_of_caller",
            "sync_http::graph_ids_in_headers_and_queries_are_ignored",
            "sync_http::health_of_a_graph_needs_access",
            "sync_http::reset_is_for_operators",
            "upload::two_uploads_do_not_mix",
            "ws::a_sleeping_graph_remembers_its_people",
            "ws::presence_goes_to_peers_only",
            "ws::refused_upgrades_carry_the_usual_error",
        ],
    },
    LeftOut {
        presumes: Presumes::Newcomers,
        reason: "somebody who has no graphs and no keys yet sees exactly what was made",
        cases: &[
            "e2ee::own_pair_is_stored_and_replaced",
            "graphs::create_answers_and_lists_every_field",
            "graphs::create_defaults_to_ready_and_encrypted",
            "graphs::create_needs_keys_when_encrypted",
            "graphs::create_refuses_a_second_graph_of_the_same_name",
            "graphs::delete_removes_everything",
            "graphs::list_is_empty_for_a_new_person",
            "graphs::operators_delete_with_the_admin_token_only",
            "upload::pieces_open_the_graph_only_when_finished",
        ],
    },
    LeftOut {
        presumes: Presumes::Refusals,
        reason: "a token is what somebody without one is told apart by",
        cases: &[
            "assets::signed_links_open_one_object_for_a_while",
            "chat::",
            "door::oversized_bodies_hold_nobody_up",
            "door::refused_bodies_hold_nobody_up",
            "door::short_refused_bodies_are_heard_out",
            "download::the_descriptor_names_the_stream",
            "e2ee::bodies_are_checked_first",
            "graphs::create_checks_its_body",
        ],
    },
];

/// All cases that the server under test can have.
pub(crate) fn all() -> Vec<Case> {
    let all = [
        health::cases(),
        tokens::cases(),
        graphs::cases(),
        members::cases(),
        e2ee::cases(),
        sync_http::cases(),
        pipeline::cases(),
        ws::cases(),
        size::cases(),
        upload::cases(),
        download::cases(),
        assets::cases(),
        agents::cases(),
        access::cases(),
        door::cases(),
        chat::cases(),
    ]
    .concat();
    People::from_environment().cases(all, LEFT_OUT)
}
