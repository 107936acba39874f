//! Members of a body, read strictly (agents.md 2.2): what has another type is refused, what is unknown is let be.

use serde_json::{Map, Value};

use crate::error::Error;

/// The largest whole number whose neighbours have doubles of their own. Larger ones are cut to it: databases store doubles.
const MOST: i64 = (1 << 53) - 1;

/// The object in a body. None for an empty body and for `null`.
///
/// # Errors
/// [`Error::InvalidBody`] for everything else that is no object. Objects within objects are read to a depth of 127.
pub(super) fn object(body: &[u8]) -> Result<Option<Map<String, Value>>, Error> {
    if body.is_empty() {
        return Ok(None);
    }
    match serde_json::from_slice(body) {
        Ok(Value::Null) => Ok(None),
        Ok(Value::Object(members)) => Ok(Some(members)),
        Ok(_) | Err(_) => Err(Error::InvalidBody),
    }
}

/// The same, where there must be one.
pub(super) fn required_object(body: &[u8]) -> Result<Map<String, Value>, Error> {
    object(body)?.ok_or(Error::MissingBody)
}

/// Members by their names.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// A text that may be missing.
    pub(super) fn text(self, name: &str) -> Result<Option<&'a str>, Error> {
        self.0.get(name).map(|value| value.as_str().ok_or(Error::InvalidBody)).transpose()
    }

    /// A text that may be missing and has at most so many bytes.
    pub(super) fn text_within(self, name: &str, bytes: usize) -> Result<Option<&'a str>, Error> {
        let text = self.text(name)?;
        if text.is_some_and(|text| text.len() > bytes) { Err(Error::InvalidBody) } else { Ok(text) }
    }

    /// A text without blanks around it, none when nothing is left, that may be missing.
    pub(super) fn filled(self, name: &str) -> Result<Option<&'a str>, Error> {
        Ok(self.text(name)?.map(str::trim).filter(|text| !text.is_empty()))
    }

    /// A text that must be there.
    pub(super) fn required(self, name: &str) -> Result<&'a str, Error> {
        self.text(name)?.ok_or(Error::InvalidBody)
    }

    /// A flag that may be missing.
    pub(super) fn flag(self, name: &str) -> Result<Option<bool>, Error> {
        self.0.get(name).map(|value| value.as_bool().ok_or(Error::InvalidBody)).transpose()
    }

    /// A whole number that may be missing. `5.0` is one.
    #[expect(clippy::cast_possible_truncation, reason = "a whole number within ±(2^53-1) is one of i64 as well")]
    pub(super) fn int(self, name: &str) -> Result<Option<i64>, Error> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        if let Some(number) = value.as_i64() {
            return Ok(Some(number.clamp(-MOST, MOST)));
        }
        let number = value.as_f64().filter(|number| number.fract() == 0.0).ok_or(Error::InvalidBody)?;
        #[expect(clippy::cast_precision_loss, reason = "exact: it is what MOST is about")]
        let most = MOST as f64;
        Ok(Some(number.clamp(-most, most) as i64))
    }

    /// An object that may be missing.
    pub(super) fn object(self, name: &str) -> Result<Option<Fields<'a>>, Error> {
        self.0.get(name).map(|value| value.as_object().map(Fields).ok_or(Error::InvalidBody)).transpose()
    }

    /// A list of texts that may be missing: at most `most`, of at most `bytes` bytes each.
    pub(super) fn texts(self, name: &str, most: usize, bytes: usize) -> Result<Option<Vec<&'a str>>, Error> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let list = value.as_array().filter(|list| list.len() <= most).ok_or(Error::InvalidBody)?;
        let texts = list.iter().map(|entry| entry.as_str().filter(|text| text.len() <= bytes));
        texts.collect::<Option<Vec<_>>>().map(Some).ok_or(Error::InvalidBody)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_an_object_or_none() {
        for (body, expected) in [
            ("", Ok(None)),
            ("null", Ok(None)),
            (" null\n", Ok(None)),
            ("{}", Ok(Some(Map::new()))),
            (" ", Err(Error::InvalidBody)),
            ("[]", Err(Error::InvalidBody)),
            ("\"x\"", Err(Error::InvalidBody)),
            ("5", Err(Error::InvalidBody)),
            ("false", Err(Error::InvalidBody)),
            ("{", Err(Error::InvalidBody)),
            ("{} {}", Err(Error::InvalidBody)),
            ("{\"a\":\"\\ud800\"}", Err(Error::InvalidBody)),
        ] {
            assert_eq!(object(body.as_bytes()), expected, "{body}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), Err(Error::InvalidBody), "no UTF-8");
        assert_eq!(required_object(b"null"), Err(Error::MissingBody));
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(object(deep.as_bytes()), Err(Error::InvalidBody), "the stack holds");
    }

    #[test]
    fn whole_numbers_are_whole() {
        for (json, expected) in [
            ("5", Ok(Some(5))),
            ("5.0", Ok(Some(5))),
            ("-4", Ok(Some(-4))),
            ("1e3", Ok(Some(1_000))),
            ("1e300", Ok(Some(MOST))),
            ("-9223372036854775808", Ok(Some(-MOST))),
            ("18446744073709551615", Ok(Some(MOST))),
            ("1.5", Err(Error::InvalidBody)),
            ("\"5\"", Err(Error::InvalidBody)),
            ("null", Err(Error::InvalidBody)),
            ("true", Err(Error::InvalidBody)),
        ] {
            let body = object(format!("{{\"n\":{json}}}").as_bytes()).unwrap().unwrap();
            assert_eq!(Fields(&body).int("n"), expected, "{json}");
            assert_eq!(Fields(&body).int("other"), Ok(None));
        }
    }
}
