//! When the key set is fetched, and what holds while it cannot be (the table in `key_cache`).

use crate::support::*;
use auth::{AuthError, FetchError, KEY_SET_BYTES};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// A token of key `a` or `b` that no cache has seen before, valid for days, and issued before any fetch.
fn fresh(kid: &str, n: i64) -> String {
    issued(kid, n, NOW - 1)
}

/// The same, issued at that second.
fn issued(kid: &str, n: i64, iat: i64) -> String {
    let key = if kid == "b" { &*KEY_B } else { &*KEY_A };
    key.sign(&header(kid), &claims_with(&serde_json::json!({"exp": NOW + 1_000_000, "iat": iat, "n": n})))
}

#[test]
fn a_key_set_holds_for_six_hours() {
    let world = World::new(&[KEY_A.jwk("a")]);
    let authenticator = authenticator(&world, &[]);
    assert_eq!(verdict(&authenticator, &fresh("a", 1)), Ok(true));
    world.pass_ms(6 * HOUR - 1);
    assert_eq!(verdict(&authenticator, &fresh("a", 2)), Ok(true));
    assert_eq!(world.fetches.get(), 1);
    world.pass_ms(1);
    assert_eq!(verdict(&authenticator, &fresh("a", 3)), Ok(true));
    assert_eq!(world.fetches.get(), 2);
}

#[test]
fn keys_rotate() {
    let world = World::new(&[KEY_A.jwk("a")]);
    let authenticator = authenticator(&world, &[]);
    assert_eq!(verdict(&authenticator, &fresh("a", 1)), Ok(true));
    world.publish(&[KEY_A.jwk("a"), KEY_B.jwk("b")]);
    assert_eq!(verdict(&authenticator, &fresh("b", 1)), Ok(true), "a new key is fetched at once");
    world.publish(&[KEY_B.jwk("b")]);
    world.pass_ms(6 * HOUR);
    assert_eq!(verdict(&authenticator, &fresh("b", 2)), Ok(true));
    assert_eq!(verdict(&authenticator, &fresh("a", 2)), Ok(false), "the old key is gone");
}

#[test]
fn unknown_keys_cause_one_fetch_a_minute() {
    let world = World::new(&[KEY_A.jwk("a")]);
    let authenticator = authenticator(&world, &[]);
    assert_eq!(verdict(&authenticator, &fresh("a", 1)), Ok(true));
    for n in 0..20 {
        assert_eq!(verdict(&authenticator, &fresh(&format!("unknown-{n}"), n)), Ok(false));
    }
    assert_eq!(world.fetches.get(), 2);
    world.pass_ms(MINUTE - 1);
    assert_eq!(verdict(&authenticator, &fresh("b", 1)), Ok(false));
    assert_eq!(world.fetches.get(), 2);
    world.pass_ms(1);
    world.publish(&[KEY_A.jwk("a"), KEY_B.jwk("b")]);
    assert_eq!(verdict(&authenticator, &fresh("b", 1)), Ok(true));
    assert_eq!(world.fetches.get(), 3);
}

#[test]
fn keys_may_change_twice_in_a_minute() {
    for pause in [0, 999, 1_000, 30_000] {
        let world = World::new(&[KEY_A.jwk("a")]);
        let authenticator = authenticator(&world, &[]);
        let now = || world.now_ms.get() / 1000;
        assert_eq!(verdict(&authenticator, &issued("a", 1, now())), Ok(true));
        world.publish(&[KEY_B.jwk("b")]);
        assert_eq!(verdict(&authenticator, &issued("b", 1, now())), Ok(true));
        world.pass_ms(pause);
        world.publish(&[KEY_A.jwk("c")]);
        assert_eq!(verdict(&authenticator, &fresh("c", 2)), Ok(false), "issued before the last fetch");
        assert_eq!(verdict(&authenticator, &issued("c", 3, now())), Ok(true), "after {pause} ms");
        assert_eq!(world.fetches.get(), 3);
    }
}

