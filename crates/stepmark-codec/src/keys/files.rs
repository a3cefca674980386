//! How does every thread get a key of its own, which can be destroyed?
//!
//! A directory has one small file per owner with its keys, wrapped by a master key. It is read at every call, so that what
//! another process rotated or destroyed counts at once; the calls block for as long as that takes, some microseconds.
//! Back it up apart from the store: without it nothing in the store can be read, and what was destroyed lives on in its
//! backups.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind as IoKind, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::wire::{Reader, WireError, Writer};
use zeroize::Zeroizing;

use super::master::parse_bytes;
use super::{Key, KeyOwner, KeyProvider, KeyRing, MasterKeys};
use crate::seal::Keys;

const VERSION: u8 = 1;

/// Keys in a directory, one file per thread.
#[derive(Clone, Debug)]
pub struct FileKeys {
    directory: PathBuf,
    master: MasterKeys,
}

impl FileKeys {
    /// The keys of this directory, which is made if it is not there. `master` wraps them.
    ///
    /// # Errors
    /// `Unavailable` (key): the directory cannot be made or written.
    pub fn open(directory: impl Into<PathBuf>, master: MasterKeys) -> Result<Self> {
        let keys = Self { directory: directory.into(), master };
        fs::create_dir_all(&keys.directory).map_err(|error| failed(&keys.directory, error))?;
        keys.lock()?;
        Ok(keys)
    }

    /// Gives a thread, or the store itself, a new key, and returns its epoch. What is written from now on is sealed with it.
    ///
    /// # Errors
    /// `Missing`, `Deleted`, `Unavailable` (key) as for [`KeyProvider::keys`].
    pub fn rotate(&self, owner: impl Into<KeyOwner>) -> Result<u32> {
        let owner = owner.into();
        let _lock = self.lock()?;
        let ring = self.read(owner)?.ok_or_else(|| no_key(owner))?;
        let epoch = ring.newest().saturating_add(1);
        self.write(owner, &ring.with(epoch, Key::random()?))?;
        Ok(epoch)
    }

    /// Forgets keys of epochs before this one. What they sealed cannot be read any more, so everything must have been sealed
    /// anew; kept results that they sealed are made again.
    ///
    /// # Errors
    /// `Missing`, `Deleted`, `Unavailable` (key) as for [`KeyProvider::keys`].
    pub fn forget_before(&self, owner: impl Into<KeyOwner>, epoch: u32) -> Result<()> {
        let owner = owner.into();
        let _lock = self.lock()?;
        let ring = self.read(owner)?.ok_or_else(|| no_key(owner))?;
        self.write(owner, &ring.without_before(epoch))
    }

    /// Wraps the keys of all owners anew, with the newest master key, and answers how many owners there are. Afterwards older
    /// master keys are needed no more. What is sealed stays as it is, and whoever reads or writes it goes on meanwhile, with
    /// both master keys. Repeat the call after a crash.
    ///
    /// # Errors
    /// What reading or writing a file answers; files before it are wrapped anew.
    pub fn rewrap(&self) -> Result<u64> {
        let _lock = self.lock()?;
        let mut rewrapped = 0;
        for owner in self.owners()? {
            if let Some(ring) = self.read(owner)? {
                self.write(owner, &ring)?;
                rewrapped += 1;
            }
        }
        Ok(rewrapped)
    }

    /// Who has keys here.
    fn owners(&self) -> Result<Vec<KeyOwner>> {
        let unlisted = |error| failed(&self.directory, error);
        let mut owners = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(unlisted)? {
            let name = entry.map_err(unlisted)?.file_name();
            match name.to_str().and_then(|name| name.strip_suffix(".key")) {
                Some("store") => owners.push(KeyOwner::Store),
                Some(uid) => owners.extend(parse_bytes(uid).map(|uid| KeyOwner::Thread(ThreadUid(*uid)))),
                None => {}
            }
        }
        Ok(owners)
    }

    /// Destroys a thread's keys: what is stored of it can never be read again, wherever it was copied to. The uid gets no
    /// key any more. Destroying what is destroyed succeeds.
    ///
    /// # Errors
    /// `Unavailable` (key): the directory cannot be written.
    pub fn destroy(&self, thread: ThreadUid) -> Result<()> {
        let owner = KeyOwner::Thread(thread);
        let _lock = self.lock()?;
        let (grave, path) = (self.grave(owner), self.path(owner));
        File::create(&grave).and_then(|file| file.sync_all()).map_err(|error| failed(&grave, error))?;
        self.sync()?;
        match OpenOptions::new().write(true).open(&path) {
            Ok(file) => erase(file).and_then(|()| fs::remove_file(&path)).map_err(|error| failed(&path, error))?,
            Err(error) if error.kind() == IoKind::NotFound => {}
            Err(error) => return Err(failed(&path, error)),
        }
        self.sync()
    }

