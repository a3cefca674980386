//! Did everything run as often as it had to, and no more often than was promised?

use std::collections::BTreeMap;

use stepmark::Durability;

use crate::lab::Count;
use crate::process::{Answers, Manner};

type Counts = BTreeMap<String, Count>;

/// What came of a story, beside its state.
pub(crate) struct Told<'a> {
    pub(crate) manner: Manner,
    /// Of the run in peace.
    pub(crate) peace: &'a Counts,
    pub(crate) counts: Counts,
    /// How often something broke a run off.
    pub(crate) breaks: u32,
    /// How often tasks had to run again, though no process died.
    pub(crate) again: u32,
    /// How many tasks were given up, with what they had not called yet.
    pub(crate) lost: u32,
}

impl Told<'_> {
    /// What was promised and not kept.
    pub(crate) fn wrongs(&self) -> Vec<String> {
        let (mut wrongs, is_all_called) = (Vec::new(), self.lost == 0);
        for (name, peace) in self.peace {
            match self.counts.get(name) {
                None if is_all_called => wrongs.push(format!("{name} never ran")),
                None => {}
                // Of a payment a person may have said that it was done.
                Some(count) if !count.has_ended && peace.has_ended && count.kind != "payment" && is_all_called => {
                    wrongs.push(format!("{name} never came to its end"));
                }
                Some(count) => wrongs.extend(self.too_often(name, peace, count)),
            }
        }
        let strangers = self.counts.keys().filter(|name| !self.peace.contains_key(*name));
        wrongs.extend(strangers.map(|name| format!("{name} ran, and does not in peace")));
        wrongs
    }

    fn too_often(&self, name: &str, peace: &Count, count: &Count) -> Option<String> {
        let Count { kind, begun, fixed, .. } = *count;
        let is_sync = self.manner.durability == Durability::Sync;
        // An update makes tasks run again, and what they had is left behind.
        let keeps = self.manner.answers != Answers::Corrected;
        if let Some(fixed) = fixed.filter(|_| keeps && !kind.starts_with("stateless"))
            && begun > fixed
        {
            return Some(format!("{name} ran {begun} times, although it was durable after {fixed}"));
        }
        let is_counted = is_sync && keeps && kind == "broken task counted durably";
        let most = if is_counted { peace.begun } else { peace.begun * (1 + self.breaks) + self.again };
        let what = (self.breaks, peace.begun, self.again);
        (begun > most).then(|| format!("{name} ran {begun} times: breaks, in peace, again are {what:?}"))
    }
}
