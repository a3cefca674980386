//! Where do the ids of a repeated run come from?

use std::sync::Mutex;

use stepmark::clock::IdGen;

/// Random bytes that a seed decides, shared by all processes of a trial.
#[derive(Debug)]
pub struct Ids(Mutex<fastrand::Rng>);

impl Ids {
    /// Those of a seed.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(fastrand::Rng::with_seed(seed)))
    }
}

impl IdGen for Ids {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().expect("nobody panics with it").fill(bytes);
    }
}
