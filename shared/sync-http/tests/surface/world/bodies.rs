//! What is sent and stored: bodies of chunks, and assets in a map.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use web::{
    ByteRange, Failure, ObjectHead, ObjectMeta, ObjectStore, PutError, RequestBody, ResponseBody, Size, Source,
    StoredObject,
};

/// What a sender learns of a body.
#[derive(Default)]
pub(crate) struct Fate {
    /// Bytes that were read.
    pub(crate) read: Cell<usize>,
    /// That no more will be.
    pub(crate) cancelled: Cell<bool>,
    /// Bytes that were taken in for the sender's sake.
    pub(crate) discarded: Cell<Option<u64>>,
}

/// A request's body of chunks.
#[derive(Default)]
pub(crate) struct TestBody {
    pub(crate) chunks: VecDeque<Vec<u8>>,
    /// The connection breaks after the chunks.
    pub(crate) broken: bool,
    /// Done before the chunk of that number comes.
    before: Option<(usize, Box<dyn FnOnce()>)>,
    given: usize,
    /// Nothing comes after the chunks, and no end.
    pub(crate) never_ends: bool,
    /// What became of the body, for who has sent it.
    pub(crate) fate: Rc<Fate>,
}

impl TestBody {
    pub(crate) fn chunks(chunks: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self { chunks: chunks.into_iter().collect(), ..Self::default() }
    }

    pub(crate) fn before_chunk(self, number: usize, work: Box<dyn FnOnce()>) -> Self {
        Self { before: Some((number, work)), ..self }
    }
}

/// A response's body, there as a whole or made while it is read.
#[derive(Default)]
pub(crate) struct TestAnswer {
    whole: Option<Vec<u8>>,
    source: Option<Box<dyn Source>>,
}

impl TestAnswer {
    /// The next piece of what is made while it is read, or of what was there as a whole.
    pub(crate) fn next_piece(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        match self.whole.take() {
            Some(chunk) => Ok(Some(chunk)),
            None => self.source.as_mut().map_or(Ok(None), |source| source.next()),
        }
    }

    pub(crate) fn bytes(mut self) -> Result<Vec<u8>, Failure> {
        let mut bytes = self.whole.take().unwrap_or_default();
        while let Some(chunk) = self.source.as_mut().map_or(Ok(None), |source| source.next())? {
            assert!(!chunk.is_empty(), "sources give no empty chunk");
            bytes.extend(chunk);
        }
        Ok(bytes)
    }
}

impl ResponseBody for TestAnswer {
    fn empty() -> Self {
        Self::default()
    }

    fn full(bytes: Vec<u8>) -> Self {
        Self { whole: Some(bytes), source: None }
    }

    fn streamed(source: Box<dyn Source>) -> Self {
        Self { whole: None, source: Some(source) }
    }
}

impl RequestBody for TestBody {
    fn is_empty(&self) -> bool {
        self.chunks.is_empty() && !self.broken
    }

    fn take(&mut self) -> Option<Self> {
        (self.given == 0).then(|| std::mem::take(self))
    }

    async fn cancel(&mut self) {
        self.chunks.clear();
        self.fate.cancelled.set(true);
    }

    async fn discard(&mut self, limit: u64) {
        let bytes: usize = self.chunks.drain(..).map(|chunk| chunk.len()).sum();
        if self.never_ends {
            std::future::pending::<()>().await;
        }
        self.fate.discarded.set(Some(limit.min(bytes as u64)));
    }

    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if let Some((_, work)) = self.before.take_if(|(number, _)| *number == self.given) {
            work();
        }
        self.given += 1;
        let chunk = self.chunks.pop_front();
        self.fate.read.set(self.fate.read.get() + chunk.as_ref().map_or(0, Vec::len));
        match chunk {
            None if self.broken => Err(Failure("the connection broke".into())),
            chunk => Ok(chunk),
        }
    }
}

