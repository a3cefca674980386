//! Are bytes that should be a question read or refused, and does what is read keep its form?
#![no_main]

use libfuzzer_sys::fuzz_target;
use stepmark_core::interrupt::Question;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(read) = Question::decode(bytes) {
        assert_eq!(Question::decode(&read.encode()), Ok(read));
    }
});
