//! `Add`: numbers are summed.

use serde::{Deserialize, Serialize};

use crate::{change::Change, encode::EncodeError, reducer::Reducer, slot::slot_of};

/// Adds what is written to a number, for all integer and float types.
///
/// Integers stop at the ends of their type instead of wrapping: a sum that is too large is the largest value.
#[derive(Debug)]
pub struct Add;

/// A write to an [`Add`] field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddWrite<T> {
    /// Add this.
    Add(T),
    /// Forget what is there; the field becomes this.
    Overwrite(T),
}

/// The slot of [`Add`].
#[derive(Clone, Debug)]
pub struct AddSlot<T>(Option<AddWrite<T>>);

/// A type that [`Add`] can sum.
pub trait Number: Copy {
    /// The sum; integers stop at the ends of their type.
    #[must_use]
    fn plus(self, other: Self) -> Self;
}

impl<T: Number> AddSlot<T> {
    /// Adds `amount`.
    pub fn add(&mut self, amount: T) {
        self.0 = Some(match self.0.take() {
            None => AddWrite::Add(amount),
            Some(AddWrite::Add(sum)) => AddWrite::Add(sum.plus(amount)),
            Some(AddWrite::Overwrite(sum)) => AddWrite::Overwrite(sum.plus(amount)),
        });
    }

    /// Forgets what the field holds and what this slot held; the field becomes `value`. Two tasks that overwrite in one
    /// step are a conflict.
    pub fn overwrite(&mut self, value: T) {
        self.0 = Some(AddWrite::Overwrite(value));
    }
}

slot_of!([T: Clone + Send + Sync + 'static] AddSlot<T>, AddWrite<T>);

/// One impl per type and not one for all numbers, so that the message for another type is the reducer's own.
macro_rules! add_numbers {
    ($plus:expr, $minus:expr => $($number:ty),*) => {$(
        impl Number for $number {
            fn plus(self, other: Self) -> Self {
                let plus: fn(Self, Self) -> Self = $plus;
                plus(self, other)
            }
        }

        impl Reducer<$number> for Add {
            type Write = AddWrite<$number>;
            type Slot = AddSlot<$number>;
            const NAME: &'static str = "add";

            fn apply(value: &mut $number, write: Self::Write) -> Change {
                *value = match write {
                    AddWrite::Add(amount) => value.plus(amount),
                    AddWrite::Overwrite(new) => new,
                };
                Change::Whole
            }

            fn difference(before: &$number, after: &$number) -> Result<Self::Write, EncodeError> {
                let minus: fn($number, $number) -> Option<$number> = $minus;
                Ok(minus(*after, *before).map_or(AddWrite::Overwrite(*after), AddWrite::Add))
            }

            fn is_exclusive(write: &Self::Write) -> bool {
                matches!(write, AddWrite::Overwrite(_))
            }
        }
    )*};
}

add_numbers!(|a, b| a.saturating_add(b), |a, b| a.checked_sub(b) => u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);
add_numbers!(|a, b| a + b, |a, b| Some(a - b).filter(|it| it.is_finite()) => f32, f64);
