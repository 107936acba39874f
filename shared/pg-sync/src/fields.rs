//! Members of a body, and the names of those that are wrong.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

/// The members of an object that a client sent. Whatever is read counts as known; what is left over is wrong as well.
#[derive(Debug)]
pub struct Fields<'a> {
    members: &'a Map<String, Json>,
    known: BTreeSet<&'static str>,
    wrong: BTreeSet<String>,
}

/// The longest name that an error repeats, in bytes.
const MAX_NAME_BYTES: usize = 64;

impl<'a> Fields<'a> {
    /// The members of an object; `None` when it is none.
    pub fn of(body: &'a Json) -> Option<Self> {
        Some(Self { members: body.as_object()?, known: BTreeSet::new(), wrong: BTreeSet::new() })
    }

    /// A member that may be absent. One that `read` does not take is wrong, `null` too.
    pub fn optional<T>(&mut self, name: &'static str, read: impl FnOnce(&Json) -> Option<T>) -> Option<T> {
        self.known.insert(name);
        let value = read(self.members.get(name)?);
        if value.is_none() {
            self.wrong.insert(name.to_owned());
        }
        value
    }

    /// A member that has to be there.
    pub fn required<T>(&mut self, name: &'static str, read: impl FnOnce(&Json) -> Option<T>) -> Option<T> {
        let value = self.optional(name, read);
        if value.is_none() {
            self.wrong.insert(name.to_owned());
        }
        value
    }

    /// Says that a member is wrong.
    pub fn refuse(&mut self, name: impl Into<String>) {
        self.wrong.insert(name.into());
    }

    /// The names of what is wrong, sorted, with the members that nobody has read; an error unless there are none.
    pub fn finish(mut self) -> Result<(), Vec<String>> {
        // At most as many as the body has, which is bounded before it is parsed.
        for name in self.members.keys().filter(|name| !self.known.contains(name.as_str())) {
            let end = name.char_indices().map(|(at, letter)| at + letter.len_utf8());
            let end = end.take_while(|end| *end <= MAX_NAME_BYTES).last().unwrap_or(0);
            self.wrong.insert(name.get(..end).unwrap_or_default().to_owned());
        }
        if self.wrong.is_empty() { Ok(()) } else { Err(self.wrong.into_iter().collect()) }
    }
}
