//! When the key set is fetched, and what holds while it cannot be (the table in `key_cache`).

use crate::support::*;
use auth::{AuthError, FetchError, KEY_SET_BYTES};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// A token of key `a` or `b` that no cache has seen before, valid for days.
fn fresh(kid: &str, n: i64) -> String {
    let key = if kid == "b" { &*KEY_B } else { &*KEY_A };
    key.sign(&header(kid), &claims_with(&serde_json::json!({"exp": NOW + 1_000_000, "n": n})))
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
