//! How does another store keep files of archived threads?
//!
//! Each as a thread of its own, which has one checkpoint with the file in its channels, cut into blobs. So a file lies there as
//! it is, sealed rows stay sealed, and any store can be an archive.

use std::sync::Arc;

use async_trait::async_trait;
use stepmark_core::checkpoint::{ChannelEntry, CheckpointRow, Manifest, Source};
use stepmark_core::error::{Error as StoreError, ErrorKind, Subject};
use stepmark_core::id::{BlobHash, CheckpointId, ClaimToken, RecordHash, RunId, ThreadUid, hash16};
use stepmark_core::rows::{BranchRow, EffectsMode, ThreadRow, Tip};
use stepmark_core::store::{
    BlobCall, BlobUse, Channels, CheckpointStore, Commit, Expect, Load, ThreadAddress, ThreadQuery,
};
use stepmark_core::value::{Structure, ValueAddress, ValueHead, ValueNode, ValueRef, ValueRow, encode_packed};

use super::archive::{Archive, Archived, missing, sort, time_of};
use crate::error::{Error, Result};

/// How many bytes of a file lie in one blob.
const PART_BYTES: usize = 16 << 20;
/// Bytes before a part that say how long it is.
const BINARY_BYTES: usize = 5;
/// How many threads are listed at a time.
const PAGE_THREADS: u32 = 128;

/// Keeps threads in another store, each as a thread `{uid}-{time}` of the same scope whose one checkpoint holds its file.
/// [`unarchive`](crate::unarchive) brings it back; nobody runs on such a thread. It never expires, also where the store gives
/// a life to all its threads.
#[derive(Clone, Debug)]
pub struct ArchiveStore(pub Arc<dyn CheckpointStore>);

#[async_trait]
impl Archive for ArchiveStore {
    async fn keep(&self, archived: &Archived, file: &[u8]) -> Result<()> {
        let scope = &archived.thread.scope;
        if let Some(newest) = self.names(scope, &archived.thread.uid.to_string()).await?.last()
            && self.file(scope, newest, Channels::All).await? == file
        {
            return self.stays(scope, newest).await;
        }
        let mut wrapped = Wrapped::of(archived, file);
        for part in file.chunks(PART_BYTES) {
            let bytes = binary(part);
            wrapped.add(&bytes);
            self.0.blob(BlobCall::Put { scope: scope.clone(), bytes }).await?;
        }
        self.0.commit(wrapped.sealed(archived)).await?;
        if self.file(scope, &archived.name(), Channels::All).await? == file {
            return self.stays(scope, &archived.name()).await;
        }
        Err(Error::Io(std::io::Error::other("the archive reads back other bytes than were written")))
    }

    async fn list(&self, scope: &str) -> Result<Vec<Archived>> {
        let mut found = Vec::new();
        for name in self.names(scope, "").await? {
            let Some(as_of) = time_of(&name) else { continue };
            let first = self.file(scope, &name, Channels::Named(vec![channel(0)])).await?;
            found.push(Archived::of_file(&mut &first[..], as_of)?);
        }
        sort(&mut found);
        Ok(found)
    }

    async fn read(&self, archived: &Archived) -> Result<Vec<u8>> {
        match self.file(&archived.thread.scope, &archived.name(), Channels::All).await {
            Err(Error::Store(error)) if error.is(ErrorKind::Missing, Subject::Thread) => Err(missing(archived)),
            read => read,
        }
    }
}

impl ArchiveStore {
    /// Takes the end from a thread that its store gave one, as Redis does where it is opened with a life for all threads: what
    /// was archived is about to be deleted.
    async fn stays(&self, scope: &str, name: &str) -> Result<()> {
        let Some(retention) = self.0.retention() else { return Ok(()) };
        let address = ThreadAddress::Name { scope: scope.to_owned(), name: name.to_owned() };
        let uid = self.0.load(Load::head(address)).await?.thread.uid;
        if retention.state(uid).await?.expires_at.is_some() {
            retention.set_expiry(uid, None).await?;
        }
        Ok(())
    }

