//! Can this program go on from everything that is stored?
//!
//! Before a new version of a program is let loose on a store: every branch's tip is read as `resume` would read it, and
//! what cannot be read is listed. Nothing is claimed and nothing is written.

use std::sync::Arc;

use stepmark_core::store::{Channels, CheckpointStore, Load, Loaded, NamedBranch, Place, ThreadAddress, ThreadQuery};

use crate::app::App;
use crate::decide::store_of;
use crate::error::{Error, ErrorKind, Result};
use crate::load;
use crate::run::{Host, Run};
use crate::state::State;

/// How many threads are listed at a time.
const PAGE_SIZE: u32 = 100;

/// What [`App::check_stored`] found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct StoredCheck {
    /// Threads looked at.
    pub threads: u64,
    /// Branches whose tips this program can go on from.
    pub readable: u64,
    /// Branches whose last run was another graph's, and those of plain values; they were not read.
    pub of_other_graphs: u64,
    /// Branches that this program cannot go on from.
    pub problems: Vec<StoredProblem>,
}

/// A branch that this program cannot go on from.
#[derive(Debug)]
#[non_exhaustive]
pub struct StoredProblem {
    /// The thread's name.
    pub thread: String,
    /// The branch's name, or its id where it has none.
    pub branch: String,
    /// Why: the error that `resume` would return.
    pub error: Error,
}

impl StoredCheck {
    /// Whether this program can go on from every branch of its graph.
    pub fn is_ok(&self) -> bool {
        self.problems.is_empty()
    }
}

impl<S: State> App<S> {
    /// Reads every branch's tip of every thread in the store as this program would to go on from it: state, planned
    /// nodes, stored results. Branches whose last run belongs to a graph of another name are only counted.
    ///
    /// # Errors
    /// Only what keeps the check itself from going on: the store does not answer, or a thread cannot be listed.
    pub async fn check_stored(&self) -> Result<StoredCheck> {
        let store = store_of(self.host())?;
        let mut check = StoredCheck::default();
        let mut after = None;
        loop {
            let query = ThreadQuery { scope: String::new(), after, limit: PAGE_SIZE, waiting: false };
            let page = store.threads(query).await?;
            for entry in page.threads {
                check.threads += 1;
                check_thread(self.host(), &entry.thread.name, &mut check).await;
            }
            after = page.next;
            if after.is_none() {
                return Ok(check);
            }
        }
    }
}

async fn check_thread(host: &Host, thread: &str, check: &mut StoredCheck) {
    let name = thread.to_owned();
    let address = ThreadAddress::Name { scope: String::new(), name };
    let store = match store_of(host) {
        Ok(store) => store,
        Err(error) => return check.add(thread, "", error),
    };
    let branches = match store.load(Load { branches: true, ..Load::head(address.clone()) }).await {
        Ok(loaded) => loaded.branches,
        Err(error) => return check.add(thread, "", error.into()),
    };
    for NamedBranch { row, name } in branches {
        let label = name.unwrap_or_else(|| row.id.to_string());
        let load = Load {
            place: Place::Branch(row.id),
            channels: Channels::All,
            pending: true,
            graph: true,
            ..Load::head(address.clone())
        };
        match check_branch(host, store, load).await {
            Ok(true) => check.readable += 1,
            Ok(false) => check.of_other_graphs += 1,
            Err(error) => check.add(thread, &label, error),
        }
    }
}

/// Whether the branch is this graph's; an error if it is and cannot be read.
async fn check_branch(host: &Host, store: &Arc<dyn CheckpointStore>, load: Load) -> Result<bool> {
    // Another graph's values need not be fetched to be passed over.
    let rows = store.load(Load { channels: Channels::None, pending: false, ..load.clone() }).await?;
    if rows.graph.as_ref().is_some_and(|graph| graph.name != host.program.name) {
        return Ok(false);
    }
    match read_branch(host, &store.load(load).await?) {
        Err(error) if error.kind() == ErrorKind::WrongType => Ok(false),
        read => read.map(|()| true),
    }
}

fn read_branch(host: &Host, loaded: &Loaded) -> Result<()> {
    let Some(manifest) = load::manifest(loaded)? else { return Ok(()) };
    let (line, position) = load::line(&host.program, loaded, manifest)?;
    load::results(&mut Run::new(host.clone(), position, Some(line)), loaded)
}

impl StoredCheck {
    fn add(&mut self, thread: &str, branch: &str, error: Error) {
        self.problems.push(StoredProblem { thread: thread.to_owned(), branch: branch.to_owned(), error });
    }
}
