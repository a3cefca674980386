//! What became of a run whose id its caller names again?

use stepmark_core::error::{ErrorKind as StoreKind, Subject};
use stepmark_core::id::RunId;
use stepmark_core::rows::{BranchRow, RunRow, RunStatus};
use stepmark_core::store::{Channels, Load, Loaded, Place};

use super::Request;
use crate::decide::store_of;
use crate::error::{Error, ErrorKind, Result};
use crate::outcome::{Ending, Outcome, Stats};
use crate::questions::questions_of;
use crate::state::State;
use crate::{exit, load};

/// What became of a run.
pub(crate) enum Earlier<S> {
    /// It never began.
    None,
    /// Its record is all that there is of it.
    GivenUp,
    Ended(Outcome<S>),
}

impl<S: State> Request<'_, S> {
    /// What became of the run that has this id already.
    pub(crate) async fn earlier_run(&self, id: &RunId, input_hash: [u8; 16]) -> Result<Earlier<S>> {
        let thread = self.thread;
        let store = store_of(&thread.host)?;
        let load = Load { run: Some(id.clone()), ..thread.request_of(Place::Head) };
        let loaded = match store.load(load).await {
            Err(error) if error.is(StoreKind::Missing, Subject::Thread) => return Ok(Earlier::None),
            loaded => loaded?,
        };
        let Some(row) = loaded.run else { return Ok(Earlier::None) };
        if row.input_hash != input_hash {
            let message = format!("run {id} of thread {:?} had another input or verb", thread.name);
            return Err(Error::new(ErrorKind::RunIdReused, message));
        }
        let ending = match row.status {
            RunStatus::Done => Ending::Done,
            RunStatus::OutOfSteps => Ending::OutOfSteps,
            RunStatus::Interrupted => Ending::Interrupted,
            RunStatus::Open => {
                if self.is_given_up(&row, loaded.branch.row).await? {
                    return Ok(Earlier::GivenUp);
                }
                let message = format!("run {id} of thread {:?} is open; resume takes it over", thread.name);
                return Err(Error::new(ErrorKind::RunActive, message));
            }
            RunStatus::Cancelled => {
                let message = format!("run {id} of thread {:?} was discarded; give the input another id", thread.name);
                return Err(Error::new(ErrorKind::RunIdReused, message));
            }
            RunStatus::Failed | RunStatus::Drained => {
                let message = format!("run {id} of thread {:?} ended {}", thread.name, row.status.as_str());
                return Err(Error::new(ErrorKind::Unfinished, message));
            }
        };
        let last = row.last.ok_or_else(|| Error::unreadable(Subject::Run, id, "it ended without a checkpoint"))?;
        let place = Place::Checkpoint(last.id.clone());
        let loaded = store.load(Load { channels: Channels::All, ..thread.request_of(place) }).await?;
        let mut outcome = self.outcome_of(&loaded, ending)?;
        if ending == Ending::Interrupted {
            outcome.questions = thread.questions_at(row.branch, &last.id).await?;
        }
        Ok(Earlier::Ended(outcome))
    }

    /// Whether an open run has no stored input and can never have one. `head` is what was loaded with the run.
    async fn is_given_up(&self, run: &RunRow, head: BranchRow) -> Result<bool> {
        if head.id == run.branch {
            return Ok(exit::is_given_up(run, &head));
        }
        let load = self.thread.request_of(Place::Branch(run.branch));
        Ok(exit::is_given_up(run, &store_of(&self.thread.host)?.load(load).await?.branch.row))
    }

    /// An outcome that was read, not run.
    pub(crate) fn outcome_of(&self, loaded: &Loaded, ending: Ending) -> Result<Outcome<S>> {
        let program = &self.thread.host.program;
        let manifest = load::manifest(loaded)?;
        let state = match &manifest {
            Some(manifest) => load::state(program, manifest, &load::Chains::of(loaded))?,
            None => program.schema.initial(),
        };
        let mut outcome = Outcome::new(ending, state, Stats::default())?;
        if ending == Ending::Interrupted {
            outcome.questions = questions_of(loaded)?;
        }
        outcome.run = manifest.map(|manifest| manifest.run);
        outcome.branch = Some(loaded.branch.name.clone().unwrap_or_else(|| loaded.branch.row.id.to_string()));
        outcome.checkpoint = loaded.checkpoint.as_ref().map(|row| row.id.clone());
        Ok(outcome)
    }
}
