//! What goes into statements and what comes out of them.

/// A bound parameter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Param<'a> {
    /// SQL `NULL`.
    Null,
    /// An integer. Databases whose numbers are doubles take it within ±(2^53-1) only, see [`exact_double`].
    Int(i64),
    /// Text.
    Text(&'a str),
}

impl<'a> Param<'a> {
    /// Text, or `NULL` for `None`.
    pub fn opt(text: Option<&'a str>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }

    /// A number of rows or characters.
    pub fn count(value: usize) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }

    /// A flag, stored as 0 or 1.
    pub const fn flag(value: bool) -> Self {
        Self::Int(value as i64)
    }
}

/// The integer as a double, or `None` outside of ±(2^53-1), where not every integer has a double of its own. D1 and
/// Durable Object SQL take numbers as doubles.
pub fn exact_double(number: i64) -> Option<f64> {
    const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;
    #[expect(clippy::cast_precision_loss, reason = "every integer in this range has a double of its own")]
    (-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER).contains(&number).then_some(number as f64)
}

/// One column of a result row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// SQL `NULL`.
    Null,
    /// An integer or real number: D1 does not tell which.
    Number(f64),
    /// Text.
    Text(String),
}

/// One result row, columns in the order of the select list. Reading never fails: a column that is missing, `NULL` or of
/// another type is `None`, because rows written by other servers must not fail a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row(pub Vec<Cell>);

impl Row {
    /// A text column.
    pub fn text(&self, column: usize) -> Option<&str> {
        match self.0.get(column) {
            Some(Cell::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A text column, owned.
    pub fn string(&self, column: usize) -> Option<String> {
        self.text(column).map(str::to_owned)
    }

    /// An integer column.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the cast saturates, and fractions do not occur in our schemas"
    )]
    pub fn int(&self, column: usize) -> Option<i64> {
        match self.0.get(column) {
            Some(Cell::Number(number)) => Some(*number as i64),
            _ => None,
        }
    }

    /// A flag column that is on unless it says otherwise: `NULL`, 1 and `"1"` are true, 0 and `"0"` false
    /// (sync.md 8.2).
    pub fn flag(&self, column: usize) -> bool {
        match self.0.get(column) {
            Some(Cell::Number(number)) => *number != 0.0,
            Some(Cell::Text(text)) => text != "0",
            Some(Cell::Null) | None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_cross_as_doubles_where_that_is_exact() {
        let last = (1_i64 << 53) - 1;
        assert_eq!((exact_double(0), exact_double(-7)), (Some(0.0), Some(-7.0)));
        assert_eq!(
            (exact_double(last), exact_double(-last)),
            (Some(9_007_199_254_740_991.0), Some(-9_007_199_254_740_991.0))
        );
        assert_eq!((exact_double(last + 1), exact_double(-last - 1), exact_double(i64::MIN)), (None, None, None));
    }

    #[test]
    fn columns_of_another_type_are_none() {
        let row = Row(vec![Cell::Null, Cell::Number(2.0), Cell::Text("0".to_owned())]);
        assert_eq!([0, 1, 2, 3].map(|column| row.int(column)), [None, Some(2), None, None]);
        assert_eq!([0, 1, 2, 3].map(|column| row.text(column)), [None, None, Some("0"), None]);
        assert_eq!([0, 1, 2, 3].map(|column| row.flag(column)), [true, true, false, true]);
        assert!(!Row(vec![Cell::Number(0.0)]).flag(0));
    }
}
