//! Values of the configuration.

use std::fmt;

use super::keys::Kind;

/// A value of some kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// Several texts.
    List(Vec<String>),
    /// A fraction.
    Share(f64),
}

impl Value {
    /// Reads a text of a flag or variable; an error says what it must be.
    pub(crate) fn parse(kind: Kind, text: &str) -> Result<Self, String> {
        let text = text.trim();
        match kind {
            Kind::Text => Ok(Self::Text(text.to_owned())),
            Kind::Number(least, most) => match text.parse() {
                Ok(number) if (least..=most).contains(&number) => Ok(Self::Number(number)),
                _ => Err(format!("must be a whole number from {least} to {most}, not {text:?}")),
            },
            Kind::Flag => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Ok(Self::Flag(true)),
                "false" | "0" | "no" | "off" => Ok(Self::Flag(false)),
                _ => Err(format!("must be true or false, not {text:?}")),
            },
            Kind::List => {
                let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
                Ok(Self::List(entries.map(str::to_owned).collect()))
            }
            Kind::One(names) => {
                let lower = text.to_ascii_lowercase();
                if names.contains(&&*lower) {
                    Ok(Self::Text(lower))
                } else {
                    Err(format!("must be {}, not {text:?}", names.join(" or ")))
                }
            }
            Kind::Share => match text.parse() {
                Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self::Share(share)),
                _ => Err(format!("must be a number from 0 to 1, not {text:?}")),
            },
        }
    }

    /// Reads a value of the file.
    pub(crate) fn of_toml(kind: Kind, value: &toml::Value) -> Result<Self, String> {
        match (kind, value) {
            (Kind::List, toml::Value::Array(entries)) => {
                let texts: Option<Vec<String>> =
                    entries.iter().map(|entry| entry.as_str().map(str::to_owned)).collect();
                texts.map(Self::List).ok_or_else(|| "must be a list of texts".into())
            }
            (_, toml::Value::String(text)) => Self::parse(kind, text),
            (Kind::Number(..) | Kind::Share, toml::Value::Integer(number)) => Self::parse(kind, &number.to_string()),
            (Kind::Share, toml::Value::Float(share)) => Self::parse(kind, &share.to_string()),
            (Kind::Flag, toml::Value::Boolean(flag)) => Ok(Self::Flag(*flag)),
            (_, other) => Err(format!("must be {}, not {}", kind_name(kind), other.type_str())),
        }
    }

    /// The value as a variable would say it.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::List(entries) => entries.join(","),
            Self::Share(share) => share.to_string(),
        }
    }

    /// The value as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Number(number) => (*number).into(),
            Self::Flag(flag) => (*flag).into(),
            Self::List(entries) => entries.as_slice().into(),
            Self::Share(share) => (*share).into(),
        }
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::One(_) => "a text",
        Kind::Number(..) => "a whole number",
        Kind::Flag => "true or false",
        Kind::List => "a list of texts",
        Kind::Share => "a number",
    }
}

impl fmt::Display for Value {
    /// As TOML has it: its texts and lists of texts are written as JSON's are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) | Self::List(_) => write!(f, "{}", self.json()),
            other => f.write_str(&other.text()),
        }
    }
}
