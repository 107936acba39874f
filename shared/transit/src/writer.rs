//! The writer.

use uuid::Uuid;

use crate::cache::{long_enough, write_code};
use crate::json;
use crate::number::{write_int, write_js};
use crate::value::Value;
use crate::write_cache::WriteCache;

/// Writes one Transit text in the compact form, value by value.
///
/// Calls to begin and end a collection have to match, and a map's keys and values are written in turn; its keys have to
/// be scalars ([`Value::is_stringable`]). [`Writer::value`] sees to that by itself.
///
/// ```
/// let mut out = String::new();
/// let mut writer = transit::Writer::new(&mut out);
/// writer.begin_map();
/// writer.keyword("keys");
/// writer.begin_vector();
/// writer.int(1);
/// writer.keyword("keys");
/// writer.end_vector();
/// writer.end_map();
/// assert_eq!(out, r#"["^ ","~:keys",[1,"^0"]]"#);
/// ```
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut String,
    state: State,
}

/// A writer's state between two values, without the text: what is in the cache and which collections are open.
///
/// A caller that keeps a text's beginning together with its snapshot can write several continuations of it.
#[derive(Clone, Debug, Default)]
pub struct CacheSnapshot(State);

/// Where a keyword stands in a writer's cache, for as long as it stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSlot {
    number: usize,
    epoch: u32,
}

#[derive(Clone, Debug, Default)]
struct State {
    cache: WriteCache,
    stack: Vec<Frame>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    /// An array before its first element.
    First,
    /// An array, or a tag whose value comes next.
    Further,
    /// A map whose next item is a key.
    Key,
    /// A map whose next item is a value.
    MapValue,
}

/// Where a scalar stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is the whole text and has to be quoted.
    Top,
    Key,
    Value,
}

impl<'o> Writer<'o> {
    /// Appends to `out`, with an empty cache.
    pub fn new(out: &'o mut String) -> Self {
        Self { out, state: State::default() }
    }

    /// Goes on after a text whose writer gave that snapshot.
    pub fn resume(out: &'o mut String, snapshot: &CacheSnapshot) -> Self {
        Self { out, state: snapshot.0.clone() }
    }

    /// Appends a text of its own to `out`, with an empty cache, in the memory that an earlier writer has
    /// [left](Writer::into_memory).
    pub fn in_memory_of(out: &'o mut String, memory: CacheSnapshot) -> Self {
        let mut state = memory.0;
        state.cache.clear();
        state.stack.clear();
        Self { out, state }
    }

    /// The memory of this writer, for the next text.
    pub fn into_memory(self) -> CacheSnapshot {
        CacheSnapshot(self.state)
    }

    /// The state to go on from later with [`Writer::resume`].
    pub fn snapshot(&self) -> CacheSnapshot {
        CacheSnapshot(self.state.clone())
    }

    /// The text so far, of this writer and what stood before it.
    pub fn text(&self) -> &str {
        self.out
    }

    /// Hands over what was written so far, and goes on with an empty text: a long text need not be held as a whole.
    pub fn hand_over(&mut self, take: impl FnOnce(&str)) {
        take(self.out);
        self.out.clear();
    }

    /// Begins a vector.
    pub fn begin_vector(&mut self) {
        self.separate();
        self.out.push('[');
        self.state.stack.push(Frame::First);
    }

    /// Ends a vector.
    pub fn end_vector(&mut self) {
        self.end();
    }

    /// Begins a map: keys and values follow in turn.
    pub fn begin_map(&mut self) {
        self.separate();
        self.out.push_str("[\"^ \"");
        self.state.stack.push(Frame::Key);
    }

    /// Ends a map.
    pub fn end_map(&mut self) {
        self.end();
    }

    /// Begins a tagged value, `tag` without `~#`; one value follows.
    pub fn begin_tag(&mut self, tag: &str) {
        self.separate();
        self.out.push('[');
        self.cacheable(Some('#'), tag);
        self.state.stack.push(Frame::Further);
    }

