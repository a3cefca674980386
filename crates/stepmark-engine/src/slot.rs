//! What can a node do to one field of an update?
//!
//! The reducer of a field picks its slot, and the slot's methods are the writes that exist: a slot without `set` cannot
//! be set.

/// One field of an update: nothing, or one write.
///
/// Several calls on a slot are merged into one write as they are made.
pub trait Slot<W>: Default + Clone + Send + Sync + 'static {
    /// The write, if there is one.
    fn pending(&self) -> Option<&W>;

    /// The write, if there is one.
    fn take(self) -> Option<W>;

    /// The slot holds exactly `write` afterwards.
    fn put(&mut self, write: W);
}

/// The slot of `Replace` and `Last`.
#[derive(Clone, Debug)]
pub struct SetSlot<T>(Option<T>);

impl<T> SetSlot<T> {
    /// The field becomes `value`.
    pub fn set(&mut self, value: T) {
        self.0 = Some(value);
    }
}

/// The slot of a custom reducer whose write is a list: everything that was pushed, in order.
#[derive(Clone, Debug)]
pub struct PushSlot<W>(Option<Vec<W>>);

impl<W> PushSlot<W> {
    /// Adds one item to the write.
    pub fn push(&mut self, item: W) {
        self.0.get_or_insert_default().push(item);
    }

    /// Adds items to the write. No items, no write.
    pub fn extend(&mut self, items: impl IntoIterator<Item = W>) {
        items.into_iter().for_each(|item| self.push(item));
    }
}

/// Implements `Slot` and `Default` for a tuple struct around `Option<$write>`.
macro_rules! slot_of {
    ([$($generics:tt)*] $slot:ty, $write:ty) => {
        impl<$($generics)*> Default for $slot {
            fn default() -> Self {
                Self(None)
            }
        }

        impl<$($generics)*> $crate::slot::Slot<$write> for $slot {
            fn pending(&self) -> Option<&$write> {
                self.0.as_ref()
            }

            fn take(self) -> Option<$write> {
                self.0
            }

            fn put(&mut self, write: $write) {
                self.0 = Some(write);
            }
        }
    };
}
pub(crate) use slot_of;

slot_of!([T: Clone + Send + Sync + 'static] SetSlot<T>, T);
slot_of!([W: Clone + Send + Sync + 'static] PushSlot<W>, Vec<W>);
