//! `Replace` and `Last`: the write is the new value.

use serde::{Serialize, de::DeserializeOwned};

use crate::{change::Change, encode::EncodeError, reducer::Reducer, slot::SetSlot};

/// The write becomes the value; two writers in one step are a conflict. The reducer of fields without `#[reduce]`.
#[derive(Debug)]
pub struct Replace;

/// The write becomes the value; of several writers in one step the last in plan order wins.
#[derive(Debug)]
pub struct Last;

impl<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static> Reducer<T> for Replace {
    type Write = T;
    type Slot = SetSlot<T>;
    const NAME: &'static str = "replace";
    const NAMES_FLUSHED: bool = true;

    fn apply(value: &mut T, write: T) -> Change {
        *value = write;
        Change::Whole
    }

    fn difference(_before: &T, after: &T) -> Result<T, EncodeError> {
        Ok(after.clone())
    }

    fn is_exclusive(_write: &T) -> bool {
        true
    }
}

impl<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static> Reducer<T> for Last {
    type Write = T;
    type Slot = SetSlot<T>;
    const NAME: &'static str = "last";
    const NAMES_FLUSHED: bool = true;

    fn apply(value: &mut T, write: T) -> Change {
        *value = write;
        Change::Whole
    }

    fn difference(_before: &T, after: &T) -> Result<T, EncodeError> {
        Ok(after.clone())
    }
}
