//! What sandboxes may talk to (agents.md 20.7). The provider enforces it; here the list is read, narrowed and completed.

use std::fmt;
use std::net::Ipv4Addr;

/// Entries of a list.
pub const MAX_RULES: usize = 100;
/// The longest entry, in bytes.
pub const MAX_RULE_BYTES: usize = 255;
/// The longest name of a host, in bytes.
const MAX_NAME_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;
/// What git and the agents that it serves need of GitHub.
const GITHUB: [&str; 3] = ["github.com", "*.github.com", "*.githubusercontent.com"];
/// What is denied besides: everything. Allowed entries go before denied ones.
pub const DENIED: [&str; 1] = ["0.0.0.0/0"];

/// One place, or many, that may be talked to. Shown, it is what the provider takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// This host, in lower case.
    Host(String),
    /// All hosts below this one, without itself, in lower case.
    Below(String),
    /// A network.
    Network {
        /// Its first address.
        first: Ipv4Addr,
        /// How many bits all of its addresses share, at most 32.
        bits: u8,
    },
}

/// Why a list is none. No entry is in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// An entry has another form.
    #[error("must be a list of domains, *.domains, IPv4 addresses and networks such as 10.0.0.0/8")]
    Form,
    /// More than [`MAX_RULES`].
    #[error("must have at most 100 entries")]
    TooMany,
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => formatter.write_str(name),
            Self::Below(name) => write!(formatter, "*.{name}"),
            Self::Network { first, bits } => write!(formatter, "{first}/{bits}"),
        }
    }
}

impl Rule {
    /// Reads an entry, with blanks around it.
    ///
    /// # Errors
    /// [`RuleError::Form`].
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let text = text.trim();
        if let Some(name) = text.strip_prefix("*.") {
            return if is_name(name) { Ok(Self::Below(name.to_ascii_lowercase())) } else { Err(RuleError::Form) };
        }
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        if let Ok(first) = address.parse::<Ipv4Addr>() {
            let is_digits =
                |bits: &str| (1..=2).contains(&bits.len()) && bits.bytes().all(|byte| byte.is_ascii_digit());
            let bits = match bits {
                None => Some(32),
                Some(bits) => bits.parse::<u8>().ok().filter(|number| *number <= 32 && is_digits(bits)),
            };
            let bits = bits.ok_or(RuleError::Form)?;
            // Bits beyond those that are shared would mean something else to each reader.
            let is_first = first.to_bits() & mask(bits) == first.to_bits();
            return if is_first { Ok(Self::Network { first, bits }) } else { Err(RuleError::Form) };
        }
        if bits.is_none() && text.contains('.') && is_name(text) {
            Ok(Self::Host(text.to_ascii_lowercase()))
        } else {
            Err(RuleError::Form)
        }
    }

    /// Whether everything that the other one allows is allowed by this one.
    pub fn covers(&self, other: &Self) -> bool {
        let is_below = |name: &str, above: &str| name.strip_suffix(above).is_some_and(|rest| rest.ends_with('.'));
        match (self, other) {
            (Self::Below(above), Self::Host(name)) => is_below(name, above),
            (Self::Below(above), Self::Below(name)) => name == above || is_below(name, above),
            (Self::Network { first, bits }, Self::Network { first: other, bits: more }) => {
                more >= bits && other.to_bits() & mask(*bits) == first.to_bits()
            }
            (own, other) => own == other,
        }
    }
}

fn mask(bits: u8) -> u32 {
    u32::MAX.checked_shl(32_u32.saturating_sub(bits.into())).unwrap_or(0)
}

/// Whether a text is a name, and no number: one whose last part is a number would be read as an address.
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= MAX_NAME_BYTES && text.split('.').all(is_label) && last.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Reads a list.
///
/// # Errors
/// Each entry must be a [`Rule`], and there must not be too many.
pub fn list<'a>(entries: impl Iterator<Item = &'a str>) -> Result<Vec<Rule>, RuleError> {
    let mut rules = Vec::new();
    for entry in entries {
        if rules.len() >= MAX_RULES {
            return Err(RuleError::TooMany);
        }
        rules.push(Rule::parse(entry)?);
    }
    Ok(rules)
}

/// What a sandbox needs whatever the list says.
#[derive(Clone, Copy, Debug)]
pub struct Needs<'a> {
    /// The address of this service.
    pub service_url: Option<&'a str>,
    /// The coding agent.
    pub agent: Option<&'a str>,
    /// Addresses at which the operator serves models.
    pub model_urls: &'a [&'a str],
}

