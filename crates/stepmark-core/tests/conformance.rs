//! Does the memory store keep every promise of the seam, and answer as the model does?

use stepmark_conformance::MemoryEnv;
use stepmark_conformance::model::{check_items, check_model};

stepmark_conformance::suite!(MemoryEnv::new(), skip = [
    flipped_byte_is_named => "memory has no stored bytes to flip",
    damaged_row_does_not_end_the_walk => "memory has no stored bytes to flip",
]);

#[test]
fn random_calls_are_answered_as_the_model_does() {
    check_model(&MemoryEnv::new(), 1, 500);
}

#[test]
fn random_calls_about_items_are_answered_as_the_model_does() {
    check_items(&MemoryEnv::new(), 1, 300);
}
