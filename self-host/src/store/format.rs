//! The format of a data directory (self-host.md 8.3).

use std::io::ErrorKind;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::DataDir;
use super::draft::make_once;

/// The format that this version writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// What a directory says of itself.
#[derive(Debug, Deserialize, Serialize)]
struct Marker {
    format: u32,
    /// The oldest format whose versions can serve from it.
    min_reader: u32,
    written_by: String,
}

/// Why a directory is not served from.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormatError {
    /// A newer version has changed it.
    #[error(
        "the data directory was written by version {written_by} in format {min_reader}, and this version knows {FORMAT}"
    )]
    TooNew {
        /// What one must know to serve from it.
        min_reader: u32,
        /// Which version that is.
        written_by: String,
    },
    /// The file.
    #[error("{path}: {cause}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
}

/// Checks the format, and notes it where the directory says nothing: it is new, or another server's.
pub(crate) fn check_format(data: &DataDir) -> Result<(), FormatError> {
    let path = data.format();
    let failed = |cause| FormatError::Io { path: path.clone(), cause };
    match std::fs::read(&path) {
        Ok(bytes) => {
            let marker: Marker = serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?;
            if marker.min_reader > FORMAT {
                return Err(FormatError::TooNew { min_reader: marker.min_reader, written_by: marker.written_by });
            }
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let marker = Marker { format: FORMAT, min_reader: FORMAT, written_by: crate::cli::VERSION.to_owned() };
            let bytes = serde_json::to_vec(&marker).map_err(|error| failed(error.into()))?;
            make_once(&data.tmp(), &path, &bytes).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_directory_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        check_format(&data).unwrap();
        check_format(&data).unwrap();
        let path = folder.path().join(".format");
        std::fs::write(&path, r#"{"format":7,"min_reader":1,"written_by":"9.0.0"}"#).unwrap();
        check_format(&data).unwrap();
        std::fs::write(&path, r#"{"format":7,"min_reader":2,"written_by":"9.0.0"}"#).unwrap();
        let error = check_format(&data).unwrap_err();
        assert!(error.to_string().contains("9.0.0"), "{error}");
        std::fs::write(&path, "no json").unwrap();
        assert!(matches!(check_format(&data), Err(FormatError::Io { .. })));
    }
}
