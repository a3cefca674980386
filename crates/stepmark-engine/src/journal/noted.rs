//! Which tasks of a step have written into their journals?
//!
//! Their run takes over what they wrote whenever one of them asks something of it. It looks at these tasks then, not at all
//! that run: a step of a thousand tasks that do an effect each asks a thousand times.

use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The tasks of a step that wrote since they were taken. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Noted(Arc<Mutex<Vec<usize>>>);

/// What a task says it with.
#[derive(Clone, Debug)]
pub(crate) struct Notes {
    noted: Noted,
    task: usize,
}

impl Noted {
    /// Of a task of the step.
    pub(crate) fn of(&self, task: usize) -> Notes {
        Notes { noted: self.clone(), task }
    }

    /// The tasks that wrote since the last call.
    pub(crate) fn take(&self) -> Vec<usize> {
        take(&mut *self.tasks())
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    pub(crate) fn note(&self) {
        self.noted.tasks().push(self.task);
    }
}

#[cfg(test)]
mod tests {
    use stepmark_core::id::TaskHash;

    use super::Noted;
    use crate::journal::{Attempt, Journals};

    #[test]
    fn only_tasks_that_wrote_are_looked_at() {
        let noted = Noted::default();
        let attempts: Vec<Attempt> = (0..1000).map(|task| Attempt::new(None, Some(noted.of(task)))).collect();
        let mut looks = 0;
        for (task, attempt) in attempts.iter().enumerate() {
            attempt.next_record();
            attempt.next_record();
            let wrote = noted.take();
            assert_eq!(wrote, [task], "once, however much it wrote");
            looks += wrote.len();
            attempt.begin_taking();
        }
        assert_eq!(looks, attempts.len());
        attempts[3].next_record();
        assert_eq!(noted.take(), [3], "and again after it was taken");
    }

    #[test]
    fn only_journals_with_something_new_are_stored() {
        let mut journals = Journals::default();
        let mut looks = 0;
        for number in 0..=255 {
            journals.of_task(TaskHash([number; 16])).reserve(1);
            looks += journals.unstored().count();
            journals.set_stored();
        }
        assert_eq!((looks, journals.iter().count(), journals.unstored().count()), (256, 256, 0));
    }
}
