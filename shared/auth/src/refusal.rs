//! Why a token counts for nothing, for whoever counts: callers are all told the same.

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has expired, or is not valid yet.
    Expired,
    /// It is made out to somebody else.
    Audience,
    /// Nobody whom the server knows has issued it.
    Issuer,
    /// The key that it names is none of the issuer's.
    Key,
    /// The signature is not that key's.
    Signature,
    /// It is no token.
    Malformed,
    /// Its owner is not among those who may enter.
    NotAllowed,
    /// The server itself gave it out, and it counts no more.
    Revoked,
}

impl Refusal {
    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Audience => "audience",
            Self::Issuer => "issuer",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Malformed => "malformed",
            Self::NotAllowed => "not_allowed",
            Self::Revoked => "revoked",
        }
    }
}
