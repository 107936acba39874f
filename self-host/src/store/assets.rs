//! Assets as files: `<data>/assets/<graph-id>/<name>`, and beside each what is known of it, in JSON as upstream has it.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use web::{ByteRange, Failure, ObjectHead, ObjectMeta, ObjectStore, PutError, RequestBody as _, Size, StoredObject};

use super::DataDir;
use super::asset_name::{META, folder_of, path_of};
use super::data_dir::{make_folder, sync_folder};
use super::draft::Draft;
use crate::bodies::{FileBody, NativeRequest, NativeResponse};

/// Files that one page of a deletion removes.
const PAGE: usize = 1000;

/// Bytes of a file that says what is known of another: names and values are bounded when they are stored.
const META_BYTES: u64 = 64 << 10;

/// The store of assets. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Assets {
    root: PathBuf,
    tmp: PathBuf,
}

/// What is known of a file, under upstream's names.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    content_type: Option<String>,
    content_encoding: Option<String>,
    cache_control: Option<String>,
    custom_metadata: serde_json::Map<String, serde_json::Value>,
}

fn failure(error: impl std::fmt::Display) -> Failure {
    Failure(error.to_string())
}

/// None where nothing is there.
fn if_there<T>(outcome: std::io::Result<T>) -> Result<Option<T>, Failure> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(failure(error)),
    }
}

fn meta_path(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(META);
    path.into()
}

impl Assets {
    /// The store in a data directory.
    pub(crate) fn new(data: &DataDir) -> Self {
        Self { root: data.assets(), tmp: data.tmp() }
    }

    fn path(&self, key: &str) -> Result<PathBuf, Failure> {
        Ok(self.root.join(path_of(key).ok_or_else(|| failure("a key without a graph"))?))
    }

    /// The open file of an object. No link is followed.
    async fn open(&self, path: &Path) -> Result<Option<(File, ObjectHead)>, Failure> {
        match path.symlink_metadata() {
            Ok(meta) if meta.is_file() => {}
            Ok(_) => return Ok(None),
            Err(error) => return if_there(Err(error)),
        }
        let Some(file) = if_there(File::open(path).await)? else { return Ok(None) };
        let stat = file.metadata().await.map_err(failure)?;
        let meta = read_meta(&meta_path(path)).await;
        // A file that is replaced is another one, made at another time.
        let etag = format!("\"{:x}-{:x}{:08x}-{:x}\"", stat.ino(), stat.mtime(), stat.mtime_nsec(), stat.len());
        let head = ObjectHead {
            size: stat.len(),
            etag,
            content_type: meta.content_type,
            content_encoding: meta.content_encoding,
            cache_control: meta.cache_control,
        };
        Ok(Some((file, head)))
    }
}

/// What is known of a file; nothing where that is missing or unreadable.
async fn read_meta(path: &Path) -> Meta {
    let short = tokio::fs::symlink_metadata(path).await.is_ok_and(|meta| meta.is_file() && meta.len() <= META_BYTES);
    let bytes = if short { tokio::fs::read(path).await.unwrap_or_default() } else { Vec::new() };
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Writes a body as it arrives; the limit bounds it.
async fn receive(file: &mut File, body: &mut NativeRequest, size: Size) -> Result<(), PutError> {
    let mut left = size.limit;
    let mut received = 0;
    while let Some(chunk) = body.chunk().await.map_err(PutError::Interrupted)? {
        let bytes = chunk.len() as u64;
        left = left.checked_sub(bytes).ok_or(PutError::TooLarge)?;
        received += bytes;
        file.write_all(&chunk).await.map_err(failure)?;
    }
    if size.declared.is_some_and(|declared| declared != received) {
        return Err(PutError::Interrupted(failure("the body is shorter than declared")));
    }
    Ok(())
}

async fn finish(mut file: File) -> std::io::Result<()> {
    file.flush().await?;
    file.sync_all().await
}

impl ObjectStore<NativeRequest, NativeResponse> for Assets {
    async fn get(&self, key: &str, range: Option<ByteRange>) -> Result<Option<StoredObject<NativeResponse>>, Failure> {
        let Some((mut file, head)) = self.open(&self.path(key)?).await? else { return Ok(None) };
        let length = match range {
            None => head.size,
            Some(ByteRange { first, length }) => {
                if first.checked_add(length).is_none_or(|end| end > head.size) {
                    return Err(failure("the object is too short for the range"));
                }
                file.seek(std::io::SeekFrom::Start(first)).await.map_err(failure)?;
                length
            }
        };
        Ok(Some(StoredObject { body: NativeResponse::File(FileBody::new(file, length)), head }))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectHead>, Failure> {
        Ok(self.open(&self.path(key)?).await?.map(|(_, head)| head))
    }

    async fn put(&self, key: &str, body: &mut NativeRequest, size: Size, meta: ObjectMeta<'_>) -> Result<(), PutError> {
        let path = self.path(key)?;
        let folder = path.parent().ok_or_else(|| failure("a file without a folder"))?;
        let (draft, file) = Draft::create(&self.tmp).map_err(failure)?;
        let mut file = File::from_std(file);
        receive(&mut file, body, size).await?;
        finish(file).await.map_err(failure)?;
        let custom = meta.custom.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        let known =
            Meta { content_type: Some(meta.content_type.to_owned()), custom_metadata: custom, ..Meta::default() };
        let (meta_draft, file) = Draft::create(&self.tmp).map_err(failure)?;
        let mut file = File::from_std(file);
        file.write_all(&serde_json::to_vec(&known).map_err(failure)?).await.map_err(failure)?;
        finish(file).await.map_err(failure)?;
        let is_new = !folder.is_dir();
        make_folder(folder).map_err(failure)?;
        // What is known of it first: a file that is there has what is known of it.
        meta_draft.publish(&meta_path(&path)).await.map_err(failure)?;
        draft.publish(&path).await.map_err(failure)?;
        let (folder, root) = (folder.to_owned(), is_new.then(|| self.root.clone()));
        let synced = tokio::task::spawn_blocking(move || {
            sync_folder(&folder)?;
            root.as_deref().map_or(Ok(()), sync_folder)
        });
        synced.await.map_err(failure)?.map_err(failure)?;
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), Failure> {
        let path = self.path(key)?;
        if_there(tokio::fs::remove_file(&path).await)?;
        if_there(tokio::fs::remove_file(meta_path(&path)).await)?;
        Ok(())
    }

    async fn delete_page(&self, prefix: &str) -> Result<bool, Failure> {
        let folder = self.root.join(folder_of(prefix));
        let removed = tokio::task::spawn_blocking(move || remove_page(&folder));
        removed.await.map_err(failure)?.map_err(failure)
    }
}

/// Removes a page of a folder's files, and the folder once it is empty. True: there may be more.
fn remove_page(folder: &Path) -> std::io::Result<bool> {
    let entries = match folder.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    for (removed, entry) in entries.enumerate() {
        if removed == PAGE {
            return Ok(true);
        }
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    match std::fs::remove_dir(folder) {
        // Another file may have come meanwhile.
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(true),
        outcome => outcome.map(|()| false),
    }
}
