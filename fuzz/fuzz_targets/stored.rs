//! Are bytes read or refused that should be a value, a payload, a question or a result, wherever a thread has one?
#![no_main]

// What is done with them is a test of the engine, too.
#[path = "../../crates/stepmark/tests/bad_input/desk.rs"]
mod desk;
#[path = "../../crates/stepmark/tests/bad_input/places.rs"]
mod places;
#[path = "../../crates/stepmark/tests/bad_input/stored.rs"]
mod stored;

use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: {
        // Nobody writes records like these by chance.
        if let Some(corpus) = std::env::var_os("STEPMARK_FUZZ_CORPUS") {
            for (number, example) in stored::examples().iter().enumerate() {
                let place = std::path::Path::new(&corpus).join(format!("stored-{number}"));
                std::fs::write(place, example).expect("the corpus can be written");
            }
        }
    },
    |bytes: &[u8]| {
        stored::read_stored(bytes);
    }
);
