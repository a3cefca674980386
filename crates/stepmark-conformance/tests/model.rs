//! Do random sequences find broken stores by themselves?

use stepmark_conformance::model::find_difference;
use stepmark_conformance::mutants::MUTANTS;

/// Mutants that no sequence finds: they break blobs, big values, scopes, names, namespaces, single threads of control,
/// reopened handles, rows, searches, retention, items or threads made from others, which the model leaves to the cases.
const LEFT_TO_THE_CASES: [&str; 82] = [
    "group fails whole",
    "any held claim is success",
    "blob reference dropped",
    "dropped commit lost",
    "commits reordered",
    "big values cut",
    "load not of one moment",
    "unknown branch is empty",
    "thread page repeats its last",
    "namespace ignored",
    "scope of blobs ignored",
    "case of names ignored",
    "acknowledged writes forgotten",
    "ledger left behind",
    "origin of effects replaced",
    "intent decided before it is written",
    "results kept for ever",
    "older result stays",
    "all results cleared",
    "no result cleared",
    "results of all nodes shared",
    "rows published at once",
    "branches numbered anew",
    "arrival by key",
    "attempts not restored",
    "restored row by row",
    "taken row accepted",
    "repeated restore refused",
    "name of a half thread given away",
    "page of rows begins one too late",
    "packed values left out of rows",
    "restored blobs not asked for",
    "published thread takes rows",
    "text taken for a pattern",
    "texts end at a zero",
    "open ends included",
    "undeclared attribute ignored",
    "attributes set one by one",
    "times of threads ignored",
    "found threads paged by name alone",
    "removed attributes stay",
    "long texts cut",
    "declarations shared by scopes",
    "other kind accepted",
    "gone thread described",
    "epoch of a dropped branch ignored",
    "mark of a sweep ignored",
    "forks beside a sweep ignored",
    "pending rows never swept",
    "packed values swept with their checkpoint",
    "rows never swept",
    "longer life ignored",
    "moved thread deleted",
    "young blobs collected",
    "put does not touch",
    "blobs never collected",
    "first page of blobs collected",
    "busy threads listed as quiet",
    "everything is old",
    "unlinked counted twice",
    "fork copies what is gone",
    "absent item not asked for",
    "version of an item not asked for",
    "version of an item looked at before the write",
    "repeated put refused",
    "creation of an item forgotten",
    "items kept for ever",
    "items never refreshed",
    "items always refreshed",
    "any version deleted",
    "every deletion finds something",
    "living items swept",
    "beginnings of labels match",
    "one filter of several asked",
    "case of texts counts",
    "page of items begins one too late",
    "order of items ignored",
    "vectors ignored",
    "cut namespaces repeated",
    "zero ends a label",
    "scope of items ignored",
    "long keys cut",
];

/// The rarest of the others is found by the 1,500th.
const SEQUENCES: u32 = 2000;

#[test]
fn random_sequences_find_every_mutant_that_they_can_reach() {
    let found = |name: &str| {
        let mutant = MUTANTS.iter().find(|mutant| mutant.name == name).expect("it is listed");
        find_difference(&*(mutant.env)(), 1, SEQUENCES, 0).is_some()
    };
    let reachable = MUTANTS.iter().map(|mutant| mutant.name).filter(|name| !LEFT_TO_THE_CASES.contains(name));
    let missed: Vec<_> = reachable.filter(|name| !found(name)).collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
