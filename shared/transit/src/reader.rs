//! The pull reader.

use uuid::Uuid;

use crate::cache::{ReadCache, is_code, long_enough};
use crate::digest::Digests;
use crate::error::{ErrorKind, ReadError};
use crate::instant;
use crate::limits::Limits;
use crate::number::{Integer, is_overflow, parse_float, parse_integer};
use crate::scan::{Number, Raw, Scanner};
use crate::strict;
use crate::token::{Cached, Text, Token};
use crate::value::Value;

/// Reads a Transit text token by token: one pass, no tree, texts borrowed from the input where it has no escapes.
///
/// ```
/// use transit::{Reader, Token};
///
/// let mut reader = Reader::new(r#"["^ ","~:keys",[1,"a"]]"#);
/// assert!(matches!(reader.next()?, Some(Token::MapStart)));
/// assert!(matches!(reader.next()?, Some(Token::Keyword(key)) if &*key == "keys"));
/// assert!(matches!(reader.next()?, Some(Token::ArrayStart)));
/// assert!(matches!(reader.next()?, Some(Token::Int(1))));
/// reader.skip_value()?;
/// assert!(matches!(reader.next()?, Some(Token::ArrayEnd)));
/// assert!(matches!(reader.next()?, Some(Token::MapEnd)));
/// reader.finish()?;
/// # Ok::<_, transit::ReadError>(())
/// ```
#[derive(Debug)]
pub struct Reader<'a> {
    scan: Scanner<'a>,
    pub(crate) cache: ReadCache<'a>,
    stack: Vec<Frame>,
    /// Whether the outermost value has begun.
    begun: bool,
    limits: Limits,
    /// The bytes of the whole text.
    length: usize,
    /// Escaped strings are decoded here.
    buffer: String,
    /// Elements of the collections that the tree builder has open.
    pub(crate) items: Vec<Value>,
    /// Entries of the maps that it has open.
    pub(crate) entries: Vec<(Value, Value)>,
    /// Hashes of what is in sets and among keys.
    pub(crate) digests: Digests,
    /// Values that it has built.
    pub(crate) built: usize,
}

/// Bytes that codes may stand for in the shortest of texts.
const FREE_REPEATS: usize = 64 * 1024;

/// What a step of the reader gives; `None` at the end.
type Step<'a> = Result<Option<Token<'a>>, ReadError>;

/// A collection that is open.
#[derive(Debug)]
enum Frame {
    /// `[…]`
    Array { first: bool },
    /// `["^ ",…]`; `key`: a key comes next.
    Map { key: bool },
    /// `{…}`; `key`: a key comes next.
    Object { key: bool, first: bool },
    /// `["~#tag",…]` or `{"~#tag":…}`; `quote`: the tag is `'`, which no token shows.
    Tag { object: bool, quote: bool, value_read: bool },
}

/// What a string at the beginning of an array or object makes of it.
enum Marker {
    None,
    Map,
    Tag,
}

impl<'a> Reader<'a> {
    /// Reads a text of our own, leniently: [`Limits::STORED`].
    pub fn new(text: &'a str) -> Self {
        Self::with_limits(text, Limits::STORED)
    }

    /// Reads within limits of one's own. A text that is too long is reported by the first call of [`Reader::next`].
    pub fn with_limits(text: &'a str, limits: Limits) -> Self {
        Self {
            scan: Scanner::new(text),
            cache: ReadCache::new(text.len().saturating_mul(limits.max_repeats).saturating_add(FREE_REPEATS)),
            stack: Vec::with_capacity(8),
            begun: false,
            limits: Limits { max_depth: limits.max_depth.min(Limits::DEEPEST), ..limits },
            length: text.len(),
            buffer: String::new(),
            items: Vec::new(),
            entries: Vec::new(),
            digests: Digests::default(),
            built: 0,
        }
    }

