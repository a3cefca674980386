//! Where do threads go before they are deleted?

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use stepmark_core::rows::ThreadRow;
use stepmark_core::store::{CheckpointStore, ThreadAddress};

use crate::error::{Error, Result};
use crate::{export, import};

/// Keeps files of threads. A thread is deleted when [`keep`](Self::keep) has returned, and not before.
#[async_trait]
pub trait Archive: fmt::Debug + Send + Sync {
    /// Keeps the file of a thread. When it returns, the file is stored for good and what is read there are these bytes.
    ///
    /// # Errors
    /// Whatever speaks against it: the thread is not deleted then.
    async fn keep(&self, thread: &ThreadRow, file: &[u8]) -> Result<()>;
}

/// Keeps each thread as a file of its own, `{uid}.stepmark`.
#[derive(Clone, Debug)]
pub struct ArchiveFolder(pub PathBuf);

#[async_trait]
impl Archive for ArchiveFolder {
    async fn keep(&self, thread: &ThreadRow, file: &[u8]) -> Result<()> {
        let path = self.0.join(format!("{}.stepmark", thread.uid));
        let (unfinished, mut out) = unfinished(&path)?;
        out.write_all(file)?;
        out.sync_all()?;
        drop(out);
        if std::fs::read(&unfinished)? != file {
            return Err(Error::Io(std::io::Error::other("the archive reads back other bytes than were written")));
        }
        std::fs::rename(&unfinished, &path)?;
        // A name is there for good once its directory is.
        File::open(&self.0)?.sync_all()?;
        Ok(())
    }
}

/// A file that nobody else writes: several sweepers may archive a thread at once. What a crash leaves of one stays.
fn unfinished(path: &Path) -> std::io::Result<(PathBuf, File)> {
    for number in 0_u32.. {
        let unfinished = path.with_extension(format!("unfinished-{number}"));
        match File::create_new(&unfinished) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            created => return Ok((unfinished, created?)),
        }
    }
    Err(std::io::Error::other("the folder is full of unfinished files"))
}

/// Keeps threads in another store.
#[derive(Clone, Debug)]
pub struct ArchiveStore(pub Arc<dyn CheckpointStore>);

#[async_trait]
impl Archive for ArchiveStore {
    async fn keep(&self, thread: &ThreadRow, file: &[u8]) -> Result<()> {
        import(&mut &file[..], &*self.0, &mut |_, _| {}).await?;
        let mut there = Vec::new();
        export(&*self.0, &[ThreadAddress::Uid(thread.uid)], &mut there, &mut |_, _| {}).await?;
        if there == file {
            return Ok(());
        }
        Err(Error::Io(std::io::Error::other("the archive has another thread of this uid")))
    }
}
