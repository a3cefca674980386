//! Are bytes that should be a value's head read or refused, and does what is read keep its form?
#![no_main]

use libfuzzer_sys::fuzz_target;
use stepmark_core::value::ValueHead;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(read) = ValueHead::decode(bytes) {
        assert_eq!(ValueHead::decode(&read.encode()), Ok(read));
    }
});
