//! The paths of the compatibility route (pg-sync.md 2.2, 4.14).

/// What all of them begin with.
pub const PREFIX: &str = "/_electric/pg-sync/";
/// Digits of an owner's hash ([`crate::identity::owner_hash`]).
const OWNER_DIGITS: usize = 32;
/// Digits of the name of a source ([`crate::reference::of_source`]).
const REF_DIGITS: usize = 16;

/// Where a path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'p> {
    /// Where logs are asked for.
    Register,
    /// A log.
    Stream {
        /// The hash of its owner.
        owner: &'p str,
        /// The name of its source.
        source_ref: &'p str,
    },
    /// Below the prefix, and nowhere.
    Nowhere,
}

impl<'p> Place<'p> {
    /// Each place has one path: what would have to be made regular first leads nowhere. None for paths outside of the prefix.
    pub fn of(path: &'p str) -> Option<Self> {
        let is_hex = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        let rest = path.strip_prefix(PREFIX)?;
        Some(match rest.split_once('/') {
            None if rest == "register" => Self::Register,
            Some((owner, source_ref)) if is_hex(owner, OWNER_DIGITS) && is_hex(source_ref, REF_DIGITS) => {
                Self::Stream { owner, source_ref }
            }
            _ => Self::Nowhere,
        })
    }

    /// The same as a pattern, for reports.
    pub const fn pattern(self) -> &'static str {
        match self {
            Self::Register => "/_electric/pg-sync/register",
            Self::Stream { .. } => "/_electric/pg-sync/:owner/:source",
            Self::Nowhere => "/_electric/pg-sync/*",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_one_path() {
        let (owner, source_ref) = ("0123456789abcdef0123456789abcdef", "0123456789abcdef");
        let of = |rest: &str| Place::of(&format!("{PREFIX}{rest}")) == Some(Place::Nowhere);
        assert_eq!(Place::of("/_electric/pg-sync/register"), Some(Place::Register));
        assert_eq!(Place::of(&format!("{PREFIX}{owner}/{source_ref}")), Some(Place::Stream { owner, source_ref }));
        let others = [
            String::new(),
            "register/".into(),
            "register/x".into(),
            "%72egister".into(),
            "/register".into(),
            "x/../register".into(),
            format!("{owner}/{source_ref}/"),
            format!("{owner}//{source_ref}"),
            format!("./{owner}/{source_ref}"),
            format!("{owner}/{}", source_ref.to_uppercase()),
            format!("{owner}/{source_ref}x"),
            owner.into(),
        ];
        assert!(others.iter().all(|rest| of(rest)));
        for outside in ["/_electric/pg-sync", "/_electric/", "/_electric/other/x", "/x/_electric/pg-sync/register"] {
            assert_eq!(Place::of(outside), None, "{outside}");
        }
    }
}
