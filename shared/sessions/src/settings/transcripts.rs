//! Settings of transcripts (transcripts.md 4.2, 4.3, 4.6, 4.8).

use transcripts::codec::Vault;
use transcripts::limits::{DEFAULT_BYTES, MOST_BYTES};
use transcripts::places::Places;
use transcripts::run_token::RunTokens;

use super::lookup::{Lookup, SettingsError};

/// How conversations are kept.
#[derive(Clone, Debug)]
pub struct TranscriptSettings {
    /// `RUN_TOKEN_KEYS`, else a fixed key where no identity provider guards anything; none where tokens are neither made nor
    /// taken.
    pub tokens: Option<RunTokens>,
    /// `TRANSCRIPT_MAX_BYTES`.
    pub max_bytes: usize,
    /// `TRANSCRIPT_QUOTA_BYTES`: everything that is kept of one user; none without a limit.
    pub quota: Option<u64>,
    /// `TRANSCRIPT_GLOBS`.
    pub places: Places,
    /// `TRANSCRIPT_ON_FAIL=continue`: a conversation that cannot be read does not keep the next turn from being begun.
    pub continues: bool,
    /// How bodies are stored: encrypted under keys made from `MANAGED_AUTH_KEY`.
    pub vault: Vault,
}

pub(super) fn read<F: Fn(&str) -> Option<String>>(
    get: &Lookup<F>,
    secrets_key: Option<[u8; 32]>,
    is_development: bool,
) -> Result<TranscriptSettings, SettingsError> {
    let told = |name: &'static str, why: String| SettingsError::Form { name, why };
    let keys = get.text("RUN_TOKEN_KEYS").map(|text| RunTokens::parse(&text)).transpose();
    let keys = keys.map_err(|error| told("RUN_TOKEN_KEYS", error.to_string()))?;
    let places = Places::parse(&get.text("TRANSCRIPT_GLOBS").unwrap_or_default());
    let ways = [("continue", true), ("fail", false)];
    Ok(TranscriptSettings {
        tokens: keys.or_else(|| is_development.then(RunTokens::development)),
        max_bytes: get.sized("TRANSCRIPT_MAX_BYTES", DEFAULT_BYTES, i64::try_from(MOST_BYTES).unwrap_or(i64::MAX))?,
        quota: get.id("TRANSCRIPT_QUOTA_BYTES")?.map(i64::unsigned_abs),
        places: places.map_err(|error| told("TRANSCRIPT_GLOBS", error.to_string()))?,
        continues: get.word("TRANSCRIPT_ON_FAIL", "continue or fail", &ways)?.unwrap_or(false),
        vault: Vault::new(secrets_key),
    })
}