    /// Ends a tagged value.
    pub fn end_tag(&mut self) {
        self.end();
    }

    /// nil
    pub fn nil(&mut self) {
        self.scalar(|writer, place| writer.out.push_str(if place == Place::Key { "\"~_\"" } else { "null" }));
    }

    /// A boolean.
    pub fn bool(&mut self, value: bool) {
        self.scalar(|writer, place| {
            writer.out.push_str(match (place, value) {
                (Place::Key, true) => "\"~?t\"",
                (Place::Key, false) => "\"~?f\"",
                (_, true) => "true",
                (_, false) => "false",
            });
        });
    }

    /// An integer within ±(2^53 − 1).
    pub fn int(&mut self, value: i64) {
        self.scalar(|writer, place| {
            if place == Place::Key {
                writer.tagged('i', itoa::Buffer::new().format(value), place);
            } else {
                write_int(writer.out, value);
            }
        });
    }

    /// Any number.
    pub fn float(&mut self, value: f64) {
        self.scalar(|writer, place| {
            if value.is_nan() {
                writer.tagged('z', "NaN", place);
            } else if value.is_infinite() {
                writer.tagged('z', if value > 0.0 { "INF" } else { "-INF" }, place);
            } else if place == Place::Key {
                // `~i` would be read as something else: without the fraction or exponent, or as an integer of 64 bits
                // (datascript.md 2.1).
                writer.tagged('d', ryu_js::Buffer::new().format_finite(value), place);
            } else {
                write_js(writer.out, value);
            }
        });
    }

    /// A text.
    pub fn string(&mut self, text: &str) {
        self.scalar(|writer, place| {
            // The escape is part of the text that is cached; a prefix of that kind is no tag's.
            let prefix = if text.starts_with(['~', '^', '`']) { Some('~') } else { None };
            if place == Place::Key {
                writer.cacheable(prefix, text);
            } else {
                writer.quoted(prefix, text);
            }
        });
    }

    /// A keyword, by its text without the colon.
    pub fn keyword(&mut self, text: &str) {
        self.scalar(|writer, _| {
            writer.cacheable(Some(':'), text);
        });
    }

    /// [`Writer::keyword`], and where it can be found from now on; `None`: it is too short to be cached.
    pub fn keyword_with_slot(&mut self, text: &str) -> Option<CacheSlot> {
        let mut slot = None;
        self.scalar(|writer, _| slot = writer.cacheable(Some(':'), text));
        slot.map(|number| CacheSlot { number, epoch: self.state.cache.epoch() })
    }

    /// The keyword that stands in a slot, without looking it up. False: the cache began anew since, nothing was written.
    pub fn keyword_at(&mut self, slot: CacheSlot) -> bool {
        if slot.epoch != self.state.cache.epoch() || self.state.cache.is_full() {
            return false;
        }
        self.scalar(|writer, _| writer.code(slot.number));
        true
    }

    /// A symbol.
    pub fn symbol(&mut self, text: &str) {
        self.scalar(|writer, _| {
            writer.cacheable(Some('$'), text);
        });
    }

