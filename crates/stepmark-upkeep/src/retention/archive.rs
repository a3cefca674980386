//! Where do threads go before they are deleted, and how do they come back?
//!
//! An archive keeps the file of a thread as it was at a time, and every later one beside it: a thread that went on after it
//! was archived, or another one that has its name by now, takes nothing from what is there. The newest file of a thread is
//! what it was in the end.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{Error as StoreError, ErrorKind, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::rows::ThreadRow;
use stepmark_core::store::CheckpointStore;

use crate::copy_thread::{Original, bring_anew, is_there};
use crate::error::{Error, Result};
use crate::file::FileReader;
use crate::frame::Frame;
use crate::import;

/// Digits of a time, so that times sort as text.
const TIME_DIGITS: usize = 20;

/// A thread as it was archived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    /// The thread.
    pub thread: ThreadRow,
    /// When it was looked at, by the time of its store.
    pub as_of: Timestamp,
}

/// Keeps files of threads. A thread is deleted when [`keep`](Self::keep) has returned, and not before.
#[async_trait]
pub trait Archive: fmt::Debug + Send + Sync {
    /// Keeps the file of a thread, beside those that are kept of it from other times. When it returns, the file is stored for
    /// good and what is read there are these bytes. Of a thread that has not changed since its newest file nothing is added.
    ///
    /// # Errors
    /// Whatever speaks against it: the thread is not deleted then.
    async fn keep(&self, archived: &Archived, file: &[u8]) -> Result<()>;

    /// What is kept of threads of a scope; of each thread the newest comes last.
    async fn list(&self, scope: &str) -> Result<Vec<Archived>>;

    /// The file of a thread as it was then.
    ///
    /// # Errors
    /// [`Error::Store`]: `Missing` (thread): there is none.
    async fn read(&self, archived: &Archived) -> Result<Vec<u8>>;
}

/// Brings a thread back as it was when it was archived last, under its name, and answers its uid. Versions before the last one
/// come back by [`import`]: [`Archive::list`] names them, [`Archive::read`] has their files.
///
/// Where the store never had the thread, it has its uid again, and the call is an import. Where it was deleted from the store
/// its uid is refused for ever, so that nothing late reaches it; then it comes back as a new thread with another uid, as a copy
/// does (see [`copy_thread`](crate::copy_thread)): history, branches, tags, runs, unfinished tasks, sub-graphs and attributes
/// are as they were; questions have new ids, and are answered as before; actions are known by the keys that they were done
/// under; a sealed thread is opened with its old key and sealed with one of its own.
///
/// Nobody sees it before all of it is there. The call may be repeated, after a crash too: it goes on, and a version that was
/// brought back before is found again by the same uid, whatever became of it since.
///
/// # Errors
/// [`Error::Store`]: `Missing` (thread): the archive has none of this uid. `Exists` (thread): its name is another thread's by
/// now, and [`unarchive_as`] gives it another one; or the thread was not deleted, and is no longer as it was archived. `Unsupported`: it is sealed, was deleted here, and this store has no keys: give
/// the one that opens it. `Missing`, `Deleted` (key): its key is not there. Else those of [`import`].
pub async fn unarchive(
    archive: &dyn Archive,
    (scope, thread): (&str, ThreadUid),
    store: &dyn CheckpointStore,
) -> Result<ThreadUid> {
    let (archived, file) = newest(archive, (scope, thread)).await?;
    let back = match import(&mut &file[..], store, &mut |_, _| {}).await {
        Err(Error::Store(error)) if error.is(ErrorKind::Deleted, Subject::Thread) => {
            bring_anew(store, Original::Archived(&file, archived.as_of), None).await
        }
        Err(Error::Store(error)) if error.kind() == ErrorKind::Exists => {
            let reason = "it was not deleted here, and is no longer as it was archived";
            let moved = is_there(store, thread).await?;
            Err(if moved { StoreError::exists(Subject::Thread, thread, reason).with_source(error) } else { error }
                .into())
        }
        imported => imported.map(|_| thread),
    };
    match back {
        Err(Error::Store(error)) => Err(named(error, &archived.thread.name)),
        back => back,
    }
}

