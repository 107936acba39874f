//! A device that joins: a snapshot that arrives while others write.

use datascript::Row;
use graph::faults;
use graph::snapshot::{Encoding, Export, FrameReader};

use crate::base::{self, Base};
use crate::client::Client;
use crate::server::Server;
use crate::{Result, ensure, fail, state};

/// A download under way.
pub(crate) struct Download {
    export: Export,
    reader: FrameReader,
    rows: Vec<Row>,
    /// The counter at its start, which the snapshot shows.
    t: i64,
    expected: Vec<String>,
}

impl Download {
    /// Begins one; none where the server died of it.
    pub(crate) fn begin(server: &mut Server) -> Result<Option<Self>> {
        let t = server.graph.position().map_err(fail)?.t;
        let export = server.graph.begin_export(Encoding::Identity);
        if faults::fired() {
            server.restart()?;
            return Ok(None);
        }
        let export = export.map_err(fail)?;
        let expected = state::facts(&server.shadow)?;
        Ok(Some(Self { export, reader: FrameReader::new(), rows: Vec::new(), t, expected }))
    }

    /// Takes the next piece; at the end there is a client.
    pub(crate) fn go_on(mut self, server: &mut Server, name: usize, kind: Base) -> Result<Result<Client, Self>> {
        if let Some(chunk) = server.graph.next_chunk(&mut self.export).map_err(fail)? {
            let mut chunk = &chunk[..];
            while let Some(row) = self.reader.next_row(&mut chunk).map_err(fail)? {
                self.rows.push(row);
            }
            return Ok(Err(self));
        }
        self.reader.end().map_err(fail)?;
        let announced = self.export.row_count();
        ensure!(usize::try_from(announced) == Ok(self.rows.len()), "{} rows of {announced} came", self.rows.len());
        server.graph.end_export(self.export).map_err(fail)?;
        let copy = base::open_rows(self.rows)?;
        if let Some(difference) = state::difference(&state::facts(&copy)?, &self.expected) {
            return Err(format!("the snapshot at {} is torn: {difference}", self.t));
        }
        Ok(Ok(Client::new(name, kind, copy, self.t)))
    }
}
