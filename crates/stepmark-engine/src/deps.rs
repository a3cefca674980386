//! Which values can nodes ask for by their type?
//!
//! The resources of an application, and what a run was given as its context.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    fmt,
    sync::Arc,
};

/// Values, one per type: the resources of an application (clients, pools, configuration), the context of a run.
#[derive(Clone, Default)]
pub struct Deps {
    by_type: HashMap<TypeId, Provided>,
}

#[derive(Clone)]
struct Provided {
    type_name: &'static str,
    value: Arc<dyn Any + Send + Sync>,
}

impl Deps {
    /// Nothing provided.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nodes get `value` through `Dep<T>` from now on, in place of an earlier `T`.
    pub fn insert<T: Send + Sync + 'static>(&mut self, value: T) {
        let provided = Provided { type_name: std::any::type_name::<T>(), value: Arc::new(value) };
        self.by_type.insert(TypeId::of::<T>(), provided);
    }

    /// Adds to values that others may share; they keep what they have.
    pub(crate) fn insert_shared<T: Send + Sync + 'static>(shared: &mut Option<Arc<Self>>, value: T) {
        Arc::make_mut(shared.get_or_insert_default()).insert(value);
    }

    /// `upper` where it has a resource, else `lower`.
    pub(crate) fn over(upper: &Arc<Self>, lower: &Arc<Self>) -> Arc<Self> {
        if upper.by_type.is_empty() {
            return Arc::clone(lower);
        }
        let mut both = Self::clone(lower);
        both.by_type.extend(upper.by_type.iter().map(|(id, provided)| (*id, provided.clone())));
        Arc::new(both)
    }

    /// The `T` that was provided.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.by_type.get(&TypeId::of::<T>())?.value.clone().downcast().ok()
    }
}

impl fmt::Debug for Deps {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<_> = self.by_type.values().map(|provided| provided.type_name).collect();
        names.sort_unstable();
        formatter.debug_tuple("Deps").field(&names).finish()
    }
}
