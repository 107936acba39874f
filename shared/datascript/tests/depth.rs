//! Values as deep as rows may be are compared and hashed on three quarters of a WebAssembly module's stack.

use std::cmp::Ordering;
use std::sync::Arc;
use std::thread;

use datascript::value::{compare, hash};
use transit::{Keyword, Limits, Tagged, Value};

/// A value of such levels, around a number.
fn nested(around: fn(Value) -> Value, innermost: i64) -> Value {
    (0..Limits::DEEPEST).fold(Value::Int(innermost), |inner, _| around(inner))
}

#[test]
fn deep_values_need_little_stack() {
    let forms: [fn(Value) -> Value; 6] = [
        |inner| Value::vector([inner]),
        |inner| Value::List([inner].into()),
        |inner| Value::Set([inner].into()),
        |inner| Value::Map([(Value::Keyword(Keyword::new("a")), inner)].into()),
        |inner| Value::Map([(inner, Value::Nil)].into()),
        |inner| Value::Tagged(Arc::new(Tagged { tag: "x".into(), rep: inner })),
    ];
    for (form, around) in forms.into_iter().enumerate() {
        let work = move || {
            let (one, same, other) = (nested(around, 1), nested(around, 1), nested(around, 2));
            assert_eq!(compare(&one, &same), Ordering::Equal, "{form}");
            assert_ne!(compare(&one, &other), Ordering::Equal, "{form}");
            assert_eq!(hash(&one), hash(&same), "{form}");
        };
        let thread = thread::Builder::new().stack_size(768 * 1024).spawn(work);
        assert!(thread.is_ok_and(|thread| thread.join().is_ok()), "{form}");
    }
}
