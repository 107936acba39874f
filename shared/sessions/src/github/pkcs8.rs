//! RSA keys in the one form that platforms take.

use crate::github_app::{KeyForm, PrivateKey};

/// What stands before a PKCS#1 key in PKCS#8: version 0 and the algorithm `rsaEncryption` without parameters.
const PREFIX: [u8; 18] =
    [0x02, 0x01, 0x00, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// The key in PKCS#8. GitHub hands out PKCS#1, which is the same key without a name of its algorithm.
pub(super) fn wrapped(key: PrivateKey) -> Vec<u8> {
    match key.form {
        KeyForm::Pkcs8 => key.der,
        KeyForm::Pkcs1 => {
            let octets = tagged(0x04, &key.der);
            let mut inside = PREFIX.to_vec();
            inside.extend_from_slice(&octets);
            tagged(0x30, &inside)
        }
    }
}

/// A value of DER: its tag, its length, itself. A key is at most some kilobytes long, as its PEM is bounded.
fn tagged(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len().to_be_bytes();
    let significant: Vec<u8> = length.iter().copied().skip_while(|byte| *byte == 0).collect();
    let mut out = vec![tag];
    match significant.as_slice() {
        [] => out.push(0),
        [short] if *short < 0x80 => out.push(*short),
        long => {
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(0x08));
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(value);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_in_the_shortest_form() {
        assert_eq!(tagged(0x04, &[]), [0x04, 0x00]);
        assert_eq!(tagged(0x04, &[7]), [0x04, 0x01, 7]);
        assert_eq!(tagged(0x04, &[0; 127])[..2], [0x04, 0x7f]);
        assert_eq!(tagged(0x04, &[0; 128])[..3], [0x04, 0x81, 0x80]);
        assert_eq!(tagged(0x04, &[0; 300])[..4], [0x04, 0x82, 0x01, 0x2c]);
    }

    #[test]
    fn a_key_in_pkcs8_stays_as_it_is() {
        let key = PrivateKey { form: KeyForm::Pkcs8, der: vec![0x30, 0x00] };
        assert_eq!(wrapped(key), [0x30, 0x00]);
    }
}
