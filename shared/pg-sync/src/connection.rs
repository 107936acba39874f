//! What may be asked of a connection (pg-sync.md 4.4, 4.11).

use sha2::{Digest as _, Sha256};
use url::Url;

/// Most patterns of tables that a connection has.
pub const MAX_TABLES: usize = 100;

/// Whether a name is one of a connection: small letters, digits, `_` and `-`, at most 32, the first a letter or digit.
pub fn is_name(name: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= 32
        && name.bytes().next().is_some_and(is_first)
        && name.bytes().all(|byte| is_first(byte) || byte == b'_' || byte == b'-')
}

/// Whether a parameter is one that requests set themselves: an address must not bring it along.
pub fn is_reserved(parameter: &str) -> bool {
    let name = parameter.to_ascii_lowercase();
    let own = [
        "table",
        "columns",
        "where",
        "params",
        "replica",
        "offset",
        "handle",
        "live",
        "live_sse",
        "log",
        "cursor",
        "secret",
        "cache-buster",
        "expired_handle",
    ];
    own.contains(&name.as_str())
        || ["electric_agents_", "subset__", "params["].iter().any(|beginning| name.starts_with(beginning))
}

/// The first reserved parameter in the query of an address.
pub fn reserved_parameter(url: &Url) -> Option<String> {
    url.query_pairs().map(|(name, _)| name.into_owned()).find(|name| is_reserved(name))
}

/// The revision of a connection that stands in a configuration: another one whenever its address is, because a cursor of before
/// means nothing then.
pub fn configured_revision(url: &Url) -> i64 {
    // 48 bits: exact in every number that stores it.
    Sha256::digest(url.as_str().as_bytes()).iter().take(6).fold(0, |number, byte| (number << 8) | i64::from(*byte))
}

/// Which tables a connection lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tables {
    /// All.
    All,
    /// `schema.table`, or `schema.*` with no name of a table.
    Named(Vec<(String, Option<String>)>),
}

impl Tables {
    /// Reads patterns; `None` when there is none or one is wrong.
    pub fn read(patterns: &[&str]) -> Option<Self> {
        if patterns.is_empty() || patterns.len() > MAX_TABLES {
            return None;
        }
        if patterns.contains(&"*") {
            return Some(Self::All);
        }
        let pattern = |pattern: &&str| match pattern.strip_suffix(".*") {
            Some(schema) => match parts(schema)?.as_slice() {
                [schema] => Some((schema.clone(), None)),
                _ => None,
            },
            None => table(pattern).map(|(schema, table)| (schema, Some(table))),
        };
        patterns.iter().map(pattern).collect::<Option<_>>().map(Self::Named)
    }

    /// Whether a table may be observed, with this `where`. The service evaluates subqueries, so that a `where` could read any
    /// table: where not all are allowed it holds no `select`.
    pub fn allow(&self, name: &str, filter: Option<&str>) -> bool {
        let Self::Named(patterns) = self else { return true };
        let Some((schema, table)) = table(name) else { return false };
        let is_named =
            patterns.iter().any(|(of, named)| *of == schema && named.as_ref().is_none_or(|named| *named == table));
        is_named && !filter.is_some_and(may_select)
    }
}

/// Schema and name of a table; without a schema it is `public`. Letters outside of quotes are small ones.
fn table(name: &str) -> Option<(String, String)> {
    match parts(name)?.as_slice() {
        [table] => Some(("public".to_owned(), table.clone())),
        [schema, table] => Some((schema.clone(), table.clone())),
        _ => None,
    }
}

/// The parts of a dotted name. Quotes within quotes are doubled.
fn parts(name: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = name.trim();
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_part(quoted)?,
            None => plain_part(rest)?,
        };
        if part.is_empty() {
            return None;
        }
        parts.push(part);
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None => return after.is_empty().then_some(parts),
        }
    }
}

/// What stands before the next dot, in small letters, and what follows it.
fn plain_part(text: &str) -> Option<(String, &str)> {
    let (part, after) = text.split_at_checked(text.find('.').unwrap_or(text.len()))?;
    let is_plain = !part.contains(|letter: char| letter == '"' || letter.is_whitespace());
    is_plain.then(|| (part.to_ascii_lowercase(), after))
}

