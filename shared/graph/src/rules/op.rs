//! Names of the client's operations, as far as a rule looks at them.

/// The operation of the client's outliner that made an entry (`outliner-op`, sync.md 14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// `delete-blocks`
    DeleteBlocks,
    /// `delete-page`
    DeletePage,
    /// `fix`: a repair of the client.
    Fix,
    /// `rebase`: local changes put onto what came from the server.
    Rebase,
    /// `db-migrate`: a migration of the whole graph; neither validated nor split.
    DbMigrate,
    /// Any other: no rule depends on it.
    Other,
}

impl Op {
    /// The operation of that name. A leading colon does not belong to a name and makes it another one.
    pub fn parse(name: &str) -> Self {
        match name {
            "delete-blocks" => Self::DeleteBlocks,
            "delete-page" => Self::DeletePage,
            "fix" => Self::Fix,
            "rebase" => Self::Rebase,
            "db-migrate" => Self::DbMigrate,
            _ => Self::Other,
        }
    }

    /// Whether it deletes what the user selected (sync.md 11.4).
    pub const fn is_delete(self) -> bool {
        matches!(self, Self::DeleteBlocks | Self::DeletePage)
    }

    /// Whether a retraction of something that is gone is dropped (sync.md 11.4 rule 3).
    pub const fn drops_stale_retracts(self) -> bool {
        self.is_delete() || matches!(self, Self::Fix)
    }

    /// Whether an entry that mentions an entity that is gone counts as done (sync.md 11.7).
    pub const fn tolerates_missing_entities(self) -> bool {
        matches!(self, Self::Rebase | Self::Fix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(Op::parse("delete-page"), Op::DeletePage);
        assert_eq!(Op::parse(":fix"), Op::Other);
        assert!(Op::Fix.drops_stale_retracts() && !Op::Fix.is_delete());
        assert!(Op::Rebase.tolerates_missing_entities() && !Op::Rebase.drops_stale_retracts());
    }
}
