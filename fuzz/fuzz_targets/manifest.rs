//! Are bytes that should be a manifest read or refused, and does what is read keep its form?
#![no_main]

use libfuzzer_sys::fuzz_target;
use stepmark_core::checkpoint::Manifest;

/// The times of tasks are stored as distances from it.
const CREATED_AT: i64 = 1000;

fuzz_target!(|bytes: &[u8]| {
    let head = Manifest::decode_head(bytes, CREATED_AT);
    if let Ok(read) = Manifest::decode(bytes, CREATED_AT) {
        assert_eq!(Manifest::decode(&read.encode(CREATED_AT), CREATED_AT).as_ref(), Ok(&read));
        // A store reads of it what its writer knows.
        let head = head.expect("a manifest has a head");
        assert!(head.values().eq(read.values()) && head.run == read.run);
    }
});
