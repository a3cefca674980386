//! What is a child process told to do?

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::graphs::Setup;
use crate::journal::Trap;
use crate::place::Place;

/// The argument of the child, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Orders {
    pub(crate) place: Place,
    pub(crate) work: Work,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Brings thread after thread to its end, and tells a journal.
    Drive(Drive),
    /// Sends inputs to threads that other processes send inputs to.
    Share(Share),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Drive {
    pub(crate) setup: Setup,
    pub(crate) journal: PathBuf,
    pub(crate) trap: Option<Trap>,
    /// The first thread's number.
    pub(crate) from: u32,
    /// The first number that is left out; without it there is no end.
    pub(crate) until: Option<u32>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Share {
    /// Tells the processes apart.
    pub(crate) writer: u32,
    pub(crate) threads: Vec<String>,
    /// How many inputs each thread gets.
    pub(crate) inputs: u32,
}