    /// Where the reader stands: a byte offset into the text.
    pub fn offset(&self) -> usize {
        self.scan.offset()
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn error(&self, kind: ErrorKind) -> ReadError {
        self.scan.error(kind)
    }

    /// The next token; `None` after the outermost value. After an error nothing that the reader says has a meaning.
    #[expect(clippy::should_implement_trait, reason = "an iterator of results would not end at an error")]
    pub fn next(&mut self) -> Result<Option<Token<'a>>, ReadError> {
        loop {
            let key = match self.stack.last_mut() {
                None => {
                    if self.begun {
                        return Ok(None);
                    }
                    if self.length > self.limits.max_bytes {
                        return Err(ErrorKind::TooLarge.at(self.limits.max_bytes));
                    }
                    self.begun = true;
                    false
                }
                Some(Frame::Array { first }) => {
                    if self.scan.peek()? == b']' {
                        self.close();
                        return Ok(Some(Token::ArrayEnd));
                    }
                    if *first {
                        *first = false;
                    } else {
                        self.scan.expect(b',')?;
                    }
                    false
                }
                Some(Frame::Map { key }) => {
                    let is_key = *key;
                    *key = !is_key;
                    if self.scan.peek()? == b']' {
                        // The end is seen again, and then taken, when a key is expected.
                        if !is_key {
                            return Ok(Some(Token::Nil));
                        }
                        self.close();
                        return Ok(Some(Token::MapEnd));
                    }
                    self.scan.expect(b',')?;
                    is_key
                }
                Some(Frame::Object { key, first }) => {
                    let is_key = *key;
                    *key = !is_key;
                    if !is_key {
                        self.scan.expect(b':')?;
                    } else if self.scan.peek()? == b'}' {
                        self.close();
                        return Ok(Some(Token::MapEnd));
                    } else {
                        if *first {
                            *first = false;
                        } else {
                            self.scan.expect(b',')?;
                        }
                        if self.scan.peek()? != b'"' {
                            return Err(self.error(ErrorKind::UnexpectedCharacter));
                        }
                    }
                    is_key
                }
                Some(&mut Frame::Tag { object, quote, ref mut value_read }) => {
                    if *value_read {
                        match self.scan.peek()? {
                            b'}' if object => {}
                            b']' if !object => {}
                            b',' => return Err(self.error(ErrorKind::MisplacedTag)),
                            _ => return Err(self.error(ErrorKind::UnexpectedCharacter)),
                        }
                        self.close();
                        if quote {
                            continue;
                        }
                        return Ok(Some(Token::TagEnd));
                    }
                    *value_read = true;
                    if self.scan.peek()? == b']' {
                        return Err(self.error(ErrorKind::MisplacedTag));
                    }
                    self.scan.expect(if object { b':' } else { b',' })?;
                    if quote && self.limits.strict && matches!(self.scan.peek()?, b'[' | b'{') {
                        return Err(self.error(ErrorKind::MisplacedTag));
                    }
                    false
                }
            };
            return self.value(key);
        }
    }

    /// Skips the value that begins here, its texts unread but for the cache. `false` when no value begins here but the
    /// innermost collection, or the text, ends; the token of that end is taken.
    pub fn skip_value(&mut self) -> Result<bool, ReadError> {
        let mut depth = 0_usize;
        loop {
            match self.next()? {
                None => return Ok(false),
                Some(Token::ArrayStart | Token::MapStart | Token::TagStart(_)) => depth += 1,
                Some(Token::ArrayEnd | Token::MapEnd | Token::TagEnd) if depth == 0 => return Ok(false),
                Some(Token::ArrayEnd | Token::MapEnd | Token::TagEnd) => depth -= 1,
                Some(_) => {}
            }
            if depth == 0 {
                return Ok(true);
            }
        }
    }

    /// Makes sure that the outermost value is complete and that nothing but white space follows it.
    pub fn finish(mut self) -> Result<(), ReadError> {
        match self.next()? {
            Some(_) => Err(self.error(ErrorKind::UnexpectedEnd)),
            None if self.scan.at_end() => Ok(()),
            None => Err(self.error(ErrorKind::TrailingText)),
        }
    }

    /// Takes the end of the innermost collection.
    fn close(&mut self) {
        self.scan.advance();
        self.stack.pop();
    }

    fn open(&mut self, frame: Frame) -> Result<(), ReadError> {
        if self.stack.len() >= self.limits.max_depth {
            return Err(self.error(ErrorKind::TooDeep));
        }
        self.stack.push(frame);
        Ok(())
    }

