//! How does a journal outlive its process?

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::journal::{Event, Pages};

/// A file that several threads and processes append to.
#[derive(Debug)]
pub(crate) struct FilePages(File);

impl FilePages {
    pub(crate) fn append_to(path: &Path) -> Self {
        Self(File::options().create(true).append(true).open(path).expect("the journal opens"))
    }
}

impl Pages for FilePages {
    fn write(&self, event: &Event) {
        let mut line = serde_json::to_string(event).expect("an event encodes");
        line.push('\n');
        // One write, so that lines of several threads and processes never mix.
        (&self.0).write_all(line.as_bytes()).expect("the journal is written");
        self.0.sync_data().expect("the journal is synced");
    }
}
