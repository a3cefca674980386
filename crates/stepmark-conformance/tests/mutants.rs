//! Does the kit catch every broken store that it claims to catch, and accept the one that is not broken?

use stepmark_conformance::cases::CASES;
use stepmark_conformance::mutants::MUTANTS;
use stepmark_conformance::{MemoryEnv, StoreEnv, find_case, try_case};

/// Memory has no stored bytes to flip.
const NOT_FOR_MEMORY: [&str; 2] = ["flipped_byte_is_named", "damaged_row_does_not_end_the_walk"];

fn failing_cases(env: &dyn StoreEnv) -> Vec<&'static str> {
    let cases = CASES.iter().filter(|case| !NOT_FOR_MEMORY.contains(&case.name));
    cases.filter(|case| try_case(env, case).is_err()).map(|case| case.name).collect()
}

#[test]
fn every_mutant_is_caught_by_its_case_and_the_sound_store_by_none() {
    let sound = failing_cases(&MemoryEnv::new());
    let caught: Vec<_> = MUTANTS.iter().map(|mutant| (mutant, failing_cases(&*(mutant.env)()))).collect();

    assert_eq!(sound, [""; 0], "the sound store fails cases");
    for (mutant, failing) in &caught {
        eprintln!("{}: {}", mutant.name, failing.join(", "));
        assert!(find_case(mutant.caught_by).is_some(), "no case is named {}", mutant.caught_by);
    }
    let missed: Vec<_> = caught.iter().filter(|(mutant, failing)| !failing.contains(&mutant.caught_by)).collect();
    assert!(missed.is_empty(), "not caught by their cases: {missed:#?}");
}
