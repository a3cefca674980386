//! Are bytes that should be results of tasks read or refused, and does what is read keep its form?
#![no_main]

use libfuzzer_sys::fuzz_target;
use stepmark_core::pending::{decode_flush, encode_flush};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(read) = decode_flush(bytes) {
        assert_eq!(decode_flush(&encode_flush(&read)), Ok(read));
    }
});
