//! JSON strings.

use crate::scan::find_special;

const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];

/// Appends a text as a JSON string with the escapes of `JSON.stringify` and no others (datascript.md 2.2).
pub fn write_str(out: &mut String, text: &str) {
    out.push('"');
    write_inner(out, text);
    out.push('"');
}

/// Appends what stands between the quotes, or a part of it.
pub fn write_inner(out: &mut String, text: &str) {
    let mut rest = text;
    loop {
        // A special character is ASCII, so that both sides of it are boundaries.
        let Some((run, tail)) = rest.split_at_checked(find_special(rest.as_bytes())) else { return };
        out.push_str(run);
        let mut characters = tail.chars();
        match characters.next() {
            None => return,
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\u{8}') => out.push_str("\\b"),
            Some('\u{c}') => out.push_str("\\f"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some(control) => {
                out.push_str("\\u00");
                let code = control as usize;
                out.extend(HEX.get(code >> 4).into_iter().chain(HEX.get(code & 15)));
            }
        }
        rest = characters.as_str();
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn escapes_are_those_of_json_stringify() {
        let mut out = String::new();
        super::write_str(&mut out, "a\"b\\c/d\n\r\t\u{8}\u{c}\u{0}\u{1f}\u{7f}\u{2028}é😀");
        assert_eq!(out, "\"a\\\"b\\\\c/d\\n\\r\\t\\b\\f\\u0000\\u001f\u{7f}\u{2028}é😀\"");
    }
}
