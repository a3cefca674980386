//! Where do blobs and graph records lie?
//!
//! Each under a key of its own: they belong to no thread. They are put before the unit that names them and never change, so
//! that they may be fetched after it was read.

use redis::Value;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::BlobHash;
use stepmark_core::rows::GraphRow;
use stepmark_core::store::{BlobCall, BlobReply, Loaded};

use crate::bag::{Odd, optional};
use crate::link::Link;
use crate::records;

/// Field of a blob's hash that holds its bytes.
const BODY: &str = "body";

impl Link {
    pub(crate) async fn blob(&self, call: BlobCall) -> Result<BlobReply> {
        match call {
            BlobCall::Put { scope, bytes } => {
                let hash = BlobHash::of(&bytes);
                let key = self.keys.blob(&scope, hash);
                self.call(&self.scripts.put, &[key], &[b"put".to_vec(), bytes]).await?;
                self.list_blob(&scope, hash).await?;
                Ok(BlobReply::Kept(hash))
            }
            BlobCall::Get { scope, hash } => {
                let bytes = self.read_blob(&scope, hash).await?;
                Ok(BlobReply::Bytes(bytes.ok_or_else(|| Error::missing(Subject::Blob, hash, ""))?))
            }
            BlobCall::Has { scope, hash } => {
                let key = self.keys.blob(&scope, hash);
                let answer = self.send(redis::cmd("HEXISTS").arg(key).arg(BODY)).await?;
                Ok(BlobReply::Present(answer == Value::Int(1)))
            }
        }
    }

    async fn read_blob(&self, scope: &str, hash: BlobHash) -> Result<Option<Vec<u8>>> {
        let key = self.keys.blob(scope, hash);
        let answer = self.send(redis::cmd("HGET").arg(key).arg(BODY)).await?;
        let bytes = optional(answer).map_err(|Odd| self.unreadable())?;
        match bytes {
            Some(bytes) if BlobHash::of(&bytes) != hash => {
                Err(Error::corrupt(Subject::Blob, hash, "its bytes do not have its hash"))
            }
            bytes => Ok(bytes),
        }
    }

    /// Fetches the bodies that lie in blobs.
    pub(crate) async fn fill(&self, loaded: &mut Loaded) -> Result<()> {
        for chain in &mut loaded.chains {
            for (_, node) in &mut chain.nodes {
                let Some((hash, _)) = node.head.blob else { continue };
                let gone = || Error::corrupt(Subject::Blob, hash, "a value names it but it is gone");
                node.body = self.read_blob(&loaded.thread.scope, hash).await?.ok_or_else(gone)?;
            }
        }
        Ok(())
    }

    /// Keeps a graph record; one that is there stays as it is.
    pub(crate) async fn put_graph(&self, row: &GraphRow) -> Result<()> {
        let key = self.keys.graph(&row.name, row.signature);
        self.send(redis::cmd("SET").arg(key).arg(records::encode_graph(row)).arg("NX")).await.map(drop)
    }

    pub(crate) async fn graph(&self, name: &str, signature: [u8; 16]) -> Result<Option<GraphRow>> {
        let key = self.keys.graph(name, signature);
        let answer = self.send(redis::cmd("GET").arg(key)).await?;
        let stored = optional(answer).map_err(|Odd| self.unreadable())?;
        stored.map(|stored| records::graph(&stored, name, signature)).transpose()
    }
}
