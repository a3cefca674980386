//! How does a caller go on with a run that failed?

use crate::error::{Error, ErrorKind, Result};
use crate::outcome::Outcome;
use crate::request::Request;
use crate::retry::Backoff;
use crate::state::State;
use crate::thread::{BranchPlace, Thread};

/// How often a call resumes its run when it failed.
pub(crate) struct Resumes {
    max: u32,
    backoff: Backoff,
}

impl<S: State> Request<'_, S> {
    /// When a node has failed, waits as `backoff` says and resumes, at most `resumes` times: finished siblings keep their
    /// results, and the nodes that failed have all attempts again that their policies allow. A duration is a pause that
    /// stays the same.
    ///
    /// Not for an error that is [`fatal`](crate::NodeError::fatal), nor for any that is no failure of a node, nor once the
    /// application drains. The branch is not held meanwhile: if somebody else took it over, the resume goes on from there.
    /// [`Outcome::stats`] are those of the last resume.
    #[must_use]
    pub fn resume_up_to(mut self, resumes: u32, backoff: impl Into<Backoff>) -> Self {
        self.resumes = Some(Box::new(Resumes { max: resumes, backoff: backoff.into() }));
        self
    }

    /// Resumes the run that ended with `error`, until it does not fail or may not be resumed again.
    pub(crate) async fn resume_failed(&self, mut error: Error) -> Result<Outcome<S>> {
        let (host, resumes) = (&self.thread.host, self.resumes.as_deref());
        let Some(Resumes { max, backoff }) = resumes else { return Err(error) };
        for resume in 1..=*max {
            let Some(thread) = self.failed_on(&error) else { break };
            let pause = host.clock.sleep(backoff.pause_after(resume, &*host.ids));
            if host.drain.unless_asked(pause).await.is_none() {
                break;
            }
            let mut resident = thread.resident.lock().await;
            match self.resuming(&thread).resume(&mut resident).await {
                Err(again) => error = again,
                outcome => return outcome,
            }
        }
        Err(error)
    }

    /// The branch on which a node failed, where resuming may help.
    fn failed_on(&self, error: &Error) -> Option<Thread<S>> {
        let (place, failure) = (error.place()?, error.failure()?);
        let may_help = error.kind() == ErrorKind::NodeFailed && !failure.error.is_fatal();
        may_help.then(|| self.thread.same_place().on(BranchPlace::Named(place.branch.clone())))
    }
}
