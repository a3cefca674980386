//! The process that the tests in this directory tell to end.
#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a process as a user's is, whose parent listens")]

#[cfg(unix)]
mod ticks;

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let database = std::env::args().nth(1).ok_or("the tests of `stepmark` start this program with a path")?;
    let app = ticks::app(stepmark::Sqlite::open(database)?, usize::MAX, |tick| println!("{tick}"))?;
    let drained = tokio::spawn(app.drain_on_signals()?);
    let outcome = app.thread("t").input(|_| ()).run().await?;
    println!("{:?} after {}", outcome.ending(), outcome.state().ticks.len());
    drained.await?;
    Ok(())
}
