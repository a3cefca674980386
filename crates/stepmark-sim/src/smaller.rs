//! Which smaller trial fails as well?
//!
//! A drawing has a dozen features at once, and a failure needs two or three of them. One after the other is left out, as
//! long as the trial still fails; what is left shows what it is about.

use crate::drawn::{Does, Drawn, Fails, Inner, Node, Stage, Way};
use crate::process::{Answers, Manner};
use crate::trace;
use crate::trial::{Trial, Wrong};

/// How many trials are tried at most.
const TRIALS_MAX: u32 = 600;

/// The smallest trial that is found to fail, and what it fails with; `None` if none is smaller.
pub(crate) fn smaller(failing: &Trial, fails: impl Fn(&Trial) -> Option<Wrong>) -> Option<(Trial, Wrong)> {
    let (mut smallest, mut left) = (None::<(Trial, Wrong)>, TRIALS_MAX);
    let found = trace::without(|| {
        'again: loop {
            let trial = smallest.as_ref().map_or(failing, |(trial, _)| trial);
            for candidate in trial.smaller() {
                if left == 0 {
                    return smallest;
                }
                left -= 1;
                if let Some(wrong) = fails(&candidate) {
                    smallest = Some((candidate, wrong));
                    continue 'again;
                }
            }
            return smallest;
        }
    });
    // Once more, for its trace.
    found.map(|(trial, wrong)| (trial.clone(), fails(&trial).unwrap_or(wrong)))
}

impl Trial {
    fn smaller(&self) -> Vec<Self> {
        let drawn = self.drawn.smaller().into_iter().map(|drawn| Self { drawn, ..self.clone() });
        drawn.chain(self.manner.smaller().into_iter().map(|manner| Self { manner, ..self.clone() })).collect()
    }
}

impl Manner {
    fn smaller(self) -> Vec<Self> {
        let mut smaller = Vec::new();
        if self.goes {
            smaller.push(Self { goes: false, ..self });
        }
        if self.resumes {
            smaller.push(Self { resumes: false, ..self });
        }
        if self.steps_max.is_some() {
            smaller.push(Self { steps_max: None, ..self });
        }
        if self.answers != Answers::Stored {
            smaller.push(Self { answers: Answers::Stored, ..self });
        }
        smaller
    }
}

/// A list without one of its items, which is not to be empty, and with one of them smaller.
fn of_list<T: Clone>(items: &[T], of_item: impl Fn(&T) -> Vec<T>) -> Vec<Vec<T>> {
    let mut smaller = Vec::new();
    for place in 0..items.len() {
        if items.len() > 1 {
            let mut fewer = items.to_vec();
            fewer.remove(place);
            smaller.push(fewer);
        }
    }
    for (place, item) in items.iter().enumerate() {
        for item in of_item(item) {
            let mut other = items.to_vec();
            other[place] = item;
            smaller.push(other);
        }
    }
    smaller
}

impl Drawn {
    fn smaller(&self) -> Vec<Self> {
        let mut smaller: Vec<Self> =
            of_list(&self.stages, Stage::smaller).into_iter().map(|stages| Self { stages, ..self.clone() }).collect();
        if self.turns > 1 {
            smaller.push(Self { turns: 1, ..self.clone() });
        }
        if self.width_max.is_some() {
            smaller.push(Self { width_max: None, ..self.clone() });
        }
        smaller
    }
}

impl Stage {
    fn smaller(&self) -> Vec<Self> {
        let ways = self.way.smaller().into_iter().map(|way| Self { way, ..self.clone() });
        let unstopped = self.stop.map(|_| Self { stop: None, ..self.clone() });
        ways.chain(unstopped).collect()
    }
}

