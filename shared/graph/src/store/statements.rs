//! Texts of statements that take many rows at once, built once per row count.
//!
//! Statements bind at most [`MAX_PARAMS`] parameters (sync.md 9.7): a long list of rows goes out in full statements
//! and one for the rest, so that a prepared-statement cache sees few texts, again and again.

use std::sync::OnceLock;

use database::local::MAX_PARAMS;

/// `head` + `group, group, …` + `tail`, for every count of groups that fits into one statement.
pub(super) struct Statements {
    head: &'static str,
    group: &'static str,
    tail: &'static str,
    /// Parameters one group binds.
    width: usize,
    /// By count of groups.
    texts: [OnceLock<String>; MAX_PARAMS + 1],
}

impl Statements {
    pub(super) const fn new(head: &'static str, group: &'static str, tail: &'static str, width: usize) -> Self {
        Self { head, group, tail, width, texts: [const { OnceLock::new() }; MAX_PARAMS + 1] }
    }

    /// Groups that fit into one statement next to `extra` other parameters.
    pub(super) const fn capacity(&self, extra: usize) -> usize {
        (MAX_PARAMS - extra) / self.width
    }

    /// The text for a count of groups from 1 to the capacity.
    pub(super) fn text(&self, groups: usize) -> &str {
        self.texts.get(groups).map_or("", |text| {
            text.get_or_init(|| {
                let list = vec![self.group; groups].join(",");
                [self.head, &list, self.tail].concat()
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_rows_as_parameters_allow() {
        let statements = Statements::new("INSERT INTO x VALUES ", "(?,?,?)", " -- end", 3);
        assert_eq!(statements.capacity(0), 33);
        assert_eq!(statements.capacity(1), 32);
        assert_eq!(statements.text(1), "INSERT INTO x VALUES (?,?,?) -- end");
        assert_eq!(statements.text(2), "INSERT INTO x VALUES (?,?,?),(?,?,?) -- end");
        assert_eq!(statements.text(33).matches('?').count(), MAX_PARAMS);
        let single = Statements::new("DELETE FROM x WHERE y IN (", "?", ")", 1);
        assert_eq!(single.capacity(0), MAX_PARAMS);
        assert_eq!(single.text(MAX_PARAMS).matches('?').count(), MAX_PARAMS);
        assert!(std::ptr::eq(single.text(7), single.text(7)), "built once");
    }
}