#[test]
fn times_of_issue_that_are_made_up_cause_one_fetch_more_a_minute() {
    let world = World::new(&[KEY_A.jwk("a")]);
    let authenticator = authenticator(&world, &[]);
    assert_eq!(verdict(&authenticator, &fresh("a", 1)), Ok(true));
    for second in 0..120 {
        for (n, iat) in [NOW, NOW + second, NOW + 1_000_000, i64::MAX].into_iter().enumerate() {
            let kid = format!("unknown-{second}-{n}");
            assert_eq!(verdict(&authenticator, &issued(&kid, 1, iat)), Ok(false));
        }
        world.pass_ms(1_000);
    }
    assert_eq!(world.fetches.get(), 1 + 2 * 2);
}

#[test]
fn a_second_fetch_that_fails_can_be_made_again() {
    let world = World::new(&[KEY_A.jwk("a")]);
    let authenticator = authenticator(&world, &[]);
    assert_eq!(verdict(&authenticator, &fresh("a", 1)), Ok(true));
    assert_eq!(verdict(&authenticator, &fresh("unknown", 1)), Ok(false));
    world.go_down();
    verdict(&authenticator, &issued("b", 1, NOW)).unwrap_err();
    world.publish(&[KEY_B.jwk("b")]);
    world.pass_ms(1_000);
    assert_eq!(verdict(&authenticator, &issued("b", 1, NOW)), Ok(true));
}

#[test]
fn an_unreachable_provider_is_an_error_only_when_no_cached_key_fits() {
    let world = World::new(&[KEY_A.jwk("a")]);
    let authenticator = authenticator(&world, &[]);
    world.go_down();
    let down = Err(AuthError::KeySet(FetchError::Status(503)));
    assert_eq!(ask(&authenticator, Some(&fresh("a", 1))), down);
    assert_eq!(ask(&authenticator, Some(&fresh("a", 1))), down);
    assert_eq!(world.fetches.get(), 1, "not hammered");
    world.publish(&[KEY_A.jwk("a")]);
    world.pass_ms(1_000);
    assert_eq!(verdict(&authenticator, &fresh("a", 1)), Ok(true), "and not given up");

    world.go_down();
    assert_eq!(ask(&authenticator, Some(&fresh("b", 1))), down, "perhaps a new key");
    assert_eq!(verdict(&authenticator, &fresh("a", 2)), Ok(true), "a cached key");
    world.pass_ms(6 * HOUR);
    assert_eq!(verdict(&authenticator, &fresh("a", 3)), Ok(true), "an old key");
    assert_eq!(verdict(&authenticator, &fresh("a", 4)), Ok(true), "while the next fetch is put off");
    world.pass_ms(18 * HOUR - 1);
    assert_eq!(verdict(&authenticator, &fresh("a", 5)), Ok(true), "for a day");
    world.pass_ms(1_001);
    assert_eq!(ask(&authenticator, Some(&fresh("a", 6))), down, "and no longer");
    let forged = KEY_B.sign(&header("a"), &claims());
    world.publish(&[KEY_A.jwk("a")]);
    world.pass_ms(1_000);
    assert_eq!(verdict(&authenticator, &fresh("a", 7)), Ok(true));
    assert_eq!(verdict(&authenticator, &forged), Ok(false));
}

