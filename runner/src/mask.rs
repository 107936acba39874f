//! What is not shown of a log: secrets that this program knows, and what has the form of one.

/// How tokens begin: those of runners, and those of GitHub.
const BEGINNINGS: [&str; 7] = ["lrt_", "ghs_", "ghp_", "gho_", "ghu_", "ghr_", "github_pat_"];
/// Signed tokens begin so: an object of JSON in base64.
const SIGNED: &str = "eyJ";
/// Characters of what is a secret by its beginning.
const LEAST: usize = 12;
/// Characters of a known secret: shorter ones are words like any other.
const LEAST_KNOWN: usize = 8;
/// What stands in its place.
const MASK: &str = "***";

/// What is masked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mask(Vec<String>);

impl Mask {
    /// One that knows these.
    pub(crate) fn new(known: impl IntoIterator<Item = String>) -> Self {
        let mut known: Vec<String> = known.into_iter().filter(|secret| secret.len() >= LEAST_KNOWN).collect();
        // One may be the beginning of another.
        known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(known)
    }

    /// A line without secrets.
    pub(crate) fn of(&self, line: &str) -> String {
        let line = self.0.iter().fold(line.to_owned(), |line, secret| line.replace(secret.as_str(), MASK));
        let mut shown = String::with_capacity(line.len());
        let mut rest = line.as_str();
        // Bounded by the line: each turn takes some of it.
        while let Some(first) = rest.chars().next() {
            let end = rest.find(|letter: char| !is_of_token(letter)).unwrap_or(rest.len());
            let (run, after) = rest.split_at(end.max(first.len_utf8()));
            shown.push_str(&without(run));
            rest = after;
        }
        shown
    }
}

fn is_of_token(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.')
}

/// A run of letters without the secret that it ends with.
fn without(run: &str) -> String {
    let signed = run.find(SIGNED).filter(|at| run.get(*at..).is_some_and(|token| token.contains('.')));
    let begun = BEGINNINGS.iter().filter_map(|beginning| run.find(beginning));
    let secret = begun.chain(signed).min().filter(|at| run.len() - at >= LEAST);
    secret.map_or_else(|| run.to_owned(), |at| format!("{}{MASK}", run.get(..at).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_secrets_are_masked_and_short_words_are_none() {
        let mask = Mask::new(["secret-secret".to_owned(), "secret-secret-and-more".to_owned(), "short".to_owned()]);
        assert_eq!(mask.of("short secret-secret-and-more, secret-secret"), "short ***, ***");
    }

    #[test]
    fn what_has_the_form_of_a_token_is_masked_whoever_gave_it_out() {
        let mask = Mask::default();
        let runner = format!("lrt_{}_{}", "ab".repeat(16), "cd".repeat(32));
        let signed = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImEifQ.eyJzaWQiOiJzMSIsImV4cCI6MX0.c2lnbmVkLWJ5LXNvbWVib2R5";
        for secret in [runner.as_str(), signed, "ghs_16C7e42F292c6912E7710c838347Ae178B4a"] {
            for (line, shown) in [
                (format!("token {secret}"), "token ***"),
                (format!("{{\"token\":\"{secret}\"}}"), "{\"token\":\"***\"}"),
                (format!("https://x:{secret}@github.com/a/b ü"), "https://x:***@github.com/a/b ü"),
                (format!("a={secret}&b=2"), "a=***&b=2"),
            ] {
                assert_eq!(mask.of(&line), shown);
            }
        }
        for plain in ["processing.interrupted.something-else", "lrt_", "eyJ", "ü ö · ", "", "files/lrt_x.log"] {
            assert_eq!(mask.of(plain), plain);
        }
    }
}
