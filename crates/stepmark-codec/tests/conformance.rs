//! Does a store behind a codec keep every promise of the seam, and answer as the model does?

mod common;

use stepmark_codec::Codec;
use stepmark_conformance::MemoryEnv;
use stepmark_conformance::model::{check_items, check_model};

use common::Files;

fn memory(codec: fn() -> Codec) -> MemoryEnv {
    MemoryEnv::wrapped(move |store| std::sync::Arc::new(codec().around(store)))
}

mod compressed_memory {
    use crate::common::compressing;

    stepmark_conformance::suite!(crate::memory(compressing), skip = [
        flipped_byte_is_named => "memory has no stored bytes to flip",
        coded_records_pass_unopened => "what a codec made goes to no second one",
        unused_blobs_are_collected => "a blob waits in its handle for what names it",
        touched_blob_is_not_collected => "a blob waits in its handle for what names it",
        damaged_row_does_not_end_the_walk => "memory has no stored bytes to flip",
    ]);
}

mod sealed_memory {
    use crate::common::both;

    stepmark_conformance::suite!(crate::memory(both), skip = [
        flipped_byte_is_named => "memory has no stored bytes to flip",
        coded_records_pass_unopened => "what a codec made goes to no second one",
        unused_blobs_are_collected => "a blob waits in its handle for what names it",
        touched_blob_is_not_collected => "a blob waits in its handle for what names it",
        damaged_row_does_not_end_the_walk => "memory has no stored bytes to flip",
        rows_read_back_as_stored => "what is stored is not what was written",
    ]);
}

mod compressed_file {
    use crate::common::compressing;

    stepmark_conformance::suite!(crate::Files::new(compressing()), skip = [
        coded_records_pass_unopened => "what a codec made goes to no second one",
        unused_blobs_are_collected => "a blob waits in its handle for what names it",
        touched_blob_is_not_collected => "a blob waits in its handle for what names it",
    ]);
}

mod sealed_file {
    use crate::common::both;

    stepmark_conformance::suite!(crate::Files::new(both()), skip = [
        coded_records_pass_unopened => "what a codec made goes to no second one",
        unused_blobs_are_collected => "a blob waits in its handle for what names it",
        touched_blob_is_not_collected => "a blob waits in its handle for what names it",
        rows_read_back_as_stored => "what is stored is not what was written",
        half_restored_thread_outlives_the_handle => "a blob waits in its handle for what names it",
        blob_outlives_the_handle => "a sealed blob is read by loading the value that names it",
    ]);
}

#[test]
fn random_calls_are_answered_as_the_model_does() {
    for codec in [common::compressing, common::sealing, common::both] {
        check_model(&memory(codec), 1, 100);
        check_model(&Files::new(codec()), 2, 15);
    }
}

#[test]
fn random_calls_about_items_are_answered_as_the_model_does() {
    for codec in [common::compressing, common::sealing] {
        check_items(&memory(codec), 1, 100);
    }
}