    /// A UUID.
    pub fn uuid(&mut self, uuid: &Uuid) {
        self.scalar(|writer, place| {
            writer.tagged('u', uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()), place);
        });
    }

    /// An instant, in milliseconds since the epoch.
    pub fn instant(&mut self, ms: i64) {
        self.scalar(|writer, place| writer.tagged('m', itoa::Buffer::new().format(ms), place));
    }

    /// A text under a one-character tag.
    pub fn tagged_text(&mut self, tag: char, rep: &str) {
        self.scalar(|writer, place| writer.tagged(tag, rep, place));
    }

    /// Any value.
    pub fn value(&mut self, value: &Value) {
        match value {
            Value::Nil => self.nil(),
            Value::Bool(value) => self.bool(*value),
            Value::Int(value) => self.int(*value),
            Value::Float(value) => self.float(*value),
            Value::String(text) => self.string(text),
            Value::Keyword(keyword) => self.keyword(keyword.as_str()),
            Value::Symbol(symbol) => self.symbol(symbol.as_str()),
            Value::Uuid(uuid) => self.uuid(uuid),
            Value::Instant(ms) => self.instant(*ms),
            Value::Scalar(scalar) => self.tagged_text(scalar.tag, &scalar.rep),
            Value::Vector(items) => self.vector(items),
            Value::List(items) => self.tagged_vector("list", items),
            Value::Set(items) => self.tagged_vector("set", items),
            Value::Tagged(tagged) => {
                self.begin_tag(&tagged.tag);
                self.value(&tagged.rep);
                self.end_tag();
            }
            Value::Map(entries) if entries.iter().all(|(key, _)| key.is_stringable()) => {
                self.begin_map();
                self.entries(entries);
                self.end_map();
            }
            Value::Map(entries) => {
                self.begin_tag("cmap");
                self.begin_vector();
                self.entries(entries);
                self.end_vector();
                self.end_tag();
            }
        }
    }

    fn vector(&mut self, items: &[Value]) {
        self.begin_vector();
        for item in items {
            self.value(item);
        }
        self.end_vector();
    }

    fn tagged_vector(&mut self, tag: &str, items: &[Value]) {
        self.begin_tag(tag);
        self.vector(items);
        self.end_tag();
    }

    fn entries(&mut self, entries: &[(Value, Value)]) {
        for (key, value) in entries {
            self.value(key);
            self.value(value);
        }
    }

    fn end(&mut self) {
        self.state.stack.pop();
        self.out.push(']');
    }

    /// What precedes the next value; where it stands.
    fn separate(&mut self) -> Place {
        let Some(frame) = self.state.stack.last_mut() else { return Place::Top };
        let (next, place) = match frame {
            Frame::First => {
                *frame = Frame::Further;
                return Place::Value;
            }
            Frame::Further => (Frame::Further, Place::Value),
            Frame::Key => (Frame::MapValue, Place::Key),
            Frame::MapValue => (Frame::Key, Place::Value),
        };
        *frame = next;
        self.out.push(',');
        place
    }

    fn scalar(&mut self, write: impl FnOnce(&mut Self, Place)) {
        let place = self.separate();
        if place == Place::Top {
            self.out.push_str("[\"~#'\",");
        }
        write(self, place);
        if place == Place::Top {
            self.out.push(']');
        }
    }

    /// A text under a tag that is cached as a key only.
    fn tagged(&mut self, tag: char, rep: &str, place: Place) {
        if place == Place::Key {
            self.cacheable(Some(tag), rep);
        } else {
            self.quoted(Some(tag), rep);
        }
    }

    /// Writes a text or the code of the slot it stands in; returns that slot.
    fn cacheable(&mut self, prefix: Option<char>, text: &str) -> Option<usize> {
        let prefix_units = match prefix {
            None => 0,
            Some('~') => 1,
            Some(tag) => 1 + tag.len_utf16(),
        };
        if !long_enough(prefix_units, text) {
            self.quoted(prefix, text);
            return None;
        }
        let (slot, known) = self.state.cache.lookup(prefix, text);
        if known {
            self.code(slot);
        } else {
            self.quoted(prefix, text);
        }
        Some(slot)
    }

    fn code(&mut self, slot: usize) {
        self.out.push('"');
        write_code(self.out, slot);
        self.out.push('"');
    }

    /// A JSON string: `~`, the tag's character, the text. The prefix `~` is the escape of a text, not a tag.
    fn quoted(&mut self, prefix: Option<char>, text: &str) {
        self.out.push('"');
        match prefix {
            None => {}
            Some('~') => self.out.push('~'),
            Some(tag) => {
                self.out.push('~');
                json::write_inner(self.out, tag.encode_utf8(&mut [0; 4]));
            }
        }
        json::write_inner(self.out, text);
        self.out.push('"');
    }
}