/// The same error; one that says only that a name is taken says what can be done.
fn named(error: StoreError, name: &str) -> Error {
    if !error.is(ErrorKind::Exists, Subject::Thread) || error.id() != name {
        return error.into();
    }
    let reason = "another thread has its name by now; bring it back under another one (`unarchive_as`)";
    StoreError::exists(Subject::Thread, name, reason).with_source(error).into()
}

/// The same under another name, always as a new thread with another uid.
///
/// # Errors
/// Those of [`unarchive`]. `Exists` (thread): this name is taken, too.
pub async fn unarchive_as(
    archive: &dyn Archive,
    (scope, thread): (&str, ThreadUid),
    (store, name): (&dyn CheckpointStore, &str),
) -> Result<ThreadUid> {
    let (archived, file) = newest(archive, (scope, thread)).await?;
    bring_anew(store, Original::Archived(&file, archived.as_of), Some(name)).await
}

/// What an archive has last of a thread.
async fn newest(archive: &dyn Archive, (scope, thread): (&str, ThreadUid)) -> Result<(Archived, Vec<u8>)> {
    let newest = archive.list(scope).await?.into_iter().rfind(|archived| archived.thread.uid == thread);
    let missing = || StoreError::missing(Subject::Thread, thread, "the archive has none of this uid in this scope");
    let newest = newest.ok_or_else(missing)?;
    let file = archive.read(&newest).await?;
    Ok((newest, file))
}

impl Archived {
    /// What its file is called: times of one thread sort as text.
    pub(super) fn name(&self) -> String {
        format!("{}-{:0TIME_DIGITS$}", self.thread.uid, self.as_of.max(0))
    }

    /// The row of the thread that a file is about.
    pub(super) fn of_file(file: &mut (dyn std::io::Read + Send), as_of: Timestamp) -> Result<Self> {
        let mut file = FileReader::begin(file)?;
        match file.next()? {
            Frame::Thread(thread, _) => Ok(Self { thread, as_of }),
            _ => Err(file.damaged("it does not begin with a thread")),
        }
    }
}

/// The time in a name.
pub(super) fn time_of(name: &str) -> Option<Timestamp> {
    name.rsplit_once('-')?.1.parse().ok()
}

pub(super) fn sort(all: &mut [Archived]) {
    all.sort_by_key(|archived| (archived.thread.uid, archived.as_of));
}

/// Keeps threads as files of their own, `{uid}-{time}.stepmark`, with the time in microseconds since 1970 and 20 digits.
#[derive(Clone, Debug)]
pub struct ArchiveFolder(pub PathBuf);

impl ArchiveFolder {
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.stepmark"))
    }

    /// The names of files.
    fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.0)? {
            let name = entry?.file_name().into_string().unwrap_or_default();
            names.extend(name.strip_suffix(".stepmark").map(str::to_owned));
        }
        names.sort_unstable();
        Ok(names)
    }
}

#[async_trait]
impl Archive for ArchiveFolder {
    async fn keep(&self, archived: &Archived, file: &[u8]) -> Result<()> {
        let uid = archived.thread.uid.to_string();
        let newest = self.names()?.into_iter().rfind(|name| name.starts_with(&uid));
        if newest.map(|newest| std::fs::read(self.path(&newest))).transpose()?.is_some_and(|newest| newest == file) {
            return Ok(());
        }
        let path = self.path(&archived.name());
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

    async fn list(&self, scope: &str) -> Result<Vec<Archived>> {
        let mut found = Vec::new();
        for name in self.names()? {
            let Some(as_of) = time_of(&name) else { continue };
            found.push(Archived::of_file(&mut File::open(self.path(&name))?, as_of)?);
        }
        found.retain(|archived| archived.thread.scope == scope);
        sort(&mut found);
        Ok(found)
    }

    async fn read(&self, archived: &Archived) -> Result<Vec<u8>> {
        match std::fs::read(self.path(&archived.name())) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(missing(archived)),
            read => Ok(read?),
        }
    }
}

pub(super) fn missing(archived: &Archived) -> Error {
    StoreError::missing(Subject::Thread, archived.name(), "the archive has no such file").into()
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
