//! Texts that mention deleted blocks: the mention becomes the block's title.

use datascript::{Db, Eid, Index, Pattern, Value};
use rustc_hash::FxHashMap;
use uuid::Uuid;

use crate::rules::facts::{Known, Tag};
use crate::rules::{Error, Result, attrs, entity};

/// No text may grow beyond this, in bytes: titles that mention each other grow exponentially otherwise.
const MAX_TEXT: usize = 1_000_000;
/// Nor may all texts that change together: the log could not take them (D-34).
const MAX_CHANGED: usize = 2_000_000;
/// Nor all titles with others put in, which are kept until the end.
const MAX_EXPANDED: usize = 16_000_000;

/// The titles of the blocks deleted together, in the order in which they are put in: the title of a block may itself
/// mention blocks that come after it.
pub(super) struct Titles<'b> {
    blocks: &'b [Eid],
    /// Position in `blocks`.
    by_uuid: keyed::Map<Uuid, usize>,
    /// Titles with later blocks' titles put in, by position; filled as they are needed.
    expanded: FxHashMap<usize, String>,
    expanded_bytes: usize,
    changed_bytes: usize,
}

impl<'b> Titles<'b> {
    pub(super) fn new(db: &Db, blocks: &'b [Eid]) -> Result<Self> {
        let mut by_uuid = keyed::Map::default();
        for (position, eid) in blocks.iter().enumerate() {
            if let Some(Value::Uuid(uuid)) = db.value(*eid, attrs::BLOCK_UUID)? {
                by_uuid.insert(uuid, position);
            }
        }
        Ok(Self { blocks, by_uuid, expanded: FxHashMap::default(), expanded_bytes: 0, changed_bytes: 0 })
    }

    /// The text of an entity with the deleted blocks' titles in it. None when it has no text of its own: a journal's title
    /// follows from its day.
    pub(super) fn rewritten(&mut self, db: &Db, known: &mut Known, eid: Eid) -> Result<Option<Value>> {
        let Some(Value::String(text)) = db.value(eid, attrs::BLOCK_TITLE)? else {
            return Ok(None);
        };
        db.nodes().work().text(&text)?;
        if entity::has_tag(db, known, eid, |tag| tag == Tag::Journal)? {
            return Ok(None);
        }
        self.expand_mentioned(db, known, &text)?;
        let rewritten = self.substitute(&text, 0)?;
        db.nodes().work().text(&rewritten)?;
        if rewritten == *text {
            return Ok(Some(Value::String(text)));
        }
        self.changed_bytes += rewritten.len();
        if self.changed_bytes > MAX_CHANGED { Err(Error::TooLarge) } else { Ok(Some(Value::from(rewritten))) }
    }

    /// Expands the title of every block that a text mentions, directly or through other titles: each once in all. What is
    /// mentioned is bounded by the texts, and these by [`MAX_TEXT`] and the work that may be done.
    fn expand_mentioned(&mut self, db: &Db, known: &mut Known, text: &str) -> Result<()> {
        let mut titles: FxHashMap<usize, String> = FxHashMap::default();
        let mut pending = self.mentioned(text, 0);
        while let Some(position) = pending.pop() {
            if self.expanded.contains_key(&position) || titles.contains_key(&position) {
                continue;
            }
            let Some(eid) = self.blocks.get(position) else { continue };
            let title = shown_title(db, known, *eid)?;
            pending.extend(self.mentioned(&title, position + 1));
            titles.insert(position, title);
        }
        let mut positions: Vec<usize> = titles.keys().copied().collect();
        positions.sort_unstable_by(|a, b| b.cmp(a));
        for position in positions {
            let title = titles.remove(&position).unwrap_or_default();
            let expanded = self.substitute(&title, position + 1)?;
            db.nodes().work().text(&expanded)?;
            self.expanded_bytes += expanded.len();
            if self.expanded_bytes > MAX_EXPANDED {
                return Err(Error::TooLarge);
            }
            self.expanded.insert(position, expanded);
        }
        Ok(())
    }

    fn mentioned(&self, text: &str, from: usize) -> Vec<usize> {
        mentions(text).filter_map(|mention| self.position(&mention, from)).collect()
    }

    fn position(&self, mention: &Mention, from: usize) -> Option<usize> {
        self.by_uuid.get(&mention.uuid).copied().filter(|position| *position >= from)
    }

    /// Puts the titles of blocks at or after a position into a text. One pass, which ends at [`MAX_TEXT`].
    fn substitute(&self, text: &str, from: usize) -> Result<String> {
        let mut result = String::with_capacity(text.len());
        let mut rest = 0;
        for mention in mentions(text) {
            let title = self.position(&mention, from).and_then(|position| self.expanded.get(&position));
            if let (Some(title), Some(before)) = (title, text.get(rest..mention.start)) {
                result.push_str(before);
                // As it stands: `$` means nothing in a title (D-43).
                result.push_str(title);
                rest = mention.end;
            }
            if result.len() > MAX_TEXT {
                return Err(Error::TooLarge);
            }
        }
        result.push_str(text.get(rest..).unwrap_or_default());
        Ok(result)
    }
}

