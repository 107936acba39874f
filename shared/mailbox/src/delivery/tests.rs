use super::*;

fn output(seq: i64, prev: i64, generation: i64) -> Output {
    Output {
        seq,
        prev: Some(prev),
        id: format!("o{seq}"),
        generation,
        attempt: 1,
        in_reply_to: Some("m".into()),
        created_at: 5,
        deliver_after: None,
        kind: "update".into(),
        target: None,
        content: format!("{{\"n\":{seq}}}"),
    }
}

fn good(output: Output) -> Reading {
    Reading::Good(Box::new(output))
}

fn sent(plan: &Plan) -> Vec<(i64, i64, &str)> {
    plan.events.iter().map(|event| (event.seq, event.prev, event.kind.as_str())).collect()
}

fn chain(accepted: i64, generation: i64) -> Chain {
    Chain { accepted, generation, ..Chain::default() }
}

#[test]
fn outputs_go_in_their_order_each_with_the_place_of_the_one_before() {
    let readings = [good(output(11, 9, 1)), good(output(15, 11, 1)), good(output(17, 15, 2))];
    let plan = plan(&readings, &chain(9, 1), &[], 0);
    assert_eq!(sent(&plan), [(11, 9, "update"), (15, 11, "update"), (17, 15, "update")]);
    assert_eq!((plan.poison, plan.buried.len()), (0, 0));
}

#[test]
fn what_a_process_says_after_its_successor_began_is_fenced_and_before_that_it_is_real() {
    let readings = [good(output(11, 9, 1)), good(output(13, 11, 2)), good(output(15, 13, 1))];
    let expected = [(11, 9, "update"), (13, 11, "update"), (15, 13, TOMBSTONE)];
    assert_eq!(sent(&plan(&readings, &chain(9, 1), &[], 0)), expected);
    // The successor may have spoken in an earlier batch.
    let late = [good(output(15, 13, 1))];
    assert_eq!(sent(&plan(&late, &chain(13, 2), &[], 0)), [(15, 13, TOMBSTONE)]);
}

#[test]
fn fact_20_an_unknown_destination_is_refused_and_never_sent() {
    let to = |target: &str| good(Output { target: Some(target.into()), ..output(11, 9, 1) });
    let known = ["{\"channel\":1}".to_owned()];
    assert_eq!(sent(&plan(&[to("{\"channel\":1}")], &chain(9, 1), &known, 0)), [(11, 9, "update")]);
    let refused = plan(&[to("{\"channel\":2}")], &chain(9, 1), &known, 0);
    assert_eq!(sent(&refused), [(11, 9, TOMBSTONE)]);
    assert_eq!(refused.buried, [("o11".to_owned(), "unknown_destination".to_owned())]);
}

#[test]
fn rows_that_are_none_leave_their_place_and_block_nothing() {
    let readings = [
        Reading::Bad { seq: Some(11), id: None },
        Reading::Bad { seq: None, id: None },
        good(output(13, 11, 1)),
        good(output(15, 3, 1)),
        Reading::Bad { seq: Some(13), id: Some("again".into()) },
        good(output(17, 15, 1)),
    ];
    let plan = plan(&readings, &chain(9, 1), &[], 0);
    assert_eq!(sent(&plan), [(11, 9, TOMBSTONE), (13, 11, "update"), (15, 13, TOMBSTONE), (17, 15, "update")]);
    assert_eq!(plan.poison, 4);
}

#[test]
fn what_is_for_the_runner_stands_outside_of_the_order() {
    let asked = Output { prev: None, kind: "credential.request".into(), ..output(11, 9, 1) };
    let plan = plan(&[good(asked.clone()), good(output(13, 9, 1))], &chain(9, 1), &[], 0);
    assert_eq!(sent(&plan), [(13, 9, "update")]);
    assert_eq!(plan.for_runner, [asked]);
}

/// Row of docs/spec/session-mailbox.md 5: "`deliver_after` text compared in two formats, delays by up to a day".
#[test]
fn deliver_after_is_a_number_of_milliseconds() {
    let later = good(Output { deliver_after: Some(100), ..output(11, 9, 1) });
    assert!(plan(std::slice::from_ref(&later), &chain(9, 1), &[], 99).events.is_empty());
    assert_eq!(plan(&[later], &chain(9, 1), &[], 100).events.len(), 1);
}

#[test]
fn what_the_worker_refuses_for_good_goes_as_a_tombstone() {
    let mut chain = chain(9, 1);
    chain.refused.push((11, "too large".into()));
    let plan = plan(&[good(output(11, 9, 1)), good(output(13, 11, 1))], &chain, &[], 0);
    assert_eq!(sent(&plan), [(11, 9, TOMBSTONE), (13, 11, "update")]);
    assert_eq!(plan.events[0].data, "{\"reason\":\"too large\"}");
}

#[test]
fn pauses_double_up_to_a_minute() {
    assert_eq!([1, 2, 3, 6, 7, 60].map(pause), [1_000, 2_000, 4_000, 32_000, 60_000, 60_000]);
}