/// Everything that a sandbox may talk to: what the operator allows, as far as the project wants it, and what is needed. Each entry is
/// there once.
pub fn allowed(operator: &[Rule], project: Option<&[Rule]>, needs: &Needs<'_>) -> Vec<String> {
    let wanted: Vec<&Rule> = match project {
        None => operator.iter().collect(),
        Some(project) => project.iter().filter(|rule| operator.iter().any(|own| own.covers(rule))).collect(),
    };
    let models: &[&str] = match needs.agent {
        Some("claude") => &["api.anthropic.com"],
        // With a login of ChatGPT it talks to these.
        Some("codex") => &["api.openai.com", "chatgpt.com", "auth.openai.com"],
        _ => &[],
    };
    let hosts = needs.service_url.into_iter().chain(needs.model_urls.iter().copied()).filter_map(host_of);
    let fixed = GITHUB.iter().chain(models).map(|name| (*name).to_owned());
    let mut all: Vec<String> = Vec::new();
    for entry in wanted.into_iter().map(ToString::to_string).chain(hosts).chain(fixed) {
        if !all.contains(&entry) {
            all.push(entry);
        }
    }
    all
}

/// The host of an address, as an entry; none when it has none that an entry can hold.
fn host_of(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    Rule::parse(uri.host()?).ok().map(|rule| rule.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<Rule> {
        list(text.split(',')).unwrap()
    }

    #[test]
    fn entries_are_read_strictly() {
        for (text, shown) in [
            ("example.com", "example.com"),
            (" *.Example.COM ", "*.example.com"),
            ("packages.example.net", "packages.example.net"),
            ("8.8.8.8", "8.8.8.8/32"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("a-b.xn--80ak6aa92e.com", "a-b.xn--80ak6aa92e.com"),
        ] {
            assert_eq!(Rule::parse(text).unwrap().to_string(), shown, "{text}");
        }
        let long = format!("{}.com", "a".repeat(64));
        for wrong in [
            "",
            "*",
            "*.",
            "*.*.com",
            "a.*.com",
            "com",
            "localhost",
            "https://example.com",
            "example.com:443",
            "example.com/",
            "example.com/8",
            "user@example.com",
            "exa mple.com",
            "-a.com",
            "a-.com",
            "a..com",
            ".a.com",
            "a.com.",
            "8.8.8",
            "8.8.8.256",
            "010.0.0.1",
            "8.8.8.8/33",
            "8.8.8.8/",
            "8.8.8.8/+8",
            "8.8.8.8/008",
            "10.0.0.1/8",
            "::1",
            "[::1]",
            "0x7f.1",
            "1.2.3.4.5",
            "bücher.example",
            "a.com\n",
            "a.com,b.com",
            &long,
        ] {
            // A line break around an entry is a blank around it.
            let is_taken = Rule::parse(wrong).is_ok() && wrong != "a.com\n";
            assert!(!is_taken, "{wrong:?}");
        }
        assert_eq!(list(std::iter::repeat_n("a.com", MAX_RULES + 1)), Err(RuleError::TooMany));
    }

    #[test]
    fn a_project_may_only_narrow_the_list() {
        let operator = rules("*.example.com,only.test,10.0.0.0/8");
        let needs = Needs { service_url: None, agent: None, model_urls: &[] };
        for (project, left) in [
            ("a.example.com", vec!["a.example.com"]),
            ("*.b.example.com,only.test", vec!["*.b.example.com", "only.test"]),
            ("10.1.0.0/16,10.0.0.0/8", vec!["10.1.0.0/16", "10.0.0.0/8"]),
            // None of these is within the list.
            ("example.com,*.com,evilexample.com,a.only.test,*.test,11.0.0.0/8,10.0.0.0/7,0.0.0.0/0", vec![]),
        ] {
            let allowed = allowed(&operator, Some(&rules(project)), &needs);
            assert_eq!(allowed, [left, GITHUB.to_vec()].concat(), "{project}");
        }
        assert_eq!(allowed(&operator, Some(&[]), &needs), GITHUB);
        assert_eq!(allowed(&operator, None, &needs).len(), 6);
    }

    #[test]
    fn what_is_needed_is_always_there_and_once() {
        let needs = Needs {
            service_url: Some("https://agents.example:8443/base"),
            agent: Some("claude"),
            model_urls: &["https://models.example/v1", "not an address", "http://localhost:1"],
        };
        let operator = rules("api.anthropic.com");
        assert_eq!(
            allowed(&operator, None, &needs),
            [
                "api.anthropic.com",
                "agents.example",
                "models.example",
                "github.com",
                "*.github.com",
                "*.githubusercontent.com"
            ]
        );
        let codex = allowed(
            &[],
            None,
            &Needs { agent: Some("codex"), service_url: Some("http://127.0.0.1:8787"), model_urls: &[] },
        );
        assert!(codex.contains(&"api.openai.com".to_owned()) && codex.contains(&"127.0.0.1/32".to_owned()));
    }
}
