//! Are bytes that should be an effect's key read or refused, and does what is read keep its form?
#![no_main]

use libfuzzer_sys::fuzz_target;
use stepmark_core::effect::EffectKey;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(read) = EffectKey::decode(bytes) {
        assert_eq!(EffectKey::decode(&read.encode()), Ok(read));
    }
});
