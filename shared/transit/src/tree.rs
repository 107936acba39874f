//! Trees of values from tokens.

use std::sync::Arc;

use crate::distinct::{retain_distinct, retain_distinct_keys};
use crate::error::{ErrorKind, ReadError};
use crate::keyword::{Keyword, Symbol};
use crate::reader::{Reader, scalar};
use crate::token::{Cached, Text, Token};
use crate::value::{Scalar, Tagged, Value};

impl<'a> Reader<'a> {
    /// The value that begins here, as a tree.
    ///
    /// Fails with [`ErrorKind::UnexpectedEnd`] where no value begins but the innermost collection, or the text, ends.
    pub fn read_value(&mut self) -> Result<Value, ReadError> {
        match self.next()? {
            Some(token) => self.value_from(token),
            None => Err(self.error(ErrorKind::UnexpectedEnd)),
        }
    }

    /// The value whose first token was just taken, as a tree. Strings that a cache code repeats share their text.
    pub fn value_from(&mut self, token: Token<'a>) -> Result<Value, ReadError> {
        self.built += 1;
        if self.built > self.limits().max_values {
            return Err(self.error(ErrorKind::TooManyValues));
        }
        Ok(match token {
            Token::Nil => Value::Nil,
            Token::Bool(value) => Value::Bool(value),
            Token::Int(value) => Value::Int(value),
            Token::Float(value) => Value::Float(value),
            Token::Uuid(value) => Value::Uuid(value),
            Token::Instant(value) => Value::Instant(value),
            Token::String(_) | Token::Keyword(_) | Token::Symbol(_) | Token::Scalar { .. } => self.text(token),
            Token::ArrayStart => Value::Vector(self.vector()?),
            Token::MapStart => self.map(&Token::MapEnd)?,
            Token::TagStart(tag) => self.tagged(tag)?,
            Token::ArrayEnd | Token::MapEnd | Token::TagEnd => return Err(self.error(ErrorKind::UnexpectedEnd)),
        })
    }

    /// A value with a text, the same for each repetition by a cache code.
    fn text(&mut self, mut token: Token<'a>) -> Value {
        let Some(value) = self.cache.value_mut(&mut token) else { return with_text(token) };
        value.get_or_insert_with(|| with_text(token)).clone()
    }

    /// The next token, within a collection.
    fn inner(&mut self) -> Result<Token<'a>, ReadError> {
        self.next()?.ok_or_else(|| self.error(ErrorKind::UnexpectedEnd))
    }

    /// The elements up to the end of the array; those of collections within them are gone from the buffer by then.
    fn elements(&mut self) -> Result<(), ReadError> {
        loop {
            match self.inner()? {
                Token::ArrayEnd => return Ok(()),
                token => {
                    let value = self.value_from(token)?;
                    self.items.push(value);
                }
            }
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
        retain_distinct(&mut self.items, start);
        Ok(Value::Set(share(&mut self.items, start)))
    }

    /// The entries up to the token that ends them.
    fn map(&mut self, end: &Token<'a>) -> Result<Value, ReadError> {
        let start = self.entries.len();
        loop {
            let token = self.inner()?;
            if token == *end {
                break;
            }
            let key = self.value_from(token)?;
            let value = self.inner()?;
            if value == *end {
                // Only in `cmap`: the tokens of other maps show a missing value as nil.
                return Err(self.error(ErrorKind::WrongShape));
            }
            let value = self.value_from(value)?;
            self.entries.push((key, value));
        }
        retain_distinct_keys(&mut self.entries, start);
        Ok(Value::Map(share(&mut self.entries, start)))
    }

    /// The payload of a tag that has to be an array: what precedes its elements.
    fn payload(&mut self) -> Result<(), ReadError> {
        match self.inner()? {
            Token::ArrayStart => Ok(()),
            _ => Err(self.error(ErrorKind::WrongShape)),
        }
    }

    fn tagged(&mut self, tag: Cached<'a>) -> Result<Value, ReadError> {
        let value = match tag.as_str() {
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
            "with-meta" => {
                self.payload()?;
                let value = self.read_value()?;
                let complete = self.skip_value()? && self.inner()? == Token::ArrayEnd;
                if !complete {
                    return Err(self.error(ErrorKind::WrongShape));
                }
                value
            }
            "datascript/Entity" => self.read_value()?,
            _ => self.opaque(tag)?,
        };
        match self.inner()? {
            Token::TagEnd => Ok(value),
            _ => Err(self.error(ErrorKind::MisplacedTag)),
        }
    }

    /// A tag without a meaning here. One of a single character with a text is the long form of a scalar.
    fn opaque(&mut self, tag: Cached<'a>) -> Result<Value, ReadError> {
        let rep = self.read_value()?;
        let mut characters = tag.chars();
        if let (Some(character), None, Value::String(text)) = (characters.next(), characters.next(), &rep) {
            match character {
                '~' | '^' | '`' | '#' => {}
                ':' => return Ok(Value::Keyword(Keyword::from(text.clone()))),
                '$' => return Ok(Value::Symbol(Symbol::from(text.clone()))),
                _ => return self.value_from(scalar(character, text, &|_| Text::Shared(text.clone()))),
            }
        }
        let tag = match self.text(Token::TagStart(tag)) {
            Value::String(tag) => tag,
            _ => Arc::default(),
        };
        Ok(Value::Tagged(Arc::new(Tagged { tag, rep })))
    }
}

/// The value of a token with a text; that of a tag is the tag.
fn with_text(token: Token<'_>) -> Value {
    match token {
        Token::String(cached) | Token::TagStart(cached) => Value::String(cached.text.into_arc()),
        Token::Keyword(cached) => Value::Keyword(Keyword::from(cached.text.into_arc())),
        Token::Symbol(cached) => Value::Symbol(Symbol::from(cached.text.into_arc())),
        Token::Scalar { tag, rep } => Value::Scalar(Arc::new(Scalar { tag, rep: rep.text.into_arc() })),
        _ => Value::Nil,
    }
}

/// Moves the elements from `start` on into a slice of their own.
fn share<T>(buffer: &mut Vec<T>, start: usize) -> Arc<[T]> {
    // The default is not allocated.
    if buffer.len() == start { Arc::default() } else { buffer.drain(start..).collect() }
}