impl Way {
    fn smaller(&self) -> Vec<Self> {
        let alone = |node: &Node| Self::Beside(vec![node.clone()]);
        match self {
            Self::Beside(nodes) => of_list(nodes, Node::smaller).into_iter().map(Self::Beside).collect(),
            Self::Sent { count, node, is_deferred } => {
                let sent = |count, node, is_deferred| Self::Sent { count, node, is_deferred };
                let mut smaller = vec![alone(node)];
                smaller.extend((*count > 1).then(|| sent(1, node.clone(), *is_deferred)));
                smaller.extend(is_deferred.then(|| sent(*count, node.clone(), false)));
                smaller.extend(node.smaller().into_iter().map(|node| sent(*count, node, *is_deferred)));
                smaller
            }
            Self::Chosen(nodes) => {
                let chosen = of_list(nodes, Node::smaller).into_iter().filter_map(|nodes| nodes.try_into().ok());
                nodes.iter().map(alone).chain(chosen.map(Self::Chosen)).collect()
            }
            Self::Ladder(chains) => {
                let chains = of_list(chains, |chain| of_list(chain, Node::smaller));
                chains.into_iter().map(Self::Ladder).collect()
            }
            Self::Told { inner, is_called, nodes } => {
                let told = |inner, nodes| Self::Told { inner, is_called: *is_called, nodes };
                let inners = inner.smaller().into_iter().map(|inner| told(inner, nodes.clone()));
                let others = of_list(nodes, Node::smaller).into_iter().filter_map(|nodes| nodes.try_into().ok());
                let others = others.map(|nodes| told(inner.clone(), nodes));
                nodes.iter().map(alone).chain(inners).chain(others).collect()
            }
        }
    }
}

impl Node {
    fn smaller(&self) -> Vec<Self> {
        let mut smaller = Vec::new();
        if !matches!(self.does, Does::Write) {
            smaller.push(Self { does: Does::Write, ..self.clone() });
        }
        if self.fails != Fails::Never {
            smaller.push(Self { fails: Fails::Never, ..self.clone() });
        }
        if self.slots.is_some() {
            smaller.push(Self { slots: None, ..self.clone() });
        }
        smaller.extend(self.does.smaller().into_iter().map(|does| Self { does, ..self.clone() }));
        smaller
    }
}

impl Does {
    fn smaller(&self) -> Vec<Self> {
        let fewer = |count: u32| (count > 1).then_some(1);
        match self {
            Self::Write | Self::Race | Self::Pay { .. } => Vec::new(),
            Self::Steps(count) => fewer(*count).map(Self::Steps).into_iter().collect(),
            Self::Ask(count) => fewer(*count).map(Self::Ask).into_iter().collect(),
            Self::Graph(inner) => inner.smaller().into_iter().map(Self::Graph).collect(),
            Self::Calls(times, inner) => {
                let less = fewer(*times).map(|times| Self::Calls(times, inner.clone()));
                less.into_iter().chain(inner.smaller().into_iter().map(|inner| Self::Calls(*times, inner))).collect()
            }
            Self::CallsAtOnce(times, inner) => {
                inner.smaller().into_iter().map(|inner| Self::CallsAtOnce(*times, inner)).collect()
            }
        }
    }
}

impl Inner {
    fn smaller(&self) -> Vec<Self> {
        let graphs = self.graph.smaller().into_iter();
        graphs.map(|graph| Self { graph: Box::new(graph), lives: self.lives }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_brought_down_to_what_it_needs() {
        let races = |trial: &Trial| {
            let is_there = format!("{:?}", trial.drawn).contains("Race");
            is_there.then(|| Wrong { what: "it races".into(), log: String::new() })
        };
        let failing = (0..1_000).map(Trial::by).find(|trial| races(trial).is_some() && trial.drawn.stages.len() > 1);
        let (smallest, wrong) = smaller(&failing.expect("some race"), races).expect("there is a smaller one");
        assert_eq!((wrong.what.as_str(), smallest.smaller().iter().filter_map(races).count()), ("it races", 0));
        assert_eq!((smallest.drawn.stages.len(), smallest.drawn.turns), (1, 1));
    }

    #[test]
    fn what_needs_everything_has_nothing_smaller() {
        let failing = Trial::by(1);
        let all = format!("{:?} {:?}", failing.drawn, failing.manner);
        let fails = |trial: &Trial| {
            let is_whole = format!("{:?} {:?}", trial.drawn, trial.manner) == all;
            is_whole.then(|| Wrong { what: String::new(), log: String::new() })
        };
        assert!(smaller(&failing, fails).is_none());
    }
}
