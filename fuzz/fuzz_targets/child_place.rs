//! Are bytes that should be where a sub-graph stands read or refused, and does what is read keep its form?
#![no_main]

use libfuzzer_sys::fuzz_target;
use stepmark_core::child::ChildPlace;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(read) = ChildPlace::decode(bytes) {
        assert_eq!(ChildPlace::decode(&read.encode()), Ok(read));
    }
});