    /// The first token of the value here. Each branch makes its whole answer: copying a token from one to another is what
    /// costs most here.
    fn value(&mut self, key: bool) -> Step<'a> {
        match self.scan.peek()? {
            b'"' => {
                let start = self.scan.offset();
                let step = self.string(key);
                if matches!(step, Ok(Some(Token::TagStart(_)))) {
                    return Err(ErrorKind::MisplacedTag.at(start));
                }
                step
            }
            b'-' | b'0'..=b'9' => match self.scan.number()? {
                Number::Integer(number) => Ok(Some(Token::Int(number))),
                Number::Text(text) => match parse_float(text) {
                    Some(float) => Ok(Some(number(float))),
                    None => Err(self.error(ErrorKind::InvalidNumber)),
                },
            },
            // Writers have another form for maps with such keys, and readers differ on what within them is cached.
            b'[' | b'{' if key => Err(self.error(ErrorKind::WrongShape)),
            b'[' => self.array(),
            b'{' => self.object(),
            b'n' => self.word("null", Token::Nil),
            b't' => self.word("true", Token::Bool(true)),
            b'f' => self.word("false", Token::Bool(false)),
            _ => Err(self.error(ErrorKind::UnexpectedCharacter)),
        }
    }

    fn word(&mut self, word: &str, token: Token<'a>) -> Step<'a> {
        self.scan.word(word)?;
        Ok(Some(token))
    }

    fn array(&mut self) -> Step<'a> {
        self.open(Frame::Array { first: true })?;
        self.scan.advance();
        if self.scan.peek()? != b'"' {
            return Ok(Some(Token::ArrayStart));
        }
        match self.marker()? {
            Marker::None => Ok(Some(Token::ArrayStart)),
            Marker::Map => {
                self.scan.string(&mut self.buffer)?;
                self.replace(Frame::Map { key: true });
                Ok(Some(Token::MapStart))
            }
            Marker::Tag => self.tag(false),
        }
    }

    fn object(&mut self) -> Step<'a> {
        self.open(Frame::Object { key: true, first: true })?;
        self.scan.advance();
        if self.scan.peek()? == b'"' && matches!(self.marker()?, Marker::Tag) {
            return self.tag(true);
        }
        Ok(Some(Token::MapStart))
    }

    /// The tag here, or the value that it quotes.
    fn tag(&mut self, object: bool) -> Step<'a> {
        let step = self.string(false);
        let quote = matches!(&step, Ok(Some(Token::TagStart(tag))) if tag.as_str() == "'");
        self.replace(Frame::Tag { object, quote, value_read: false });
        if quote { self.quoted() } else { step }
    }

    /// Writers quote a scalar that is the whole text, and nothing else. A quote of a quote is refused in any case: it is found
    /// by recursion.
    fn quoted(&mut self) -> Step<'a> {
        let mut enclosing = self.stack.iter().rev().skip(1);
        let of_quote = matches!(enclosing.next(), Some(Frame::Tag { quote: true, .. }));
        if of_quote || (self.limits.strict && self.stack.len() > 1) {
            return Err(self.error(ErrorKind::MisplacedTag));
        }
        self.next()
    }

    fn replace(&mut self, frame: Frame) {
        if let Some(top) = self.stack.last_mut() {
            *top = frame;
        }
    }

    /// Looks at the string here, the first of an array or object, without touching the cache: an array that turns out to
    /// be an ordinary one reads it again as its element (datascript.md 2.3, the trap of two-element arrays).
    fn marker(&mut self) -> Result<Marker, ReadError> {
        match *self.scan.rest() {
            [_, b'~', b'#', ..] => return Ok(Marker::Tag),
            [_, b'^', b' ', b'"', ..] => return Ok(Marker::Map),
            // A code may stand for a tag, and an escape for any of these characters.
            [_, b'^' | b'\\', ..] | [_, b'~', b'\\', ..] => {}
            _ => return Ok(Marker::None),
        }
        let start = self.scan.offset();
        let text = match self.scan.string(&mut self.buffer)? {
            Raw::Plain(text) => text,
            Raw::Decoded => self.buffer.as_str(),
        };
        let marker = match text.as_bytes() {
            [b'~', b'#', ..] => Marker::Tag,
            b"^ " => Marker::Map,
            code if is_code(code) && self.cache.is_tag(code) => Marker::Tag,
            _ => Marker::None,
        };
        self.scan.rewind(start);
        Ok(marker)
    }

    /// The string here, with its tag or code resolved; cached if that is its due.
    fn string(&mut self, key: bool) -> Step<'a> {
        let place = Place { key, strict: self.limits.strict, offset: self.scan.offset() };
        match self.scan.string(&mut self.buffer)? {
            Raw::Plain(text) => resolve(text, Text::Borrowed, place, &mut self.cache),
            Raw::Decoded => resolve(&self.buffer, |text| Text::Shared(text.into()), place, &mut self.cache),
        }
    }
}

