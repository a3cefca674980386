//! Which threads does this process know, and how is one found?

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::store::ThreadAddress;

use crate::log::{Shared, ThreadLog};
use crate::names::{self, Born, Holder};

/// How many threads are kept folded; those that were not asked for longest are read again.
const THREADS_MAX: usize = 1024;
/// How many names are remembered.
const NAMES_MAX: usize = 8192;

/// The threads of a store.
#[derive(Debug)]
pub(crate) struct Threads {
    pub(crate) shared: Arc<Shared>,
    // A std mutex: held for a look-up, never across an await.
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    logs: HashMap<ThreadUid, (u64, Arc<ThreadLog>)>,
    names: HashMap<(String, String), ThreadUid>,
    /// Counts look-ups.
    looks: u64,
}

impl Threads {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread's log, whether there is one or not.
    pub(crate) fn log(&self, uid: ThreadUid) -> Arc<ThreadLog> {
        let mut open = self.open();
        open.looks += 1;
        let now = open.looks;
        if !open.logs.contains_key(&uid) && open.logs.len() >= THREADS_MAX {
            let oldest = open.logs.iter().min_by_key(|(_, (looked_at, _))| *looked_at).map(|(uid, _)| *uid);
            oldest.map(|uid| open.logs.remove(&uid));
        }
        let fresh = || (now, Arc::new(ThreadLog::new(uid, Arc::clone(&self.shared))));
        let (looked_at, log) = open.logs.entry(uid).or_insert_with(fresh);
        *looked_at = now;
        Arc::clone(log)
    }

    /// The thread at an address, with all that was acknowledged before the call.
    pub(crate) async fn find(&self, address: &ThreadAddress) -> Result<Arc<ThreadLog>> {
        match address {
            ThreadAddress::Uid(uid) => {
                let log = self.log(*uid);
                log.catch_up().await?;
                if log.is_there() { Ok(log) } else { Err(log.known().fold.missing()) }
            }
            ThreadAddress::Name { scope, name } => {
                let found = self.find_named(scope, name).await?;
                found.ok_or_else(|| Error::missing(Subject::Thread, name, ""))
            }
        }
    }

    async fn find_named(&self, scope: &str, name: &str) -> Result<Option<Arc<ThreadLog>>> {
        let key = (scope.to_owned(), name.to_owned());
        let remembered = self.open().names.get(&key).copied();
        if let Some(uid) = remembered {
            let log = self.log(uid);
            log.catch_up().await?;
            // As long as it is there nobody else can have the name.
            if log.is_there() && log.holds(scope, name) {
                return Ok(Some(log));
            }
            self.open().names.remove(&key);
        }
        let mut dead = None;
        while let Holder::Thread(born) =
            names::find(&self.shared.bucket, &self.shared.paths, (scope, name), dead).await?
        {
            let log = self.born(&born).await?;
            if log.is_there() && log.holds(scope, name) {
                let mut open = self.open();
                if open.names.len() >= NAMES_MAX {
                    open.names.clear();
                }
                open.names.insert(key, born.uid);
                return Ok(Some(log));
            }
            dead = Some(born.holder);
        }
        Ok(None)
    }

    /// The log of a thread that a name leads to; it is begun if its creator did not come to that.
    pub(crate) async fn born(&self, born: &Born) -> Result<Arc<ThreadLog>> {
        let log = self.log(born.uid);
        if log.catch_up().await? <= born.number && log.is_vacant() {
            log.begin(born.number, &born.entry).await?;
            log.catch_up().await?;
        }
        Ok(log)
    }
}
