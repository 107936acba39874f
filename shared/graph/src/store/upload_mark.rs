//! What is stored of an upload beside its rows: whose it is, when it began, and how far its rows have come.

/// No address yet.
pub(crate) const NO_ADDR: i64 = -1;

/// The upload that runs or, while the graph is open, the one that ended last (sync.md 10.4).
///
/// Addresses ascend over the parts of an upload, so that a part shows by its first row whether it goes on where the last
/// one has ended, or is the last one once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UploadMark {
    /// When it began, in milliseconds.
    pub(crate) begun_ms: i64,
    /// When a request of it ended last, in milliseconds.
    pub(crate) touched_ms: i64,
    /// Requests that brought rows and ended well.
    pub(crate) parts: i64,
    /// Rows up to this address had come before the last part.
    pub(crate) before: i64,
    /// Address of the last part's first row.
    pub(crate) first: i64,
    /// Rows up to this address have come.
    pub(crate) last: i64,
    /// Whose upload it is.
    pub(crate) owner: String,
}

impl UploadMark {
    /// An upload of which no row has come.
    pub(crate) fn new(owner: &str, now_ms: i64) -> Self {
        Self {
            begun_ms: now_ms,
            touched_ms: now_ms,
            parts: 0,
            before: NO_ADDR,
            first: NO_ADDR,
            last: NO_ADDR,
            owner: owner.to_owned(),
        }
    }

    /// The address after which the rows of a part begin that starts with the row at `first`; none for a part that neither
    /// goes on with the upload nor repeats its last part. An upload's first part is repeated with `reset`.
    pub(crate) const fn base_of(&self, first: i64) -> Option<i64> {
        if first > self.last {
            Some(self.last)
        } else if self.parts > 1 && first == self.first {
            Some(self.before)
        } else {
            None
        }
    }

    /// The upload without its last part.
    pub(crate) fn without_last_part(self) -> Self {
        Self { parts: self.parts - 1, first: NO_ADDR, last: self.before, ..self }
    }

    /// The upload with one part more.
    pub(crate) fn with_part(self, first: i64, last: i64, now_ms: i64) -> Self {
        Self { touched_ms: now_ms, parts: self.parts + 1, before: self.last, first, last, ..self }
    }

    /// As it is stored.
    pub(crate) fn to_text(&self) -> String {
        let Self { begun_ms, touched_ms, parts, before, first, last, owner } = self;
        format!("{begun_ms} {touched_ms} {parts} {before} {first} {last} {owner}")
    }

    /// What [`UploadMark::to_text`] wrote.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let mut words = text.splitn(7, ' ');
        let mut number = || words.next()?.parse::<i64>().ok();
        let (begun_ms, touched_ms, parts) = (number()?, number()?, number()?);
        let (before, first, last) = (number()?, number()?, number()?);
        Some(Self { begun_ms, touched_ms, parts, before, first, last, owner: words.next()?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read() {
        for owner in ["u", "", "user a b", "日本 7"] {
            let mark = UploadMark::new(owner, 5).with_part(0, 17, 6).with_part(18, 40, 7);
            assert_eq!(UploadMark::from_text(&mark.to_text()), Some(mark));
        }
        for text in ["", "1 2 3", "1 2 3 4 5 6", "a 2 3 4 5 6 u"] {
            assert_eq!(UploadMark::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn a_part_goes_on_or_repeats_the_last_one() {
        let one = UploadMark::new("u", 5).with_part(0, 17, 6);
        assert_eq!((one.base_of(18), one.base_of(0), one.base_of(9)), (Some(17), None, None));
        let two = one.clone().with_part(18, 40, 7);
        assert_eq!(
            (two.base_of(41), two.base_of(18), two.base_of(19), two.base_of(0)),
            (Some(40), Some(17), None, None)
        );
        let undone = two.without_last_part();
        assert_eq!((undone.parts, undone.last, undone.base_of(18)), (1, 17, Some(17)));
    }
}
