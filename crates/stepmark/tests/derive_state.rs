//! What does `#[derive(State)]` give?

use std::collections::{BTreeSet, HashSet, VecDeque};

use serde::{Deserialize, Serialize};
use stepmark::{Append, Goto, Last, State, Update};
use stepmark_engine::{Body, Change, Changes, Entries, IntoNodeOutput, Keep, PushSlot, Reducer, Shape, StateUpdate};

/// Has no `Debug` and no `PartialEq`, like many types of other crates.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Opaque {
    inner: u8,
}

struct Max;

impl Reducer<u64> for Max {
    type Write = Vec<u64>;
    type Slot = PushSlot<u64>;
    const NAME: &'static str = "max";

    fn apply(value: &mut u64, write: Vec<u64>) -> Change {
        *value = write.into_iter().fold(*value, u64::max);
        Change::Whole
    }
}

#[derive(State, Clone, Default)]
#[state(version = 3)]
struct Report {
    topic: String,
    #[reduce(Append)]
    docs: Vec<(u32, String)>,
    #[reduce(Append)]
    log: String,
    #[reduce(Append)]
    seen: HashSet<u16>,
    #[reduce(Append)]
    queue: VecDeque<u8>,
    #[reduce(Last)]
    r#type: Option<bool>,
    #[reduce(Max)]
    largest: u64,
    opaque: Opaque,
    #[state(ephemeral)]
    note: String,
    #[state(untracked)]
    cache: Vec<u8>,
}

fn written() -> Update<Report> {
    let mut update = Update::<Report>::default();
    update.topic.set("rust".to_owned());
    update.docs.push((1, "a".to_owned()));
    update.docs.extend([(2, "b".to_owned())]);
    update.log.push_str("line");
    update.log.push('\n');
    update.seen.extend([1, 2, 3]);
    update.queue.push(9);
    update.r#type.set(Some(true));
    update.largest.extend([4, 7]);
    update.opaque.set(Opaque { inner: 5 });
    update.note.set("once".to_owned());
    update.cache.set(vec![1]);
    update
}

fn channels_written(update: &Update<Report>) -> Vec<(usize, bool)> {
    let mut written = Vec::new();
    update.writes(&mut |channel, exclusive| written.push((channel, exclusive)));
    written
}

#[test]
fn channels_follow_the_declaration() {
    assert_eq!((Report::NAME, Report::VERSION), ("Report", 3));
    let specs = Report::channels();
    let names: Vec<_> = specs.iter().map(|spec| spec.name).collect();
    assert_eq!(names, ["topic", "docs", "log", "seen", "queue", "type", "largest", "opaque", "note", "cache"]);
    assert_eq!(specs[1].value_type, "Vec<(u32,String)>");
    assert_eq!((specs[0].reducer, specs[0].shape, specs[0].names_flushed), ("replace", Shape::Whole, true));
    assert_eq!((specs[1].reducer, specs[1].shape, specs[1].names_flushed), ("append", Shape::List, false));
    assert_eq!((specs[6].reducer, specs[6].shape), ("max", Shape::Whole));
    assert_eq!((specs[7].keep, specs[8].keep, specs[9].keep), (Keep::Stored, Keep::Ephemeral, Keep::Untracked));
}

#[test]
fn fields_know_name_and_number() {
    assert_eq!(ReportField::ALL.len(), Report::channels().len());
    for (index, field) in ReportField::ALL.iter().enumerate() {
        assert_eq!((field.index(), field.name()), (index, Report::channels()[index].name));
    }
    assert_eq!(ReportField::Type.name(), "type");
}

