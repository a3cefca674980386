//! Are bytes that should be the values of a pending row read or refused?
#![no_main]

use libfuzzer_sys::fuzz_target;
use stepmark_core::pending::PendingRow;

fuzz_target!(|bytes: &[u8]| {
    let _ = PendingRow::decode_head(bytes);
});