#[test]
fn what_is_no_key_set_counts_as_unreachable() {
    let huge = format!("{}{}", key_set(&[KEY_A.jwk("a")]), " ".repeat(KEY_SET_BYTES));
    let cases = [
        ("<html>", FetchError::Malformed),
        ("", FetchError::Malformed),
        ("[]", FetchError::Malformed),
        ("{}", FetchError::Malformed),
        (r#"{"keys":{}}"#, FetchError::Malformed),
        (r#"{"keys":null}"#, FetchError::Malformed),
        (&*huge, FetchError::TooLarge),
    ];
    for (text, error) in cases {
        let world = World::new(&[]);
        *world.jwks.borrow_mut() = Ok(text.to_owned());
        let authenticator = authenticator(&world, &[]);
        assert_eq!(ask(&authenticator, Some(&fresh("a", 1))), Err(AuthError::KeySet(error)));
        world.publish(&[KEY_A.jwk("a")]);
        world.pass_ms(1_000);
        assert_eq!(verdict(&authenticator, &fresh("a", 1)), Ok(true));
        *world.jwks.borrow_mut() = Ok(text.to_owned());
        world.pass_ms(6 * HOUR);
        assert_eq!(verdict(&authenticator, &fresh("a", 2)), Ok(true), "the keys known before still hold");
    }
}

#[test]
fn many_keys_are_cut_off() {
    let mut keys: Vec<_> = (0..100).map(|n| KEY_B.jwk(&format!("b{n}"))).collect();
    keys.push(KEY_A.jwk("a"));
    let world = World::new(&keys);
    assert_eq!(verdict(&authenticator(&world, &[]), &fresh("a", 1)), Ok(false));
    keys.remove(0);
    world.publish(&keys);
    assert_eq!(verdict(&authenticator(&world, &[]), &fresh("a", 1)), Ok(true));
}

#[test]
fn nothing_is_locked_while_a_fetch_is_under_way() {
    let world = World::new(&[KEY_A.jwk("a")]);
    let authenticator = authenticator(&world, &[]);
    let (first, second, third) = (fresh("a", 1), fresh("a", 2), fresh("a", 3));
    assert_eq!(verdict(&authenticator, &first), Ok(true));

    world.hold.set(true);
    let context = &mut Context::from_waker(Waker::noop());
    let unknown = fresh("b", 1);
    let mut waiting = pin!(authenticator.claims(Some(&unknown)));
    assert!(matches!(waiting.as_mut().poll(context), Poll::Pending));
    assert_eq!(verdict(&authenticator, &first), Ok(true), "a cached token");
    assert_eq!(verdict(&authenticator, &second), Ok(true), "a cached key");
    {
        let other = fresh("b", 2);
        let mut dropped = pin!(authenticator.claims(Some(&other)));
        assert!(matches!(dropped.as_mut().poll(context), Poll::Pending));
    }
    world.publish(&[KEY_B.jwk("b"), KEY_A.jwk("a")]);
    world.hold.set(false);
    assert!(matches!(waiting.as_mut().poll(context), Poll::Ready(Ok(Some(_)))));
    assert_eq!(verdict(&authenticator, &third), Ok(true));
}

/// Polls all futures until each is done; gives their results in the same order.
fn run_all<T>(mut futures: Vec<std::pin::Pin<Box<dyn Future<Output = T> + '_>>>, each_round: impl Fn(usize)) -> Vec<T> {
    let context = &mut Context::from_waker(Waker::noop());
    let mut answers: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    for round in 0..1_000 {
        for (future, answer) in futures.iter_mut().zip(&mut answers) {
            if answer.is_none()
                && let Poll::Ready(output) = future.as_mut().poll(context)
            {
                *answer = Some(output);
            }
        }
        if answers.iter().all(Option::is_some) {
            break;
        }
        each_round(round);
    }
    answers.into_iter().flatten().collect()
}

#[test]
fn parallel_tokens_cost_one_fetch() {
    // No keys yet; fresh keys; keys that are too old.
    for age in [None, Some(0), Some(7 * HOUR)] {
        let world = World::new(&[KEY_A.jwk("a")]);
        let authenticator = authenticator(&world, &[]);
        let mut before = 0;
        if let Some(age) = age {
            assert_eq!(verdict(&authenticator, &fresh("a", 1)), Ok(true));
            world.pass_ms(age);
            before = 1;
        }
        world.hold.set(true);
        let tokens: Vec<String> = (0..400).map(|n| fresh(&format!("unknown-{n}"), n)).collect();
        let asked = tokens.iter().map(|token| Box::pin(authenticator.claims(Some(token))) as _).collect();
        let answers = run_all(asked, |round| world.hold.set(round < 3));
        assert!(answers.iter().all(|answer| matches!(answer, Ok(None))), "{age:?}");
        let most = if age == Some(0) { 1 } else { 2 };
        assert!(world.fetches.get() - before <= most, "{age:?}: {}", world.fetches.get() - before);
        for n in 400..500 {
            assert_eq!(verdict(&authenticator, &fresh(&format!("unknown-{n}"), n)), Ok(false));
        }
        assert!(world.fetches.get() - before <= 2, "the throttle holds");
        assert!(world.pauses.get() >= 399);
    }
}

#[test]
fn parallel_tokens_share_a_failure() {
    let world = World::new(&[]);
    world.go_down();
    let authenticator = authenticator(&world, &[]);
    world.hold.set(true);
    let tokens: Vec<String> = (0..400).map(|n| fresh("a", n)).collect();
    let asked = tokens.iter().map(|token| Box::pin(authenticator.claims(Some(token))) as _).collect();
    let answers = run_all(asked, |round| world.hold.set(round < 3));
    assert!(answers.iter().all(Result::is_err));
    assert_eq!(world.fetches.get(), 1);
}

#[test]
fn a_fetch_that_is_given_up_or_lost_is_begun_again() {
    let world = World::new(&[KEY_A.jwk("a")]);
    let authenticator = authenticator(&world, &[]);
    let context = &mut Context::from_waker(Waker::noop());
    world.hold.set(true);
    let (first, second) = (fresh("a", 1), fresh("a", 2));
    {
        let mut given_up = pin!(authenticator.claims(Some(&first)));
        assert!(given_up.as_mut().poll(context).is_pending());
    }
    // The request that held it was cancelled.
    let mut lost: std::pin::Pin<Box<dyn Future<Output = _>>> = Box::pin(authenticator.claims(Some(&first)));
    assert!(lost.as_mut().poll(context).is_pending());
    assert_eq!(world.fetches.get(), 2, "the first one's end freed the way");
    world.hold.set(false);
    world.pass_ms(10_000);
    assert_eq!(verdict(&authenticator, &second), Ok(true));
    assert_eq!(world.fetches.get(), 3);
    assert!(matches!(lost.as_mut().poll(context), Poll::Ready(Ok(Some(_)))), "and what comes late does no harm");
}

#[test]
fn a_useless_set_never_replaces_good_keys() {
    let twice = key_set(&[KEY_A.jwk("a"), KEY_B.jwk("a")]);
    let elsewhere = r#"{"keys":[{"kty":"EC","kid":"a"},{},5,null,"a"]}"#;
    for text in [r#"{"keys":[]}"#, elsewhere, &twice, "{}", "", "<html>"] {
        let world = World::new(&[KEY_A.jwk("a")]);
        let authenticator = authenticator(&world, &[]);
        assert_eq!(verdict(&authenticator, &fresh("a", 1)), Ok(true));
        *world.jwks.borrow_mut() = Ok(text.to_owned());
        for n in 0..50 {
            // Each of these asks for a key that is not there, so that the set is fetched again.
            let _unknown = verdict(&authenticator, &fresh(&format!("unknown-{n}"), n));
            assert_eq!(verdict(&authenticator, &fresh("a", 2 + n)), Ok(true), "{text}");
            world.pass_ms(MINUTE);
        }
    }
}

#[test]
fn a_provider_without_keys_is_not_out_of_reach() {
    let lenient = [("DB_SYNC_ALLOW_UNVERIFIED_JWT_CLAIMS", "true")];
    for settings in [&[][..], &lenient] {
        let world = World::new(&[]);
        let authenticator = authenticator(&world, settings);
        for n in 0..20 {
            assert_eq!(verdict(&authenticator, &fresh("a", n)), Ok(false), "neither a failure nor believed unverified");
        }
        assert_eq!(world.fetches.get(), 1);
        world.publish(&[KEY_A.jwk("a")]);
        world.pass_ms(1_000);
        assert_eq!(verdict(&authenticator, &fresh("a", 20)), Ok(true));
    }
}
