//! When a certificate ends, read from its DER (RFC 5280, 4.1): nothing else of it is looked at.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use time::{Date, Month, PrimitiveDateTime, Time};

/// DER's tags that stand before the validity, and of what it holds.
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xA0;
const UTC_TIME: u8 = 0x17;

/// When the first certificate of a file ends, in milliseconds since the epoch.
pub(super) fn end_ms(path: &Path) -> Result<i64, String> {
    let der = CertificateDer::from_pem_file(path).map_err(|error| error.to_string())?;
    end_of(&der).ok_or_else(|| "it is no certificate".to_owned())
}

fn end_of(der: &[u8]) -> Option<i64> {
    let (certificate, _) = element(der, Some(SEQUENCE))?;
    let (mut fields, _) = element(certificate, Some(SEQUENCE))?;
    // The version may be missing; serial number, algorithm and issuer are not.
    if fields.first() == Some(&VERSION) {
        (_, fields) = element(fields, None)?;
    }
    for _ in 0..3 {
        (_, fields) = element(fields, None)?;
    }
    let (validity, _) = element(fields, Some(SEQUENCE))?;
    let (_, rest) = element(validity, None)?;
    let tag = *rest.first()?;
    let (end, _) = element(rest, None)?;
    instant(std::str::from_utf8(end).ok()?, tag == UTC_TIME)
}

/// The content of the first element, and what follows it.
fn element(der: &[u8], tag: Option<u8>) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    if tag.is_some_and(|tag| tag != *found) {
        return None;
    }
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7F => (usize::from(*first), rest),
        // A certificate is shorter than four bytes can tell.
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x0F))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn instant(text: &str, short: bool) -> Option<i64> {
    let digits = text.strip_suffix('Z')?;
    let (year, rest) = digits.split_at_checked(if short { 2 } else { 4 })?;
    let year: i32 = year.parse().ok()?;
    // As RFC 5280 (4.1.2.5.1) has it.
    let year = if !short {
        year
    } else if year < 50 {
        2000 + year
    } else {
        1900 + year
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<u8>().ok();
    let date = Date::from_calendar_date(year, Month::try_from(part(0)?).ok()?, part(2)?).ok()?;
    let at = PrimitiveDateTime::new(date, Time::from_hms(part(4)?, part(6)?, part(8)?).ok()?);
    Some(at.assume_utc().unix_timestamp().saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cert.pem");
        for (year, expected) in [(2031, 1_930_435_200_000), (2060, 2_845_670_400_000)] {
            let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 3, 5);
            let key = rcgen::KeyPair::generate().unwrap();
            std::fs::write(&path, params.self_signed(&key).unwrap().pem()).unwrap();
            assert_eq!(end_ms(&path).unwrap() / 86_400_000, expected / 86_400_000, "{year}");
        }
        std::fs::write(&path, "no certificate").unwrap();
        assert!(end_ms(&path).is_err());
    }

    #[test]
    fn what_is_no_certificate_is_no_panic() {
        for der in [&b""[..], b"\x30", b"\x30\x84\xFF\xFF\xFF\xFF", b"\x30\x80", b"\x30\x02\x30\x00", &[0x30; 300]] {
            assert_eq!(end_of(der), None);
        }
    }
}
