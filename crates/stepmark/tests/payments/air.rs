//! When does time pass?
//!
//! The clock of a test stands still and jumps to the next timer when nothing else can happen. A request that is on its way
//! through the operating system is nothing that the runtime sees, so while one flies the clock goes on as usual: what waits
//! for ten minutes then waits, and does not find that they are over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

/// What is on its way; clones share it. That of a process of its own leaves its clock alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Air(Option<Arc<Mutex<Flights>>>);

#[derive(Debug, Default)]
struct Flights {
    begun: u64,
    flying: BTreeSet<u64>,
    /// Those that wait for something else than the operating system, and for how many things.
    aground: BTreeMap<u64, u32>,
}

/// A request on its way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Flight {
    air: Air,
    number: u64,
}

impl Air {
    /// For a runtime of one thread whose clock stands still.
    pub(crate) fn of_standing_clock() -> Self {
        Self(Some(Arc::default()))
    }

    pub(crate) fn fly(&self) -> Flight {
        let mut number = 0;
        self.change(|flights| {
            flights.begun += 1;
            number = flights.begun;
            flights.flying.insert(number);
        });
        Flight { air: self.clone(), number }
    }

    /// Waits for something that the runtime sees, on behalf of a flight.
    pub(crate) async fn aground<T>(&self, number: u64, wait: impl Future<Output = T>) -> T {
        self.change(|flights| *flights.aground.entry(number).or_default() += 1);
        let _aground = Aground(self, number);
        wait.await
    }

    fn change(&self, change: impl FnOnce(&mut Flights)) {
        let Some(flights) = &self.0 else { return };
        let mut flights = flights.lock().unwrap_or_else(PoisonError::into_inner);
        let before = flights.any();
        change(&mut flights);
        // A runtime that ends drops what still flies.
        match (before, flights.any()) {
            _ if Handle::try_current().is_err() => {}
            (false, true) => tokio::time::resume(),
            (true, false) => tokio::time::pause(),
            _ => {}
        }
    }
}

impl Flights {
    fn any(&self) -> bool {
        self.flying.iter().any(|number| !self.aground.contains_key(number))
    }
}

/// Ends a wait, also one that is given up.
struct Aground<'a>(&'a Air, u64);

impl Drop for Aground<'_> {
    fn drop(&mut self) {
        self.0.change(|flights| match flights.aground.get_mut(&self.1) {
            Some(2..) => *flights.aground.entry(self.1).or_default() -= 1,
            _ => _ = flights.aground.remove(&self.1),
        });
    }
}

impl Flight {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let number = self.number;
        self.air.change(|flights| _ = flights.flying.remove(&number));
    }
}
