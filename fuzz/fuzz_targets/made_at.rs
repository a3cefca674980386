//! Are bytes that should be where an effect was made read or refused, and does what is read keep its form?
#![no_main]

use libfuzzer_sys::fuzz_target;
use stepmark_core::effect::MadeAt;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(read) = MadeAt::decode(bytes) {
        assert_eq!(MadeAt::decode(&read.encode()), Ok(read));
    }
});
