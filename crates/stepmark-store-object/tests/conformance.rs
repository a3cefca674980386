//! Does the object store keep every promise of the seam, and answer as the model does, in memory and in a directory?

mod common;

use common::{Directories, Memories};
use stepmark_conformance::model::check_model;

mod memory {
    use super::Memories;

    stepmark_conformance::suite!(Memories::default(), skip = [
        damaged_row_does_not_end_the_walk => "rows of a damaged entry cannot be trusted, nor what follows it",
    ]);
}

mod directory {
    use super::Directories;

    stepmark_conformance::suite!(Directories::new(), skip = [
        damaged_row_does_not_end_the_walk => "rows of a damaged entry cannot be trusted, nor what follows it",
    ]);
}

#[test]
fn random_calls_are_answered_as_the_model_does() {
    check_model(&Memories::default(), 1, 60);
}
