//! Odd values, as the Transit texts that a client could send.

use crate::rng::Rng;

/// Characters at which UTF-8 and UTF-16 differ, and marks of Transit.
const PIECES: [&str; 12] =
    ["a", "b", "", "é", "\u{D7FF}", "\u{E000}", "\u{FFFF}", "\u{10000}", "\u{10FFFF}", "~", "^", "`"];

const NUMBERS: [&str; 29] = [
    "0",
    "1",
    "2",
    "-1",
    "3",
    "10",
    "0.5",
    "-0.0",
    "1.5",
    "-1.5",
    "1e21",
    "1e300",
    "-1e300",
    "5e-324",
    "2147483646",
    "2147483647",
    "2147483648",
    "-2147483648",
    "4294967296",
    "9007199254740991",
    "9007199254740993",
    "536870912",
    "536870913",
    r#""~zNaN""#,
    r#""~zINF""#,
    r#""~z-INF""#,
    "1755000000000",
    "0.1",
    "0.30000000000000004",
];

/// Scalars that the server stores without knowing their meaning, and other rare scalars.
const SCALARS: [&str; 31] = [
    "true",
    "false",
    r#""~:a""#,
    r#""~:b""#,
    r#""~:a/b""#,
    r#""~:a/b/c""#,
    r#""~:/""#,
    r#""~:/a""#,
    r#""~:a/""#,
    "\"~:\u{E000}/x\"",
    "\"~:\u{10000}/x\"",
    r#""~$a""#,
    r#""~$a/b""#,
    r#""~$/""#,
    r#""~u66b8d8f0-0000-4000-8000-000000000001""#,
    r#""~u66B8D8F0-0000-4000-8000-000000000002""#,
    r#""~uffffffff-ffff-ffff-ffff-ffffffffffff""#,
    r#""~unot-a-uuid""#,
    r#""~u""#,
    r#""~m0""#,
    r#""~m-1""#,
    r#""~m1755000000000""#,
    r#""~m8640000000000000""#,
    r#""~i9007199254740993""#,
    r#""~i-9223372036854775808""#,
    r#""~n123456789012345678901234567890""#,
    r#""~f1.50""#,
    r#""~rhttp://example.test/""#,
    r#""~bAQID""#,
    r#""~qunknown""#,
    r#""~cA""#,
];

/// How deep values nest, apart from the few that are made to nest deeply.
const DEPTH: usize = 3;

/// A value that may stand in a fact.
pub(crate) fn value(rng: &mut Rng) -> String {
    match rng.below(400) {
        0 => nested(rng),
        _ => at_depth(rng, 0),
    }
}

/// A number.
pub(crate) fn number(rng: &mut Rng) -> String {
    if rng.percent(40) { rng.below(12).to_string() } else { pick(rng, &NUMBERS) }
}