    /// The keys of an owner, if it has any.
    fn read(&self, owner: KeyOwner) -> Result<Option<KeyRing>> {
        if self.grave(owner).exists() {
            return Err(Error::deleted(Subject::Key, format!("of {owner}"), "it was destroyed"));
        }
        let path = self.path(owner);
        let wrapped = match fs::read(&path) {
            Ok(wrapped) => wrapped,
            Err(error) if error.kind() == IoKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&path, error)),
        };
        let name = path.display();
        let plain = Zeroizing::new(self.wrapping(owner).open(&place(owner), &wrapped, (Subject::Key, &name))?);
        decode(&plain).map(Some).map_err(|error| stepmark_core::load::damaged(Subject::Key, &name, error))
    }

    /// Puts an owner's keys where they are found: durably, and at once.
    fn write(&self, owner: KeyOwner, ring: &KeyRing) -> Result<()> {
        let wrapped = self.wrapping(owner).seal(&place(owner), &encode(ring))?;
        let (path, new) = (self.path(owner), self.directory.join("new"));
        let written = create_private(&new)
            .and_then(|mut file| file.write_all(&wrapped).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&new, &path));
        written.map_err(|error| failed(&path, error))?;
        self.sync()
    }

    fn wrapping(&self, owner: KeyOwner) -> Keys {
        Keys::new(owner, &self.master.ring("wrapped keys"))
    }

    /// Keeps other processes from writing here until it is dropped.
    fn lock(&self) -> Result<File> {
        let path = self.directory.join("lock");
        let file = OpenOptions::new().create(true).write(true).truncate(false).open(&path);
        let locked = file.and_then(|file| file.lock().map(|()| file));
        locked.map_err(|error| failed(&path, error))
    }

    /// Makes what was renamed or removed here durable. Where a directory cannot be opened, renaming is durable by itself.
    fn sync(&self) -> Result<()> {
        match File::open(&self.directory) {
            Ok(directory) => directory.sync_all().map_err(|error| failed(&self.directory, error)),
            Err(_) => Ok(()),
        }
    }

    fn path(&self, owner: KeyOwner) -> PathBuf {
        self.directory.join(match owner {
            KeyOwner::Thread(uid) => format!("{uid}.key"),
            KeyOwner::Store => "store.key".to_owned(),
        })
    }

    fn grave(&self, owner: KeyOwner) -> PathBuf {
        self.path(owner).with_extension("destroyed")
    }
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::unavailable(Subject::Key, path.display(), "its file cannot be read or written").with_source(error)
}

fn no_key(owner: KeyOwner) -> Error {
    Error::missing(Subject::Key, format!("of {owner}"), "no key was made for it, or its file is gone")
}

/// A file that nobody else may read.
fn create_private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn erase(mut file: File) -> std::io::Result<()> {
    let length = file.metadata()?.len();
    file.write_all(&vec![0; length as usize])?;
    file.sync_all()
}

/// What a file of keys belongs to: no other owner's is taken for it.
fn place(owner: KeyOwner) -> Vec<u8> {
    format!("keys of {owner}").into_bytes()
}

fn encode(ring: &KeyRing) -> Zeroizing<Vec<u8>> {
    let mut writer = Writer::with_capacity(36 + 37 * ring.epochs().count());
    writer.u8(VERSION).raw(ring.identity().bytes()).varint(ring.epochs().count() as u64);
    for (epoch, key) in ring.epochs() {
        writer.varint(u64::from(epoch)).raw(key.bytes());
    }
    Zeroizing::new(writer.into_vec())
}

fn decode(plain: &[u8]) -> Result<KeyRing, WireError> {
    let reader = &mut Reader::new(plain);
    let version = reader.u8()?;
    if version != VERSION {
        return Err(WireError::Unknown { what: "version of keys", number: u64::from(version) });
    }
    let identity = Key::new(reader.array()?);
    let more = reader.count()?.checked_sub(1).ok_or(WireError::Truncated)?;
    let mut ring = KeyRing::new(identity, reader.varint32()?, Key::new(reader.array()?));
    for _ in 0..more {
        ring = ring.with(reader.varint32()?, Key::new(reader.array()?));
    }
    reader.finish()?;
    Ok(ring)
}

#[async_trait]
impl KeyProvider for FileKeys {
    async fn keys(&self, owner: KeyOwner) -> Result<KeyRing> {
        self.read(owner)?.ok_or_else(|| no_key(owner))
    }

    async fn make(&self, owner: KeyOwner) -> Result<KeyRing> {
        if let Some(ring) = self.read(owner)? {
            return Ok(ring);
        }
        let _lock = self.lock()?;
        if let Some(ring) = self.read(owner)? {
            return Ok(ring);
        }
        let ring = KeyRing::new(Key::random()?, 1, Key::random()?);
        self.write(owner, &ring)?;
        Ok(ring)
    }
}
