//! Snapshots: the rows of a graph on the wire, both ways (sync.md 10).

mod export;
mod frame_reader;
mod frame_writer;
mod inflate;
mod row_parser;
mod upload;

pub use export::{Encoding, Export};
pub use frame_reader::FrameReader;
pub use frame_writer::FrameWriter;
pub use row_parser::FrameError;
pub use upload::{Upload, UploadError, Uploaded};

pub(crate) use export::RunningExports;
pub(crate) use upload::Running as RunningUpload;