    /// The names of threads that begin so, in order.
    async fn names(&self, scope: &str, beginning: &str) -> Result<Vec<String>> {
        let (mut names, mut after) = (Vec::new(), Some(beginning.to_owned()));
        while after.is_some() {
            let query = ThreadQuery { scope: scope.to_owned(), after, limit: PAGE_THREADS, waiting: false };
            let page = self.0.threads(query).await?;
            let found = page.threads.into_iter().map(|entry| entry.thread.name);
            names.extend(found.take_while(|name| name.starts_with(beginning)));
            after = page.next.filter(|next| next.starts_with(beginning));
        }
        Ok(names)
    }

    /// The file of a thread, as far as it lies in these channels.
    async fn file(&self, scope: &str, name: &str, channels: Channels) -> Result<Vec<u8>> {
        let address = ThreadAddress::Name { scope: scope.to_owned(), name: name.to_owned() };
        let loaded = self.0.load(Load { channels, ..Load::head(address) }).await?;
        let damaged = || StoreError::corrupt(Subject::Thread, name, "it holds no archived file");
        let mut parts: Vec<_> = loaded.chains.iter().flat_map(|chain| &chain.nodes).collect();
        parts.sort_by_key(|(address, _)| address.ordinal);
        let mut file = Vec::new();
        for (_, node) in parts {
            file.extend_from_slice(node.body.get(BINARY_BYTES..).ok_or_else(damaged)?);
        }
        Ok(file)
    }
}

/// A part of a file as MessagePack.
fn binary(part: &[u8]) -> Vec<u8> {
    let length = u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0xc6], &length[..], part].concat()
}

fn channel(number: usize) -> String {
    format!("part {number}")
}

/// The unit that makes a thread of a file. Everything in it follows from the file, so that it is the same again.
struct Wrapped {
    commit: Commit,
    manifest: Manifest,
}

impl Wrapped {
    fn of(archived: &Archived, file: &[u8]) -> Self {
        let seed = hash16(&[archived.name().as_bytes(), &BlobHash::of(file).0].concat());
        let id = archived.thread.head;
        let tip = Some(Tip { height: 0, id: CheckpointId::from_uuid(seed) });
        let (epoch, claim, effects) = (1, ClaimToken(seed), EffectsMode::Ledger);
        let branch = BranchRow { id, fork: None, tip, epoch, claim, effects, root: None };
        let (scope, created_at) = (archived.thread.scope.clone(), archived.as_of);
        let thread = ThreadRow { uid: ThreadUid(seed), scope, name: archived.name(), head: id, created_at };
        let mut commit = Commit::new(thread.uid, Expect::New, branch);
        commit.new_thread = Some(thread);
        Self { commit, manifest: Manifest::new(RunId::from_uuid(seed), 1) }
    }

    fn add(&mut self, bytes: &[u8]) {
        let number = self.commit.values.len();
        let address = ValueAddress { branch: self.commit.branch.id, height: 0, ordinal: number as u32 };
        let hash = BlobHash::of(bytes);
        let head = ValueHead { blob: Some((hash, bytes.len() as u64)), ..ValueHead::new(Structure::Full, 1) };
        self.commit.values.push(ValueRow { address, node: ValueNode { head, body: Vec::new() } });
        self.commit.blobs.push(BlobUse { value: address, hash });
        let value = ValueRef { address, packed: false };
        self.manifest.channels.push(ChannelEntry { name: channel(number).into(), value, version: None });
    }

    fn sealed(mut self, archived: &Archived) -> Commit {
        let created_at = archived.as_of;
        let row = CheckpointRow {
            branch: self.commit.branch.id,
            height: 0,
            id: CheckpointId::from_uuid(self.commit.thread.0),
            source: Source::Input,
            created_at,
            manifest: self.manifest.encode(created_at),
            manifest_hash: RecordHash([0; 16]),
            packed: encode_packed(&[]),
            packed_hash: RecordHash([0; 16]),
        };
        self.commit.checkpoint = Some(row.sealed(self.commit.thread, ""));
        self.commit
    }
}
