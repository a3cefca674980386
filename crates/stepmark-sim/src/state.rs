//! What do simulated graphs keep, and what do they ask?

use serde::{Deserialize, Serialize};
use stepmark::{Add, Append, Question, State};

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trail {
    /// What every node did, in order.
    #[reduce(Append)]
    pub(crate) log: Vec<String>,
    /// How often a loop came to its end.
    #[reduce(Add)]
    pub(crate) turns: u64,
    #[reduce(Add)]
    pub(crate) inputs: u64,
    /// How often a person wrote into it, beside answers.
    #[reduce(Add)]
    pub(crate) corrections: u64,
}

#[derive(Question, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[question("how many", answer = u64)]
pub(crate) struct HowMany {
    pub(crate) whom: String,
}
