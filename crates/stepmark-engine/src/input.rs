//! What may begin a run?
//!
//! Writes to the channels that are not private: by a closure, or by a type of its own that says which.

use stepmark_core::error::Subject;

use crate::error::Result;
use crate::state::{State, StateUpdate};

/// A type that runs of a graph take as input, where a closure would say too little: what callers must give, with its types.
pub trait Input<S: State> {
    /// Writes the input's values.
    fn write(self, update: &mut S::Update);
}

/// Refuses input that writes what nodes alone may write.
pub(crate) fn check_input<S: State>(update: &S::Update) -> Result<()> {
    let mut refused = None;
    update.writes(&mut |channel, _| {
        refused = refused.or(S::channels().get(channel).filter(|spec| spec.is_private));
    });
    let Some(spec) = refused else { return Ok(()) };
    let reason = format!("channel {:?} of {} is private: nodes write it, input does not", spec.name, S::NAME);
    Err(stepmark_core::error::Error::invalid(Subject::Channel, spec.name, reason).into())
}
