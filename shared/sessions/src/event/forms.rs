//! The forms in which a known secret may stand in a text: as it is, in hexadecimal, in base64 and as a part of a URL (agents.md 3.15).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// All forms of a secret. In base64 what a secret becomes depends on how many bytes stand before it: there are three ways. The
/// characters at both ends, which hold bits of its neighbours too, are left out.
pub(super) fn forms(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let lower = base16ct::lower::encode_string(bytes);
    let url = web::url::encode(secret);
    let mut all = vec![secret.to_owned(), lower.to_ascii_uppercase(), lower, lower_escapes(&url), url];
    for before in 0..3_usize {
        let padded: Vec<u8> = std::iter::repeat_n(0, before).chain(bytes.iter().copied()).collect();
        let own = (before * 8).div_ceil(6)..padded.len() * 8 / 6;
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            all.extend(engine.encode(&padded).get(own.clone()).map(str::to_owned));
        }
    }
    all
}

/// The same with escapes such as `%2f` in lower case. Nothing but an escape has a percent sign here.
fn lower_escapes(url: &str) -> String {
    let mut left = 0_u8;
    let lowered = url.chars().map(|character| {
        let is_digit = left > 0;
        left = if character == '%' { 2 } else { left.saturating_sub(1) };
        if is_digit { character.to_ascii_lowercase() } else { character }
    });
    lowered.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_secret_is_known() {
        let secret = "sk/A+b?c secret~1";
        let forms = forms(secret);
        for (before, after) in
            [("", ""), ("a", "z"), ("ab", "yz"), ("abc", "xyz"), ("x-access-token:", "\n"), ("é", "é")]
        {
            let text = format!("{before}{secret}{after}");
            let hex = base16ct::lower::encode_string(text.as_bytes());
            for shown in [
                hex.to_uppercase(),
                hex,
                STANDARD_NO_PAD.encode(&text),
                URL_SAFE_NO_PAD.encode(&text),
                web::url::encode(&text),
                web::url::encode(&text).replace("%2F", "%2f").replace("%2B", "%2b").replace("%3F", "%3f"),
                text,
            ] {
                assert!(forms.iter().any(|form| shown.contains(form.as_str())), "{shown}");
            }
        }
        assert!(forms.iter().all(|form| form.len() >= super::super::MIN_SECRET_BYTES));
    }
}
