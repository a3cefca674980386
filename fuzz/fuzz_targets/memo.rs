//! Are bytes that should be a memo read or refused, and does what is read keep its form?
#![no_main]

use libfuzzer_sys::fuzz_target;
use stepmark_core::memo::Memo;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(read) = Memo::decode(bytes) {
        assert_eq!(Memo::decode(&read.encode()), Ok(read));
    }
});
