//! How does a thread begin?
//!
//! Two objects: that of its name, which decides, and the first entry of its log, which says the same. Whoever finds the
//! first without the second writes it.

use std::sync::Arc;

use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::rows::ThreadRow;
use stepmark_core::store::{Commit, Outcome};

use crate::log::ThreadLog;
use crate::names::{self, Holder};
use crate::threads::Threads;
use crate::{delete, entry, unit};

/// How often a name may be lost to others before the call gives up.
const LOST_MAX: usize = 64;

/// Creates the thread of a commit. `None`: it was there, and its log decides about the commit.
pub(crate) async fn create(
    threads: &Threads,
    log: &Arc<ThreadLog>,
    (commit, row): (&Commit, &ThreadRow),
    now: Timestamp,
) -> Result<Option<Outcome>> {
    if log.catch_up().await? > 0 && !log.is_vacant() {
        return Ok(None);
    }
    let shared = &threads.shared;
    let key = (row.scope.as_str(), row.name.as_str());
    let mut dead = None;
    for _ in 0..LOST_MAX {
        match names::find(&shared.bucket, &shared.paths, key, dead).await? {
            Holder::Thread(born) if born.uid == commit.thread => {
                threads.born(&born).await?;
                return Ok(None);
            }
            Holder::Thread(born) => {
                let other = threads.born(&born).await?;
                if other.holds(&row.scope, &row.name) {
                    return Err(Error::exists(Subject::Thread, &row.name, "go on with the existing thread"));
                }
                delete::finish(&other).await?;
                dead = Some(born.holder);
            }
            Holder::Free(holder) => {
                log.known().fold.check_commit(&unit::light_commit(commit))?;
                let mut nonce = [0; 16];
                shared.ids.fill(&mut nonce);
                let number = log.next();
                let first = entry::encode(commit.thread, number, nonce, &unit::commit_rows(commit, None, Some(now)));
                let path = shared.paths.name(&row.scope, &row.name, holder);
                if shared.bucket.create(&path, names::encode(commit.thread, number, &first)).await? {
                    log.begin(number, &first.into()).await?;
                    return Ok(Some(Outcome::Applied));
                }
            }
        }
    }
    Err(Error::unavailable(Subject::Thread, &row.name, "others create and delete it faster than this process"))
}
