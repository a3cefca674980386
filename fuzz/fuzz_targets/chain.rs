//! Does any chain of values become one value or an error?
#![no_main]

use libfuzzer_sys::fuzz_target;
use stepmark_core::materialise::materialise;
use stepmark_core::value::{ValueNode, decode_packed};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(values) = decode_packed(bytes) {
        let chain: Vec<ValueNode> = values.into_iter().map(|value| value.node).collect();
        let _ = materialise(&chain);
    }
});
