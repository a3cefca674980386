//! Where do the ids of a repeated run come from?

use std::sync::Mutex;

use stepmark::clock::IdGen;

/// Random bytes that a seed decides, shared by all processes of a trial.
#[derive(Debug)]
pub(crate) struct Ids(Mutex<fastrand::Rng>);

impl Ids {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(fastrand::Rng::with_seed(seed)))
    }
}

impl IdGen for Ids {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().expect("nobody panics with it").fill(bytes);
    }
}