/// Where a string stands, and how it is to be read.
#[derive(Clone, Copy)]
struct Place {
    key: bool,
    strict: bool,
    offset: usize,
}

/// The token of a string.
fn resolve<'a, 't>(
    string: &'t str,
    text: impl Fn(&'t str) -> Text<'a>,
    Place { key, strict, offset }: Place,
    cache: &mut ReadCache<'a>,
) -> Step<'a> {
    let bytes = string.as_bytes();
    let (mut token, cacheable) = match *bytes {
        [b'^', ..] if is_code(bytes) => return cache.repeat(bytes, key, offset),
        [b'~', tag @ (b':' | b'$' | b'#'), ..] => (named(tag, text(string.get(2..).unwrap_or_default())), true),
        [b'~', b'~' | b'^' | b'`', ..] => (Token::String(Cached::new(text(string.get(1..).unwrap_or_default()))), key),
        [b'~', _, ..] => {
            let mut characters = string.chars();
            let (tag, rep) = (characters.nth(1).unwrap_or('~'), characters.as_str());
            let token = scalar(tag, rep, &text);
            check_scalar(tag, rep, &token, strict).map_err(|kind| kind.at(offset))?;
            (token, key)
        }
        [b'~'] if strict => return Err(ErrorKind::ReservedTag.at(offset)),
        _ if !key => return Ok(Some(Token::String(Cached::new(text(string))))),
        _ => (Token::String(Cached::new(text(string))), true),
    };
    if cacheable && long_enough(0, string) {
        cache.insert(&mut token);
    }
    Ok(Some(token))
}

/// The token of a text under the tag of a keyword, of a symbol, or of a long tag.
fn named(tag: u8, text: Text<'_>) -> Token<'_> {
    let cached = Cached::new(text);
    match tag {
        b':' => Token::Keyword(cached),
        b'$' => Token::Symbol(cached),
        _ => Token::TagStart(cached),
    }
}

/// Judges the token of a text under a one-character tag.
pub(crate) fn check_scalar(tag: char, rep: &str, token: &Token<'_>, strict: bool) -> Result<(), ErrorKind> {
    if tag == 'd' && is_overflow(rep) {
        return Err(ErrorKind::InvalidNumber);
    }
    if strict { strict::check_scalar(tag, rep, token) } else { Ok(()) }
}

/// The token of a text under a one-character tag other than those of texts.
pub(crate) fn scalar<'a, 't>(tag: char, rep: &'t str, text: &impl Fn(&'t str) -> Text<'a>) -> Token<'a> {
    let known = match tag {
        '_' => Some(Token::Nil),
        '?' => Some(Token::Bool(rep == "t")),
        'u' => return uuid(rep, text),
        'm' => rep.parse().ok().map(Token::Instant),
        't' => instant::parse(rep).map(Token::Instant),
        'd' => parse_float(rep).map(number),
        'z' => match rep {
            "NaN" => Some(Token::Float(f64::NAN)),
            "INF" => Some(Token::Float(f64::INFINITY)),
            "-INF" => Some(Token::Float(f64::NEG_INFINITY)),
            _ => None,
        },
        'i' => match parse_integer(rep) {
            Some(Integer::Safe(number)) => Some(Token::Int(number)),
            Some(Integer::Big(digits)) => Some(Token::Scalar { tag, rep: Cached::new(Text::Shared(digits.into())) }),
            None => None,
        },
        'c' | '\'' => Some(Token::String(Cached::new(text(rep)))),
        _ => None,
    };
    known.unwrap_or_else(|| Token::Scalar { tag, rep: Cached::new(text(rep)) })
}

fn uuid<'a, 't>(rep: &'t str, text: &impl Fn(&'t str) -> Text<'a>) -> Token<'a> {
    // The parser also takes texts without hyphens or in braces, which are shorter or longer.
    if rep.len() == 36
        && let Ok(uuid) = Uuid::try_parse_ascii(rep.as_bytes())
    {
        return Token::Uuid(uuid);
    }
    let lower = rep.to_lowercase();
    let rep = if lower == rep { text(rep) } else { Text::Shared(lower.into()) };
    Token::Scalar { tag: 'u', rep: Cached::new(rep) }
}

fn number<'a>(number: f64) -> Token<'a> {
    match Value::number(number) {
        Value::Int(number) => Token::Int(number),
        _ => Token::Float(number),
    }
}
