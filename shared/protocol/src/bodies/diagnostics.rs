//! `GET …/checksum/diagnostics`: what the checksum is made of (sync.md 5.3).
//!
//! One line for each block of the graph, so it is written piece by piece like a pull.

use crate::write;
use uuid::Uuid;

/// One block as the checksum sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiagnosticsBlock<'a> {
    /// The block.
    pub uuid: Uuid,
    /// Its parent.
    pub parent: Option<Uuid>,
    /// Its page.
    pub page: Option<Uuid>,
    /// Its order key.
    pub order: Option<&'a str>,
    /// Left out in encrypted graphs.
    pub title: Option<&'a str>,
    /// Left out in encrypted graphs.
    pub name: Option<&'a str>,
}

/// Writes one answer: [`begin`](Self::begin), then each [`block`](Self::block) in ascending order of UUID text, then
/// [`end`](Self::end). The caller may send and clear the buffer in between.
#[derive(Debug)]
#[must_use = "diagnostics without their end are no JSON"]
pub struct DiagnosticsWriter {
    e2ee: bool,
    first: bool,
}

impl DiagnosticsWriter {
    /// Appends the part before the blocks.
    pub fn begin(out: &mut String, checksum: &str, e2ee: bool) -> Self {
        out.push_str("{\"checksum\":");
        write::string(out, checksum);
        out.push_str(if e2ee {
            r#","e2ee?":true,"attrs":["order","page","parent","uuid"],"blocks":["#
        } else {
            r#","e2ee?":false,"attrs":["name","order","page","parent","title","uuid"],"blocks":["#
        });
        Self { e2ee, first: true }
    }

    /// Appends one block.
    pub fn block(&mut self, out: &mut String, block: &DiagnosticsBlock<'_>) {
        if !std::mem::take(&mut self.first) {
            out.push(',');
        }
        out.push_str("{\"uuid\":");
        write::uuid(out, block.uuid);
        out.push_str(",\"parent\":");
        reference(out, block.parent);
        out.push_str(",\"page\":");
        reference(out, block.page);
        out.push_str(",\"order\":");
        write::nullable(out, block.order);
        if !self.e2ee {
            out.push_str(",\"title\":");
            write::nullable(out, block.title);
            out.push_str(",\"name\":");
            write::nullable(out, block.name);
        }
        out.push('}');
    }

    /// Appends the part after the blocks.
    pub fn end(self, out: &mut String) {
        out.push_str("]}");
    }
}

fn reference(out: &mut String, id: Option<Uuid>) {
    match id {
        Some(id) => write::uuid(out, id),
        None => out.push_str("null"),
    }
}