/// A value whose order among others is difficult: numbers with NaN, and sequences, maps and sets next to each other.
pub(crate) fn disordered(rng: &mut Rng) -> String {
    match rng.below(8) {
        0 => r#""~zNaN""#.to_owned(),
        1 => rng.below(5).to_string(),
        2 => pick(rng, &["[]", r#"["~#list",[]]"#, r#"["~#set",[]]"#, r#"["^ "]"#, r#""~:a""#, r#""~$a""#, "\"\""]),
        3 => format!("[{}]", rng.below(3)),
        4 => format!(r#"["~#list",[{}]]"#, rng.below(3)),
        5 => colliding(rng),
        6 => sequence(rng, 1),
        _ => map(rng, 1),
    }
}

/// A text; long ones share their beginnings.
pub(crate) fn text(rng: &mut Rng) -> String {
    let mut text: String = (0..rng.below(4)).filter_map(|_| rng.pick(&PIECES).copied()).collect();
    match rng.below(40) {
        0 => text = format!("{}{}", "p".repeat(200 + rng.below(20)), rng.below(10)),
        1 => text = "\u{FFFF}".repeat(1 + rng.below(50)),
        2 => text = format!("{}{}", "\u{10000}".repeat(40), rng.below(3)),
        3..13 => text = rng.below(30).to_string(),
        _ => {}
    }
    quoted(&text)
}

/// A text of up to two megabytes.
pub(crate) fn long_text(rng: &mut Rng) -> String {
    let piece = rng.pick(&["x", "\u{FFFF}", "\u{10000}", "\"", "\\"]).copied().unwrap_or("x");
    // Some pass what one row holds, most do not, and those near a half or the whole of it are the interesting ones.
    let bytes = rng.pick(&[10_000, 100_000, 400_000, 499_000, 900_000, 999_000, 1_900_000, 2_100_000]).copied();
    let written = if matches!(piece, "\"" | "\\") { 2 } else { piece.len() };
    let length = (bytes.unwrap_or(10_000) + rng.below(2000)) / written;
    quoted(&format!("{}{}", piece.repeat(length), rng.below(10)))
}

/// A string as Transit writes it.
pub(crate) fn quoted(text: &str) -> String {
    let escape = if text.starts_with(['~', '^', '`']) { "~" } else { "" };
    serde_json::Value::String(format!("{escape}{text}")).to_string()
}

/// The same value written in another way, where one is at hand.
pub(crate) fn respelled(rng: &mut Rng, value: &str) -> String {
    if let Ok(number) = value.parse::<i64>() {
        let other =
            [format!("{number}.0"), format!("\"~i{number}\""), format!("\"~d{number}\""), format!("{number}e0")];
        return rng.pick(&other).cloned().unwrap_or_default();
    }
    if let Some(items) = value.strip_prefix(r#"["~#list","#).and_then(|rest| rest.strip_suffix(']')) {
        return items.to_owned();
    }
    if value.starts_with("[\"~#") {
        return value.replacen("~#", "\\u007e#", 1);
    }
    if value.starts_with('[') && !value.starts_with(r#"["^ ""#) {
        return format!(r#"["~#list",{value}]"#);
    }
    if value.starts_with("\"~u") {
        return value.to_uppercase().replace("~U", "~u");
    }
    match value.strip_prefix('"') {
        Some(rest) if rest.starts_with(|first: char| first.is_ascii_alphanumeric()) => {
            let first = rest.chars().next().map_or(0, u32::from);
            format!("\"\\u{first:04x}{}", rest.get(1..).unwrap_or_default())
        }
        _ => value.to_owned(),
    }
}

fn at_depth(rng: &mut Rng, depth: usize) -> String {
    let collections = if depth < DEPTH { 34 } else { 0 };
    if rng.below(100) >= collections {
        return match rng.below(10) {
            0..4 => text(rng),
            4..7 => number(rng),
            _ if depth > 0 && rng.percent(8) => "null".to_owned(),
            _ => pick(rng, &SCALARS),
        };
    }
    match rng.below(10) {
        0..4 => sequence(rng, depth + 1),
        4..5 => set(rng, depth + 1),
        5..8 => map(rng, depth + 1),
        8 => colliding(rng),
        _ => format!(r#"["~#{}",{}]"#, pick(rng, &["odd/tag", "ratio", "tag"]), at_depth(rng, depth + 1)),
    }
}

/// A vector or a list.
fn sequence(rng: &mut Rng, depth: usize) -> String {
    let items = members(rng, 4, depth);
    if rng.percent(50) { format!("[{items}]") } else { format!(r#"["~#list",[{items}]]"#) }
}

fn set(rng: &mut Rng, depth: usize) -> String {
    format!(r#"["~#set",[{}]]"#, members(rng, 5, depth))
}

fn members(rng: &mut Rng, most: usize, depth: usize) -> String {
    let members: Vec<String> = (0..rng.below(most)).map(|_| at_depth(rng, depth)).collect();
    members.join(",")
}

/// Maps of up to eight entries are of another type than those of more.
fn map(rng: &mut Rng, depth: usize) -> String {
    let count = match rng.below(6) {
        0 => 8,
        1 => 9 + rng.below(3),
        count => count,
    };
    let mut entries = Vec::new();
    for at in 0..count {
        let key = if count > 7 {
            format!("\"~:k{at}\"")
        } else {
            pick(rng, &[r#""~:a""#, r#""~:b""#, r#""~i0""#, r#""text""#, r#""~:c/d""#, r#""""#, r#""~?t""#, r#""~_""#])
        };
        entries.push(format!("{key},{}", at_depth(rng, depth.max(2))));
    }
    if rng.percent(10) {
        entries.push(format!("[{}],1", rng.below(3)));
        return format!(r#"["~#cmap",[{}]]"#, entries.join(","));
    }
    let comma = if entries.is_empty() { "" } else { "," };
    format!(r#"["^ "{comma}{}]"#, entries.join(","))
}

/// Maps and sets that differ and have one hash: 2147483647 is 0 to the hash of integers.
fn colliding(rng: &mut Rng) -> String {
    let number = pick(rng, &["0", "2147483647", "-2147483647", "4294967294", "\"\""]);
    match rng.below(3) {
        0 => format!(r#"["~#set",[{number}]]"#),
        1 => format!(r#"["^ ","~:k",{number},"~:l",1]"#),
        _ => format!(r#"["^ ","~:k",{number}]"#),
    }
}

/// A deeply nested value, as a careless client may send.
fn nested(rng: &mut Rng) -> String {
    let depth = 1 + rng.below(120);
    let (open, close) = match rng.below(3) {
        0 => ("[", "]"),
        1 => (r#"["~#list",["#, "]]"),
        _ => (r#"["^ ","~:k","#, "]"),
    };
    format!("{}1{}", open.repeat(depth), close.repeat(depth))
}

fn pick(rng: &mut Rng, choices: &[&str]) -> String {
    rng.pick(choices).copied().unwrap_or_default().to_owned()
}
