//! How do items of the model leave their store and come back?

use stepmark_core::capability::{Item, ItemsQuery, Namespace};
use stepmark_core::error::{ErrorKind, Result, Subject};
use stepmark_core::store::Outcome;

use super::{Kept, World};

/// Items as a page had them, with what the model knew of each.
pub(super) type Taken = Vec<(Item, Kept)>;

impl World {
    /// Takes what lies below a namespace, as it is stored.
    pub(super) async fn take(&mut self, prefix: Namespace) {
        let query = ItemsQuery { prefix: prefix.clone(), limit: 1000, ..ItemsQuery::default() };
        let page = self.items().page(query).await.expect("a store shows its items");
        let mut expected: Vec<Kept> =
            self.kept.iter().filter(|kept| kept.key.namespace.starts_with(&prefix)).cloned().collect();
        expected.sort_by(|one, other| one.key.cmp(&other.key));
        let items: Vec<Item> = page.items.into_iter().collect::<Result<_>>().expect("nothing is damaged");
        assert_eq!(items.len(), expected.len(), "{prefix}");
        for (item, kept) in items.iter().zip(&expected) {
            assert_eq!((&item.key, item.stamp), (&kept.key, kept.stamp));
        }
        self.taken.push(items.into_iter().zip(expected).collect());
    }

    /// Brings back what was taken before.
    pub(super) async fn bring_back(&mut self, number: u8) {
        let Some(taken) = self.taken.get(number as usize % self.taken.len().max(1)).cloned() else { return };
        let answer = self.items().restore(taken.iter().map(|(item, _)| item.clone()).collect()).await;
        let version_of = |kept: &Kept| self.kept.iter().find(|own| own.key == kept.key).map(|own| own.stamp.version);
        let is_other = |kept: &Kept| version_of(kept).is_some_and(|version| version != kept.stamp.version);
        if taken.iter().any(|(_, kept)| is_other(kept)) {
            return assert!(answer.is_err_and(|error| error.is(ErrorKind::Exists, Subject::Item)), "{taken:?}");
        }
        let missing: Vec<Kept> =
            taken.into_iter().map(|(_, kept)| kept).filter(|kept| version_of(kept).is_none()).collect();
        let expected = if missing.is_empty() { Outcome::Repeated } else { Outcome::Applied };
        assert_eq!(answer.expect("nothing else is there"), expected);
        self.kept.extend(missing);
    }
}
