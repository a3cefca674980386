//! Are bytes that should be values packed into a checkpoint read or refused, and does what is read keep its form?
#![no_main]

use libfuzzer_sys::fuzz_target;
use stepmark_core::value::{decode_packed, encode_packed};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(read) = decode_packed(bytes) {
        assert_eq!(decode_packed(&encode_packed(&read)), Ok(read));
    }
});