/// What stands before the closing quote, and what follows it.
fn quoted_part(text: &str) -> Option<(String, &str)> {
    let mut part = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        if letter != '"' {
            part.push(letter);
            continue;
        }
        let after = text.get(at + 1..)?;
        if !after.starts_with('"') {
            return Some((part, after));
        }
        part.push('"');
        letters.next();
    }
    None
}

/// Whether a condition may hold a subquery: the word `select` outside of quotes. Where quoting is not told apart by quotes
/// alone (escapes, dollar quotes, comments), the word anywhere.
fn may_select(condition: &str) -> bool {
    let lower = condition.to_ascii_lowercase();
    let has_dollar_quote = lower.split('$').skip(1).any(|after| !after.starts_with(|c: char| c.is_ascii_digit()));
    let is_odd = has_dollar_quote || ["\\", "--", "/*"].iter().any(|sign| lower.contains(sign));
    let text = if is_odd { lower } else { outside_quotes(&lower) };
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$';
    text.split(|letter: char| !is_word(letter)).any(|word| word == "select")
}

/// The text without what stands in quotes, which becomes a blank. A doubled quote ends one and begins another.
fn outside_quotes(text: &str) -> String {
    let mut quote = None;
    let mut kept = String::with_capacity(text.len());
    for letter in text.chars() {
        match quote {
            Some(open) if open == letter => quote = None,
            Some(_) => {}
            None if letter == '\'' || letter == '"' => {
                quote = Some(letter);
                kept.push(' ');
            }
            None => kept.push(letter),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["main", "0", "a_b-c", &"a".repeat(32)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "-a", "_a", "A", "a b", "ä", &"a".repeat(33)] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn addresses_bring_no_parameter_of_ours() {
        let url = |query: &str| Url::parse(&format!("https://electric.example/v1/shape?{query}")).unwrap();
        assert_eq!(reserved_parameter(&url("source_id=x&database=y")), None);
        for query in [
            "table=a",
            "a=b&%74able=x",
            "OFFSET=-1",
            "secret=x",
            "electric_agents_tenant_id=x",
            "subset__where=true",
            "log=full",
            "params[1]=x",
            "params%5B1%5D=x",
            "live_sse=true",
        ] {
            assert!(reserved_parameter(&url(query)).is_some(), "{query}");
        }
    }

    #[test]
    fn tables() {
        let tables = Tables::read(&["public.orders", "Shop.*", "\"Odd.Schema\".\"a\"\"b\""]).unwrap();
        for name in [
            "orders",
            "ORDERS",
            "public.orders",
            "\"orders\"",
            " orders ",
            "shop.anything",
            "\"Odd.Schema\".\"a\"\"b\"",
        ] {
            assert!(tables.allow(name, None), "{name}");
        }
        for name in [
            "users",
            "\"Orders\"",
            "other.orders",
            "public.orders.x",
            "\"Shop\".x",
            "",
            ".",
            "public.",
            "\"open",
            "a b",
        ] {
            assert!(!tables.allow(name, None), "{name}");
        }
        assert_eq!(Tables::read(&[]), None);
        assert_eq!(Tables::read(&["a.b.c"]), None);
        assert_eq!(Tables::read(&["x", "*"]), Some(Tables::All));
    }

    /// Where tables are named, no condition reads another one.
    #[test]
    fn conditions_hold_no_subquery() {
        let tables = Tables::read(&["orders"]).unwrap();
        for condition in [
            "",
            "a = 'select'",
            "\"select\" = 1",
            "selected = 1",
            "a = $1 AND b = $2",
            "a = 'it''s select'",
            "select_ = 1",
        ] {
            assert!(tables.allow("orders", Some(condition)), "{condition}");
        }
        for condition in [
            "id IN (SELECT id FROM users)",
            "id in (select 1)",
            "id in(select 1)",
            "a = '' or id in (select 1) or b = ''",
            "a = E'\\'' or id in (select 1) or b = ''",
            "a = $$'$$ or id in (select 1) or b = $$'$$",
            "a = $x$'$x$ or id in (select 1) or b = $x$'$x$",
            "a = 1 -- '\n or id in (select 1) -- '",
            "a = 1 /* ' */ or id in (select 1) /* ' */",
            "U&\"\\0061\" = 1 or (select true)",
        ] {
            assert!(!tables.allow("orders", Some(condition)), "{condition}");
            assert!(Tables::All.allow("orders", Some(condition)), "{condition}");
        }
    }
}
