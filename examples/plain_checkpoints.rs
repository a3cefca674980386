//! Counts the words of all documents in a directory, without a graph: how far it has come is a plain checkpoint. Kill it at
//! any moment and start it again: it goes on at the document after its last save.
//!
//! ```text
//! cargo run --example plain_checkpoints -- docs                    # reads *.md, *.txt and *.rs below docs
//! cargo run --example plain_checkpoints -- . --crash-after 25      # kills itself on the way
//! cargo run --example plain_checkpoints -- .                       # goes on at document 20
//! ```
#![expect(clippy::print_stdout, reason = "this is a command-line program; its answer goes to standard output")]

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde::{Deserialize, Serialize};
use stepmark::{Checkpoints, Sqlite};

/// The thread of the checkpoints.
const THREAD: &str = "word count";
/// A crash costs at most so many documents.
const DOCUMENTS_PER_SAVE: usize = 10;
const EXTENSIONS: [&str; 3] = ["md", "txt", "rs"];
/// Shorter words say little about a text.
const LETTERS_MIN: usize = 4;
const MOST_USED_SHOWN: usize = 5;

/// Counts the words of all documents in a directory, and goes on where it stopped when it is killed.
#[derive(Debug, Parser)]
struct Args {
    /// Directory of the documents
    #[arg(default_value = ".")]
    directory: PathBuf,

    /// Database that keeps the progress while it runs
    #[arg(long, value_name = "FILE", default_value = "word-count.db")]
    db: PathBuf,

    /// Kill this process once it has read N documents
    #[arg(long, value_name = "N")]
    crash_after: Option<usize>,
}

/// All that a later process needs to go on.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Progress {
    /// The document to go on with.
    index: usize,
    /// The one before it: if it is another one now, the directory has changed.
    last: Option<PathBuf>,
    words: u64,
    longest: Option<(u64, PathBuf)>,
    uses: BTreeMap<String, u64>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let documents = documents(&args.directory)?;
    let checkpoints = Checkpoints::<Progress>::new(Sqlite::open(&args.db)?);
    let mut progress = begin(&checkpoints, &documents, &args.db).await?;
    let mut read = 0;
    while let Some(document) = documents.get(progress.index) {
        progress.count(document, &std::fs::read(args.directory.join(document))?);
        if progress.index.is_multiple_of(DOCUMENTS_PER_SAVE) {
            checkpoints.save(THREAD, &progress).await?;
        }
        read += 1;
        if args.crash_after == Some(read) {
            kill_this_process();
        }
    }
    progress.print();
    if checkpoints.load(THREAD).await?.is_some() {
        checkpoints.delete(THREAD).await?;
    }
    Ok(())
}

/// Where the last process stopped, or the beginning.
async fn begin(checkpoints: &Checkpoints<Progress>, documents: &[PathBuf], db: &Path) -> Result<Progress, String> {
    let saved = checkpoints.load(THREAD).await.map_err(|error| error.to_string())?;
    let total = documents.len();
    let Some(progress) = saved else {
        println!("beginning with {total} documents");
        return Ok(Progress::default());
    };
    let before = progress.index.checked_sub(1).and_then(|last| documents.get(last));
    if before != progress.last.as_ref() {
        return Err(format!("other documents than at the last save; delete {} to begin anew", db.display()));
    }
    println!("going on at document {} of {total}", progress.index);
    Ok(progress)
}

/// The documents below `directory` in a fixed order, without hidden directories and those of builds.
fn documents(directory: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let is_wanted = |entry: &walkdir::DirEntry| {
        let name = entry.file_name().to_string_lossy();
        entry.depth() == 0 || !(name.starts_with('.') || (entry.file_type().is_dir() && name == "target"))
    };
    let mut documents = Vec::new();
    for entry in walkdir::WalkDir::new(directory).sort_by_file_name().into_iter().filter_entry(is_wanted) {
        let entry = entry?;
        let extension = entry.path().extension().and_then(|extension| extension.to_str());
        if entry.file_type().is_file() && extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) {
            documents.push(entry.path().strip_prefix(directory)?.to_owned());
        }
    }
    Ok(documents)
}

impl Progress {
    fn count(&mut self, document: &Path, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes).to_lowercase();
        let words = text.split(|character: char| !character.is_alphabetic()).filter(|word| !word.is_empty());
        let mut count = 0;
        for word in words {
            count += 1;
            if word.chars().nth(LETTERS_MIN - 1).is_some() {
                *self.uses.entry(word.to_owned()).or_default() += 1;
            }
        }
        self.words += count;
        if self.longest.as_ref().is_none_or(|(longest, _)| count > *longest) {
            self.longest = Some((count, document.to_owned()));
        }
        self.last = Some(document.to_owned());
        self.index += 1;
    }

    fn print(&self) {
        println!("{} documents, {} words", self.index, self.words);
        if let Some((words, document)) = &self.longest {
            println!("the longest is {}: {words} words", document.display());
        }
        let mut uses: Vec<(&String, &u64)> = self.uses.iter().collect();
        uses.sort_by_key(|(_, count)| Reverse(**count));
        let most_used: Vec<String> =
            uses.iter().take(MOST_USED_SHOWN).map(|(word, count)| format!("{word} {count}")).collect();
        println!("{} longer words; most used: {}", uses.len(), most_used.join(", "));
    }
}

/// No destructor runs, no buffer is flushed: what is not durable now is lost.
#[cfg(unix)]
fn kill_this_process() -> ! {
    use rustix::process::{Signal, getpid, kill_process};
    let refused = kill_process(getpid(), Signal::KILL);
    panic!("this process survived SIGKILL: {refused:?}");
}

#[cfg(not(unix))]
fn kill_this_process() -> ! {
    std::process::abort()
}