#[test]
fn applying_reaches_every_field_and_records_its_change() {
    let mut state = Report { docs: vec![(0, "zero".to_owned())], largest: 5, ..Report::default() };
    let mut changes = Changes::new(Report::channels().len());
    state.apply(written(), &mut changes);

    assert_eq!(state.topic, "rust");
    assert_eq!(state.docs.len(), 3);
    assert_eq!(state.log, "line\n");
    assert_eq!(state.seen, HashSet::from([1, 2, 3]));
    assert_eq!(state.queue, [9]);
    assert_eq!((state.r#type, state.largest, state.opaque.inner), (Some(true), 7, 5));
    assert_eq!(changes.iter().count(), Report::channels().len());
    assert_eq!(changes.get(1), Some(&Change::Edit { at: 1, remove: 0, insert: 2 }));

    changes.clear();
    state.apply(Update::<Report>::default(), &mut changes);
    assert_eq!(changes.iter().count(), 0);
}

#[test]
fn only_replacing_is_exclusive() {
    let exclusive: Vec<_> = channels_written(&written()).into_iter().filter(|(_, exclusive)| *exclusive).collect();
    assert_eq!(exclusive, [(0, true), (7, true), (8, true), (9, true)]);

    let mut update = Update::<Report>::default();
    update.docs.overwrite([]);
    assert_eq!(channels_written(&update), [(1, true)]);
}

#[test]
fn every_channel_reads_back_what_was_written() {
    let mut state = Report::default();
    state.apply(written(), &mut Changes::new(Report::channels().len()));
    let mut copy = Report::default();
    for channel in 0..Report::channels().len() {
        let mut body = Body::default();
        state.encode_full(channel, &mut body).expect("encode");
        copy.decode(channel, &body.bytes).expect("decode");
        let mut again = Body::default();
        copy.encode_full(channel, &mut again).expect("encode again");
        assert_eq!(body, again, "channel {channel}");
        copy.reset(channel);
    }
    assert_eq!((copy.topic.as_str(), copy.docs.len(), copy.largest), ("", 0, 0));
}

#[test]
fn every_write_reads_back_and_flushed_writes_are_values() {
    let update = written();
    let mut state = Report::default();
    state.apply(update.clone(), &mut Changes::new(Report::channels().len()));
    let mut copy = Update::<Report>::default();
    for (channel, _) in channels_written(&update) {
        let write = update.encode(channel).expect("encode");
        copy.decode(channel, &write).expect("decode");
        let mut value = Body::default();
        state.encode_full(channel, &mut value).expect("encode value");
        if Report::channels()[channel].names_flushed {
            assert_eq!(write, value.bytes);
        }
    }
    assert_eq!(format!("{update:?}"), format!("{copy:?}"));
}

#[test]
fn errors_name_the_channel() {
    let mut state = Report { topic: "kept".to_owned(), ..Report::default() };
    let error = state.decode(0, &[0xc0]).expect_err("nil is not a string");
    assert!(error.to_string().starts_with("cannot decode channel `topic`: "), "{error}");
    let error = state.decode(0, &[0xa1, b'x', 0xa0]).expect_err("two values");
    assert_eq!(error.to_string(), "cannot decode channel `topic`: bytes follow the value");
    let error = state.decode(0, &[]).expect_err("no value");
    assert_eq!(error.channel(), Some("topic"));
    assert_eq!(state.topic, "kept");

    let error = state.encode_items(0, 0..0, &mut Body::default()).expect_err("not a list");
    assert_eq!(error.to_string(), "cannot encode channel `topic`: the value is not stored element by element");
    let error = state.encode_items(1, 0..1, &mut Body::default()).expect_err("out of range");
    assert_eq!(error.to_string(), "cannot encode channel `docs`: elements 0..1 were asked of a list of 0");
    let error = state.encode_entries(1, &BTreeSet::new(), &mut Entries::default()).expect_err("not a map");
    assert_eq!(error.channel(), Some("docs"));
    let error = Update::<Report>::default().encode(0).expect_err("no write");
    assert_eq!(error.to_string(), "cannot encode channel `topic`: the update does not write it");
    let error = state.decode(99, &[]).expect_err("no such channel");
    assert_eq!(error.to_string(), "cannot decode the value: the state has no channel 99");
}

#[test]
fn debug_shows_the_writes_and_dots_for_what_has_no_debug() {
    let mut update = Update::<Report>::default();
    assert_eq!(format!("{update:?}"), "ReportUpdate");
    update.topic.set("rust".to_owned());
    update.opaque.set(Opaque { inner: 1 });
    assert_eq!(format!("{update:?}"), r#"ReportUpdate { topic: "rust", opaque: .. }"#);
}

#[test]
fn updates_are_node_outputs() {
    let output = written().into_output().expect("an output");
    assert_eq!(channels_written(&output.update).len(), 10);
    let output = (written(), Goto::to(stepmark::END)).into_output().expect("an output");
    assert_eq!(output.goto.len(), 1);
}

/// States with no fields, and states inside functions, are states.
#[test]
fn an_empty_state_is_a_state() {
    #[derive(State, Clone, Default)]
    struct Nothing {}

    assert!(Nothing::channels().is_empty());
    assert!(NothingField::ALL.is_empty());
    Nothing::default().apply(NothingUpdate::default(), &mut Changes::new(0));
}

/// Generated code is as strict as its user.
mod strict {
    #![deny(warnings, clippy::pedantic)]
    #![deny(missing_docs, missing_debug_implementations, unreachable_pub)]

    use serde::{Deserialize, Serialize};
    use stepmark::{Snap, State, Update, node};

    #[derive(Clone, Default, Debug, Serialize, Deserialize)]
    struct Hidden;

    /// Public, with a field of a private type.
    #[derive(State, Clone, Default, Debug)]
    pub struct Shown {
        hidden: Hidden,
        /// A name that Rust keeps for itself.
        pub self_: Option<Box<[u8]>>,
    }

    #[node]
    async fn check(state: Snap<Shown>) -> Update<Shown> {
        std::future::ready(()).await;
        let mut update = state.update();
        update.hidden.set(state.hidden.clone());
        update.self_.set(state.self_.clone());
        update
    }

    #[test]
    fn a_node_is_still_the_function_that_was_written() {
        let _: fn(Snap<Shown>) -> _ = check;
        assert_eq!(ShownField::_Self.name(), "self_");
    }
}
