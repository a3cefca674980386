//! A place that counts what is asked of it, and that can be cut off from its caller at any write.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use stepmark_store_object::object_store::memory::InMemory;
use stepmark_store_object::object_store::path::Path;
use stepmark_store_object::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Where a caller is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Nowhere,
    /// Before its write with this number, from 0.
    Before(u64),
    /// After it: it is written, and nobody hears of it.
    After(u64),
}

/// One caller's view of a place. Cut off, it never reaches it again.
#[derive(Debug)]
pub(crate) struct Watched {
    place: Arc<InMemory>,
    cut: Cut,
    is_cut: AtomicBool,
    writes: AtomicU64,
    reads: AtomicU64,
}

impl Watched {
    pub(crate) fn new(place: Arc<InMemory>, cut: Cut) -> Arc<Self> {
        Arc::new(Self {
            place,
            cut,
            is_cut: AtomicBool::new(false),
            writes: AtomicU64::new(0),
            reads: AtomicU64::new(0),
        })
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::SeqCst)
    }

    /// How often it was read from or listed.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    /// How often it was written to.
    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }

    fn read(&self) -> Result<()> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.is_cut() { Err(cut_off()) } else { Ok(()) }
    }

    /// Whether a write reaches the place, and whether its answer comes back.
    fn write(&self) -> (bool, bool) {
        if self.is_cut() {
            return (false, false);
        }
        let number = self.writes.fetch_add(1, Ordering::SeqCst);
        let (before, after) = (self.cut == Cut::Before(number), self.cut == Cut::After(number));
        self.is_cut.store(before || after, Ordering::SeqCst);
        (!before, !(before || after))
    }
}

fn cut_off() -> Error {
    Error::Generic { store: "watched", source: "cut off".into() }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("watched")
    }
}

#[async_trait]
impl ObjectStore for Watched {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let (reaches, answers) = self.write();
        if !reaches {
            return Err(cut_off());
        }
        let answer = self.place.put_opts(location, payload, opts).await;
        if answers { answer } else { Err(cut_off()) }
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        unreachable!("objects are put whole")
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.read()?;
        self.place.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (reaches, answers) = self.write();
        if reaches && answers {
            return self.place.delete_stream(locations);
        }
        stream::once(async { Err(cut_off()) }).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.read() {
            Ok(()) => self.place.list(prefix),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.read()?;
        self.place.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        unreachable!("objects are never copied")
    }
}
