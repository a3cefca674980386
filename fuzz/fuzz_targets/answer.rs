//! Are bytes that should be an answer read or refused, and does what is read keep its form?
#![no_main]

use libfuzzer_sys::fuzz_target;
use stepmark_core::interrupt::Answer;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(read) = Answer::decode(bytes) {
        assert_eq!(Answer::decode(&read.encode()), Ok(read));
    }
});