#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) bytes: Vec<u8>,
    pub(crate) content_type: String,
    pub(crate) content_encoding: Option<String>,
    pub(crate) cache_control: Option<String>,
    pub(crate) checksum: Option<String>,
    pub(crate) extension: String,
}

/// Done once to the objects of a store.
type Meanwhile = Box<dyn FnOnce(&mut BTreeMap<String, Stored>)>;

/// Assets by key; a page of deletions is two objects.
#[derive(Default)]
pub(crate) struct MemoryAssets {
    pub(crate) objects: RefCell<BTreeMap<String, Stored>>,
    pub(crate) broken: Cell<bool>,
    /// So many calls fail.
    pub(crate) failures: Cell<usize>,
    /// Done once, between a look at an object and reading it.
    pub(crate) meanwhile: RefCell<Option<Meanwhile>>,
}

impl MemoryAssets {
    fn check(&self) -> Result<(), Failure> {
        let failures = self.failures.get();
        self.failures.set(failures.saturating_sub(1));
        if self.broken.get() || failures > 0 { Err(Failure("the store is away".into())) } else { Ok(()) }
    }

    /// The keys of what is stored.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.objects.borrow().keys().cloned().collect()
    }
}

impl Stored {
    fn head(&self) -> ObjectHead {
        let digest =
            self.bytes.iter().fold(self.bytes.len() as u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
        ObjectHead {
            size: self.bytes.len() as u64,
            etag: format!("\"{digest:x}\""),
            content_type: Some(self.content_type.clone()),
            content_encoding: self.content_encoding.clone(),
            cache_control: self.cache_control.clone(),
        }
    }
}

impl ObjectStore<TestBody, TestAnswer> for MemoryAssets {
    async fn get(&self, key: &str, range: Option<ByteRange>) -> Result<Option<StoredObject<TestAnswer>>, Failure> {
        self.check()?;
        let objects = self.objects.borrow();
        let Some(stored) = objects.get(key) else { return Ok(None) };
        let head = stored.head();
        let range = range.unwrap_or(ByteRange { first: 0, length: head.size });
        let at = |position: u64| usize::try_from(position).unwrap();
        let bytes = stored
            .bytes
            .get(at(range.first)..at(range.first + range.length))
            .ok_or_else(|| Failure("no such range".into()))?;
        Ok(Some(StoredObject { body: TestAnswer::full(bytes.to_vec()), head }))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectHead>, Failure> {
        self.check()?;
        let head = self.objects.borrow().get(key).map(Stored::head);
        if let Some(meanwhile) = self.meanwhile.take() {
            meanwhile(&mut self.objects.borrow_mut());
        }
        Ok(head)
    }

    async fn put(&self, key: &str, body: &mut TestBody, size: Size, meta: ObjectMeta<'_>) -> Result<(), PutError> {
        self.check()?;
        let mut bytes = Vec::new();
        while let Some(chunk) = body.chunk().await.map_err(PutError::Interrupted)? {
            bytes.extend(chunk);
            if bytes.len() as u64 > size.declared.unwrap_or(size.limit) {
                return Err(PutError::TooLarge);
            }
        }
        let custom = |name| meta.custom.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let stored = Stored {
            bytes,
            content_type: meta.content_type.to_owned(),
            content_encoding: None,
            cache_control: None,
            checksum: custom("checksum"),
            extension: custom("type").unwrap(),
        };
        self.objects.borrow_mut().insert(key.to_owned(), stored);
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), Failure> {
        self.check()?;
        self.objects.borrow_mut().remove(key);
        Ok(())
    }

    async fn delete_page(&self, prefix: &str) -> Result<bool, Failure> {
        self.check()?;
        let mut objects = self.objects.borrow_mut();
        let keys: Vec<String> = objects.keys().filter(|key| key.starts_with(prefix)).take(2).cloned().collect();
        for key in &keys {
            objects.remove(key);
        }
        Ok(keys.len() == 2)
    }
}
