//! Values of single settings.

use crate::session::budget::Budget;
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

/// Why the settings are refused. No text shows a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A number is none, or too small or too large.
    #[error("{name} must be a whole number from {least} to {most}, not {value:?}")]
    Number {
        /// The setting.
        name: &'static str,
        /// The smallest that is taken.
        least: i64,
        /// The largest that is taken.
        most: i64,
        /// What is set.
        value: String,
    },
    /// A key has another length, or is no base64.
    #[error("{0} must be 32 bytes in base64")]
    Key(&'static str),
    /// An address is none.
    #[error("{name} must be an address such as https://agents.example, not {value:?}")]
    Address {
        /// The setting.
        name: &'static str,
        /// What is set.
        value: String,
    },
    /// A word is none of those that mean something.
    #[error("{name} must be {allowed}, not {value:?}")]
    Word {
        /// The setting.
        name: &'static str,
        /// What may be set.
        allowed: &'static str,
        /// What is set.
        value: String,
    },
    /// A budget is none.
    #[error("{0} must be a budget such as {{\"turns\":50,\"cost\":{{\"amount\":5,\"currency\":\"USD\"}}}}")]
    Budget(&'static str),
    /// Settings of authentication.
    #[error(transparent)]
    Auth(#[from] auth::ConfigError),
}

/// The largest whole number whose neighbours have doubles of their own.
const MOST: i64 = (1 << 53) - 1;

/// Settings by their names. A blank value counts as none.
pub(super) struct Lookup<F>(pub(super) F);

impl<F: Fn(&str) -> Option<String>> Lookup<F> {
    /// A text as it is set.
    pub(super) fn raw(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.trim().is_empty())
    }

    /// A text without blanks around it.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.raw(name).map(|value| value.trim().to_owned())
    }

    /// Whether something that is off by itself is switched on with `1`.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.text(name).as_deref() == Some("1")
    }

    /// Whether something that is on by itself is switched off with `0`.
    pub(super) fn is_off(&self, name: &str) -> bool {
        self.text(name).as_deref() == Some("0")
    }

    /// A number of at least 1.
    pub(super) fn number(&self, name: &'static str, default: i64) -> Result<i64, SettingsError> {
        self.text(name).map_or(Ok(default), |value| parsed(name, &value, 1, MOST))
    }

    /// A number of at least 1 that is stored as another type.
    pub(super) fn sized<T: TryFrom<i64>>(&self, name: &'static str, default: T, most: i64) -> Result<T, SettingsError> {
        let Some(value) = self.text(name) else { return Ok(default) };
        let number = parsed(name, &value, 1, most)?;
        T::try_from(number).map_err(|_| SettingsError::Number { name, least: 1, most, value })
    }

    /// The id of something, if it is set.
    pub(super) fn id(&self, name: &'static str) -> Result<Option<i64>, SettingsError> {
        self.text(name).map(|value| parsed(name, &value, 1, MOST)).transpose()
    }

    /// A budget as JSON (agents.md 20.1); without limits by itself.
    pub(super) fn budget(&self, name: &'static str) -> Result<Budget, SettingsError> {
        let Some(text) = self.text(name) else { return Ok(Budget::default()) };
        let value = serde_json::from_str(&text).map_err(|_| SettingsError::Budget(name))?;
        Budget::read(&value).map_err(|_| SettingsError::Budget(name))
    }

    /// A key of 32 bytes.
    pub(super) fn key(&self, name: &'static str) -> Result<Option<[u8; 32]>, SettingsError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        let bytes = STANDARD_NO_PAD.decode(value.trim_end_matches('=')).map_err(|_| SettingsError::Key(name))?;
        bytes.try_into().map(Some).map_err(|_| SettingsError::Key(name))
    }

    /// An address, without slashes at its end.
    pub(super) fn address(&self, name: &'static str) -> Result<Option<String>, SettingsError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        let base = value.trim_end_matches('/');
        let rest = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://"));
        let is_plain =
            |rest: &str| !rest.is_empty() && !rest.contains(|c: char| c.is_whitespace() || "?#@".contains(c));
        if rest.is_some_and(is_plain) { Ok(Some(base.to_owned())) } else { Err(SettingsError::Address { name, value }) }
    }

    /// A word that means something, in any case.
    pub(super) fn word<T: Copy>(
        &self,
        name: &'static str,
        allowed: &'static str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, SettingsError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        let found = words.iter().find(|(word, _)| value.eq_ignore_ascii_case(word)).map(|(_, meaning)| *meaning);
        found.map(Some).ok_or(SettingsError::Word { name, allowed, value })
    }
}

fn parsed(name: &'static str, value: &str, least: i64, most: i64) -> Result<i64, SettingsError> {
    let is_digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = if is_digits { value.parse().ok() } else { None };
    number.filter(|number| (least..=most).contains(number)).ok_or_else(|| SettingsError::Number {
        name,
        least,
        most,
        value: value.to_owned(),
    })
}