/// The title of a block as it reads: uuids of pages in it are shown as the pages' titles; an asset has none.
fn shown_title(db: &Db, known: &mut Known, eid: Eid) -> Result<String> {
    let Some(Value::String(text)) = db.value(eid, attrs::BLOCK_TITLE)? else {
        return Ok(String::new());
    };
    db.nodes().work().text(&text)?;
    if db.value(eid, attrs::ASSET_TYPE)?.is_some() {
        return Ok(String::new());
    }
    let mut result = String::with_capacity(text.len());
    let mut rest = 0;
    for mention in mentions(&text).filter(|mention| mention.form == Form::PageRef) {
        let Some(title) = page_title(db, known, eid, mention.uuid)? else { continue };
        let before = text.get(rest..mention.start).unwrap_or_default();
        result.push_str(before);
        if before.ends_with('#') && !title.contains(' ') {
            result.push_str(&title);
        } else {
            result.push_str("[[");
            result.push_str(&title);
            result.push_str("]]");
        }
        rest = mention.end;
        if result.len() > MAX_TEXT {
            return Err(Error::TooLarge);
        }
    }
    result.push_str(text.get(rest..).unwrap_or_default());
    Ok(result)
}

/// The title of a page that a block refers to, unless another page has the same name.
fn page_title(db: &Db, known: &mut Known, block: Eid, uuid: Uuid) -> Result<Option<String>> {
    let Some(page) = db.lookup(attrs::BLOCK_UUID, &Value::Uuid(uuid))? else {
        return Ok(None);
    };
    let reference = Value::from(page);
    let pattern = Pattern::eav(block, attrs::BLOCK_REFS, &reference);
    if db.first(Index::Eavt, &pattern)?.is_none() || !entity::is_page(db, known, page)? {
        return Ok(None);
    }
    if let Some(name) = db.value(page, attrs::BLOCK_NAME)? {
        let pattern = Pattern::av(attrs::BLOCK_NAME, &name);
        if db.datoms(Index::Avet, &pattern).nth(1).transpose()?.is_some() {
            return Ok(None);
        }
    }
    Ok(match db.value(page, attrs::BLOCK_TITLE)? {
        Some(Value::String(title)) => Some(title.as_ref().to_owned()),
        _ => None,
    })
}

/// A place in a text that mentions an entity by its uuid, in bytes.
#[derive(Debug, PartialEq)]
struct Mention {
    start: usize,
    end: usize,
    uuid: Uuid,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `((uuid))`
    BlockRef,
    /// `[[uuid]]`
    PageRef,
    /// `{{embed ((uuid))}}`, letters of any case, optionally one space before the braces.
    Embed,
}

const UUID_LEN: usize = 36;
const EMBED: &str = "{{embed ";

/// All mentions in a text, from left to right: one pass, as a mention has a fixed length but for its blanks.
fn mentions(text: &str) -> impl Iterator<Item = Mention> {
    let mut from = 0;
    std::iter::from_fn(move || {
        while let Some(offset) = text.get(from..)?.find(['(', '[']) {
            let start = from + offset;
            if let Some(mention) = mention_at(text, start) {
                from = mention.end;
                return Some(mention);
            }
            from = start + 1;
        }
        from = text.len();
        None
    })
}

fn mention_at(text: &str, start: usize) -> Option<Mention> {
    let rest = text.get(start..)?;
    let (close, form) = if rest.starts_with("((") {
        ("))", Form::BlockRef)
    } else if rest.starts_with("[[") {
        ("]]", Form::PageRef)
    } else {
        return None;
    };
    let digits = rest.get(2..2 + UUID_LEN)?;
    let after = rest.get(2 + UUID_LEN..)?.strip_prefix(close)?;
    let uuid = digits.parse().ok().filter(|_| is_hyphenated(digits))?;
    let end = text.len() - after.len();
    if form == Form::BlockRef
        && let Some(embed_end) = embed_end(text, start, end)
    {
        return Some(Mention { start: start - EMBED.len(), end: embed_end, uuid, form: Form::Embed });
    }
    let is_lower_case = !digits.bytes().any(|byte| byte.is_ascii_uppercase());
    is_lower_case.then_some(Mention { start, end, uuid, form })
}

/// The end of the embed macro around a block reference, if there is one.
fn embed_end(text: &str, start: usize, end: usize) -> Option<usize> {
    let before = text.get(start.checked_sub(EMBED.len())?..start)?;
    if !before.eq_ignore_ascii_case(EMBED) {
        return None;
    }
    let rest = text.get(end..)?;
    let rest = rest.strip_prefix(char::is_whitespace).unwrap_or(rest);
    Some(text.len() - rest.strip_prefix("}}")?.len())
}

fn is_hyphenated(digits: &str) -> bool {
    digits.len() == UUID_LEN
        && digits.bytes().enumerate().all(|(i, byte)| (byte == b'-') == matches!(i, 8 | 13 | 18 | 23))
}

#[cfg(test)]
mod tests {
    use super::*;

    const U: &str = "9f3f2433-9098-4b49-a66b-b8cb0848ef3a";

    fn found(text: &str) -> Vec<(Form, String)> {
        mentions(text).map(|mention| (mention.form, text[mention.start..mention.end].to_owned())).collect()
    }

    #[test]
    fn finds_every_form() {
        assert_eq!(found(&format!("a (({U})) b")), [(Form::BlockRef, format!("(({U}))"))]);
        assert_eq!(found(&format!("[[[[{U}]]")), [(Form::PageRef, format!("[[{U}]]"))]);
        let upper = U.to_uppercase();
        assert_eq!(
            found(&format!("{{{{EMBED (({upper})) }}}}x")),
            [(Form::Embed, format!("{{{{EMBED (({upper})) }}}}"))]
        );
        assert_eq!(found(&format!("(({upper}))")), []);
        assert_eq!(found(&format!("(({U}) ) ((日本語)) [[{}]]", U.replace('-', "0"))), []);
    }
}
