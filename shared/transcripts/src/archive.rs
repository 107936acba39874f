//! Bundles as archives (transcripts.md 4.4): `manifest.json` first, then the files in its order.

use std::io::Read;

use tar::{Archive, Builder, EntryType, Header};

use crate::bundle::{Bundle, BundleError, Manifest};
use crate::limits::{ARCHIVE_BYTES, FILES, MANIFEST_BYTES};

/// The first entry.
const MANIFEST: &str = "manifest.json";

/// The archive of a bundle. The same bundle always gives the same bytes.
pub fn write(bundle: &Bundle) -> Result<Vec<u8>, BundleError> {
    let mut archive = Builder::new(Vec::new());
    let mut append = |path: &str, mode: u32, bytes: &[u8]| {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        archive.append_data(&mut header, path, bytes).map_err(|_| BundleError::Archive)
    };
    append(MANIFEST, 0o600, bundle.manifest().to_json()?.as_bytes())?;
    // At most 64 files.
    for (file, bytes) in bundle.members() {
        append(&file.path, file.mode, bytes)?;
    }
    archive.into_inner().map_err(|_| BundleError::Archive)
}

/// Reads an archive whose files have at most `limit` bytes together. Anything but plain files is refused.
pub fn read(bytes: &[u8], limit: usize) -> Result<Bundle, BundleError> {
    if bytes.len() > limit.saturating_add(ARCHIVE_BYTES) {
        return Err(BundleError::TooLarge);
    }
    let mut archive = Archive::new(bytes);
    let mut entries = archive.entries().map_err(|_| BundleError::Archive)?;
    let mut next = |limit: usize| -> Result<Option<(String, Vec<u8>)>, BundleError> {
        let Some(entry) = entries.next() else { return Ok(None) };
        let entry = entry.map_err(|_| BundleError::Archive)?;
        if entry.header().entry_type() != EntryType::Regular {
            return Err(BundleError::Archive);
        }
        let path = String::from_utf8(entry.path_bytes().into_owned()).map_err(|_| BundleError::Path)?;
        let mut content = Vec::new();
        // One byte more than allowed tells that there are more.
        let most = (limit as u64).saturating_add(1);
        entry.take(most).read_to_end(&mut content).map_err(|_| BundleError::Archive)?;
        if content.len() > limit { Err(BundleError::TooLarge) } else { Ok(Some((path, content))) }
    };
    let manifest = match next(MANIFEST_BYTES)? {
        Some((path, content)) if path == MANIFEST => Manifest::parse(&content)?,
        _ => return Err(BundleError::Manifest),
    };
    if manifest.size() > limit as u64 {
        return Err(BundleError::TooLarge);
    }
    let mut body = Vec::new();
    // At most 64 files, which the manifest names.
    for file in manifest.files.iter().take(FILES) {
        let (path, content) = next(limit.saturating_sub(body.len()))?.ok_or(BundleError::Manifest)?;
        if path != file.path {
            return Err(BundleError::Manifest);
        }
        body.extend_from_slice(&content);
    }
    if next(0)?.is_some() {
        return Err(BundleError::Manifest);
    }
    Bundle::of_manifest(manifest, body)
}
