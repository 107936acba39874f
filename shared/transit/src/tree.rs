//! Trees of values from tokens.

use std::sync::Arc;

use crate::distinct::{retain_distinct, retain_distinct_keys};
use crate::error::{ErrorKind, ReadError};
use crate::keyword::{Keyword, Symbol};
use crate::reader::{Reader, check_scalar, scalar};
use crate::strict;
use crate::token::{Cached, Text, Token};
use crate::value::{Scalar, Tagged, Value};

impl<'a> Reader<'a> {
    /// The value that begins here, as a tree.
    ///
    /// Fails with [`ErrorKind::UnexpectedEnd`] where no value begins but the innermost collection, or the text, ends.
    pub fn read_value(&mut self) -> Result<Value, ReadError> {
        let step = self.next();
        self.build(self.token(&step)?)
    }

    /// The value whose first token was just taken, as a tree. Strings that a cache code repeats share their text.
    #[expect(clippy::needless_pass_by_value, reason = "a token stands for its value once")]
    pub fn value_from(&mut self, token: Token<'a>) -> Result<Value, ReadError> {
        self.build(&token)
    }

    /// The token of a step within a value. Tokens stay where they were returned to: moving them is what costs most here.
    fn token<'s>(&self, step: &'s Result<Option<Token<'a>>, ReadError>) -> Result<&'s Token<'a>, ReadError> {
        match step {
            Ok(Some(token)) => Ok(token),
            Ok(None) => Err(self.error(ErrorKind::UnexpectedEnd)),
            Err(error) => Err(*error),
        }
    }

    fn build(&mut self, token: &Token<'a>) -> Result<Value, ReadError> {
        self.built += 1;
        if self.built > self.limits().max_values {
            return Err(self.error(ErrorKind::TooManyValues));
        }
        match token {
            Token::Nil => Ok(Value::Nil),
            Token::Bool(value) => Ok(Value::Bool(*value)),
            Token::Int(value) => Ok(Value::Int(*value)),
            Token::Float(value) => Ok(Value::Float(*value)),
            Token::Uuid(value) => Ok(Value::Uuid(*value)),
            Token::Instant(value) => Ok(Value::Instant(*value)),
            Token::String(_) | Token::Keyword(_) | Token::Symbol(_) | Token::Scalar { .. } => Ok(self.text(token)),
            Token::ArrayStart => self.vector().map(Value::Vector),
            Token::MapStart => self.map(&Token::MapEnd),
            Token::TagStart(tag) => self.tagged(tag, token),
            Token::ArrayEnd | Token::MapEnd | Token::TagEnd => Err(self.error(ErrorKind::UnexpectedEnd)),
        }
    }

    /// A value with a text, the same for each repetition by a cache code.
    fn text(&mut self, token: &Token<'a>) -> Value {
        match self.cache.value_mut(token) {
            Some(value) => value.get_or_insert_with(|| with_text(token)).clone(),
            None => with_text(token),
        }
    }

    /// The elements up to the end of the array; those of collections within them are gone from the buffer by then.
    fn elements(&mut self) -> Result<(), ReadError> {
        loop {
            let step = self.next();
            let token = self.token(&step)?;
            if matches!(token, Token::ArrayEnd) {
                return Ok(());
            }
            let value = self.build(token)?;
            self.items.push(value);
        }
    }

    fn vector(&mut self) -> Result<Arc<[Value]>, ReadError> {
        let start = self.items.len();
        self.elements()?;
        Ok(share(&mut self.items, start))
    }

    fn set(&mut self) -> Result<Value, ReadError> {
        let start = self.items.len();
        self.elements()?;
        retain_distinct(&mut self.items, start, &mut self.digests);
        Ok(Value::Set(share(&mut self.items, start)))
    }

    /// The entries up to the token that ends them.
    fn map(&mut self, end: &Token<'a>) -> Result<Value, ReadError> {
        let start = self.entries.len();
        loop {
            let step = self.next();
            let token = self.token(&step)?;
            if token == end {
                break;
            }
            let key = self.build(token)?;
            if self.limits().strict && strict::is_harmful_key(&key) {
                return Err(self.error(ErrorKind::ReservedKey));
            }
            let step = self.next();
            let token = self.token(&step)?;
            if token == end {
                // Only in `cmap`: the tokens of other maps show a missing value as nil.
                return Err(self.error(ErrorKind::WrongShape));
            }
            let value = self.build(token)?;
            self.entries.push((key, value));
        }
        retain_distinct_keys(&mut self.entries, start, &mut self.digests);
        Ok(Value::Map(share(&mut self.entries, start)))
    }

    /// Takes the token that has to come next.
    fn expect(&mut self, expected: &Token<'a>, otherwise: ErrorKind) -> Result<(), ReadError> {
        let step = self.next();
        if self.token(&step)? == expected { Ok(()) } else { Err(self.error(otherwise)) }
    }

    /// The payload of a tag that has to be an array: what precedes its elements.
    fn payload(&mut self) -> Result<(), ReadError> {
        self.expect(&Token::ArrayStart, ErrorKind::WrongShape)
    }

    /// A tagged value; `token` is that of its tag.
    fn tagged(&mut self, tag: &str, token: &Token<'a>) -> Result<Value, ReadError> {
        let value = match tag {
            "list" => {
                self.payload()?;
                Value::List(self.vector()?)
            }
            "set" => {
                self.payload()?;
                self.set()?
            }
            "cmap" => {
                self.payload()?;
                self.map(&Token::ArrayEnd)?
            }
            "with-meta" => self.with_meta()?,
            _ if self.limits().strict => self.strictly_tagged(tag, token)?,
            "datascript/Entity" => self.read_value()?,
            _ => self.opaque(tag, token)?,
        };
        self.expect(&Token::TagEnd, ErrorKind::MisplacedTag)?;
        Ok(value)
    }

    /// A value under a tag that has a handler in clients, in the shape that their writers give it; or under an unknown tag.
    fn strictly_tagged(&mut self, tag: &str, token: &Token<'a>) -> Result<Value, ReadError> {
        if strict::is_reserved(tag) {
            return Err(self.error(ErrorKind::ReservedTag));
        }
        let Some(is_right) = strict::shape_of(tag) else { return self.opaque(tag, token) };
        let step = self.next();
        let first = self.token(&step)?;
        // Under a handler's tag clients take a tagged array for a plain one.
        if matches!(first, Token::TagStart(_)) {
            return Err(self.error(ErrorKind::WrongShape));
        }
        let rep = self.build(first)?;
        if !is_right(&rep) {
            return Err(self.error(ErrorKind::WrongShape));
        }
        Ok(if tag == "datascript/Entity" { rep } else { self.tag_value(tag, token, rep) })
    }

    /// The value of a pair of it and its metadata, which are dropped.
    fn with_meta(&mut self) -> Result<Value, ReadError> {
        self.payload()?;
        let step = self.next();
        let token = self.token(&step)?;
        if *token == Token::ArrayEnd {
            return Err(self.error(ErrorKind::WrongShape));
        }
        let value = self.build(token)?;
        if self.limits().strict && !strict::carries_metadata(&value) {
            return Err(self.error(ErrorKind::WrongShape));
        }
        if !self.metadata()? {
            return Err(self.error(ErrorKind::WrongShape));
        }
        self.expect(&Token::ArrayEnd, ErrorKind::WrongShape)?;
        Ok(value)
    }

    /// Drops metadata, which clients read all the same; `false` where there are none.
    fn metadata(&mut self) -> Result<bool, ReadError> {
        if !self.limits().strict {
            return self.skip_value();
        }
        let step = self.next();
        let token = self.token(&step)?;
        if *token == Token::ArrayEnd {
            return Ok(false);
        }
        self.build(token)?;
        Ok(true)
    }

    /// A tag without a meaning here. One of a single character with a text is the long form of a scalar.
    fn opaque(&mut self, tag: &str, token: &Token<'a>) -> Result<Value, ReadError> {
        let rep = self.read_value()?;
        let strict = self.limits().strict;
        match (one_unit(tag), &rep) {
            (Some('~' | '^' | '`' | '#'), _) if strict => return Err(self.error(ErrorKind::ReservedTag)),
            (None | Some('~' | '^' | '`' | '#'), _) => {}
            (Some(':'), Value::String(text)) => return Ok(Value::Keyword(Keyword::from(text.clone()))),
            (Some('$'), Value::String(text)) => return Ok(Value::Symbol(Symbol::from(text.clone()))),
            (Some(character), Value::String(text)) => {
                let token = scalar(character, text, &|_| Text::Shared(text.clone()));
                check_scalar(character, text, &token, strict).map_err(|kind| self.error(kind))?;
                return self.build(&token);
            }
            // A client reads it, perhaps as another value, and cannot write it.
            (Some(_), _) if strict => return Err(self.error(ErrorKind::WrongShape)),
            (Some(_), _) => {}
        }
        Ok(self.tag_value(tag, token, rep))
    }

    fn tag_value(&mut self, tag: &str, token: &Token<'a>, rep: Value) -> Value {
        let tag = match self.text(token) {
            Value::String(tag) => tag,
            _ => Arc::from(tag),
        };
        Value::Tagged(Arc::new(Tagged { tag, rep }))
    }
}

/// The character of a tag of one UTF-16 unit, which is what JavaScript takes for one character.
fn one_unit(tag: &str) -> Option<char> {
    let mut characters = tag.chars();
    characters.next().filter(|character| character.len_utf16() == 1 && characters.next().is_none())
}

/// The value of a token with a text; that of a tag is the tag.
fn with_text(token: &Token<'_>) -> Value {
    let arc = |cached: &Cached<'_>| cached.text.clone().into_arc();
    match token {
        Token::String(text) | Token::TagStart(text) => Value::String(arc(text)),
        Token::Keyword(text) => Value::Keyword(Keyword::from(arc(text))),
        Token::Symbol(text) => Value::Symbol(Symbol::from(arc(text))),
        Token::Scalar { tag, rep } => Value::Scalar(Arc::new(Scalar { tag: *tag, rep: arc(rep) })),
        _ => Value::Nil,
    }
}

/// Moves the elements from `start` on into a slice of their own.
fn share<T>(buffer: &mut Vec<T>, start: usize) -> Arc<[T]> {
    // The default is not allocated.
    if buffer.len() == start { Arc::default() } else { buffer.drain(start..).collect() }
}
