//! Does the kit catch every broken store that it claims to catch, and accept the one that is not broken?

use stepmark_conformance::cases::CASES;
use stepmark_conformance::mutants::MUTANTS;
use stepmark_conformance::{MemoryEnv, find_case, try_case};

/// Memory has no stored bytes to flip.
const NOT_FOR_MEMORY: [&str; 2] = ["flipped_byte_is_named", "damaged_row_does_not_end_the_walk"];

#[test]
fn sound_store_is_caught_by_no_case() {
    let cases = CASES.iter().filter(|case| !NOT_FOR_MEMORY.contains(&case.name));
    let failing: Vec<_> =
        cases.filter(|case| try_case(&MemoryEnv::new(), case).is_err()).map(|case| case.name).collect();
    assert_eq!(failing, [""; 0]);
}

/// Which other cases catch it says nothing of its own.
#[test]
fn every_mutant_is_caught_by_its_case() {
    let mut missed = Vec::new();
    for mutant in MUTANTS {
        let case = find_case(mutant.caught_by).unwrap_or_else(|| panic!("no case is named {}", mutant.caught_by));
        if try_case(&*(mutant.env)(), case).is_ok() {
            missed.push(mutant);
        }
    }
    assert!(missed.is_empty(), "not caught by their cases: {missed:#?}");
}
