//! Who started a daemon, and who may therefore stop it (docs/spec/daemon.md 4.2, 4.5).

use serde::{Deserialize, Serialize};

/// Who started a daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The command line.
    Cli,
    /// A desktop app, which the daemon ends with.
    Desktop,
    /// The system's service manager.
    Service,
    /// Nobody said, or something unknown was said.
    #[default]
    Unknown,
}

impl Owner {
    /// All owners, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Cli, Self::Desktop, Self::Service, Self::Unknown];

    /// The name in metadata and output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::Desktop => "desktop",
            Self::Service => "service",
            Self::Unknown => "unknown",
        }
    }

    /// The name in output for tools that know Logseq's own daemon.
    pub fn compatible_name(self) -> &'static str {
        if self == Self::Desktop { "electron" } else { self.name() }
    }

    /// Reads a name. `electron` is the desktop app; what is not known is [`Owner::Unknown`].
    pub fn read(name: &str) -> Self {
        match name {
            "cli" => Self::Cli,
            "desktop" | "electron" => Self::Desktop,
            "service" => Self::Service,
            _ => Self::Unknown,
        }
    }

    /// Whether a daemon of this owner may be stopped or restarted by `requester`: by its owner, and one of nobody by the
    /// command line.
    pub fn lets(self, requester: Self) -> bool {
        self == requester || (self == Self::Unknown && requester == Self::Cli)
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Owner {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Owner {
    /// Whatever stands there is read, if need be as [`Owner::Unknown`]: metadata of a stranger must not hide a daemon.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(value.as_str().map_or(Self::Unknown, Self::read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_manages_and_the_command_line_what_is_nobodys() {
        for holder in Owner::ALL {
            for requester in Owner::ALL {
                let expected = holder == requester || (holder == Owner::Unknown && requester == Owner::Cli);
                assert_eq!(holder.lets(requester), expected, "{holder} {requester}");
            }
        }
    }

    #[test]
    fn both_spellings_of_the_desktop_are_read_and_anything_else_is_unknown() {
        assert_eq!(Owner::read("electron"), Owner::Desktop);
        assert_eq!(Owner::read("desktop"), Owner::Desktop);
        for odd in ["", "CLI", "root"] {
            assert_eq!(Owner::read(odd), Owner::Unknown);
        }
        for odd in ["null", "7", "{}", "\"pirate\""] {
            assert_eq!(serde_json::from_str::<Owner>(odd).unwrap(), Owner::Unknown);
        }
        assert_eq!(Owner::Desktop.compatible_name(), "electron");
        assert_eq!(Owner::Service.compatible_name(), "service");
    }
}
