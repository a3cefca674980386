//! How does one of several processes send its inputs to threads that the others write to, too?

use std::time::Duration;

use futures_util::future::try_join_all;
use stepmark::clock::{Clock, SystemClock};
use stepmark::{App, ErrorKind, Result, Thread};

use crate::letters::{Letters, input};
use crate::orders::Share;

/// How long one input waits for others, and how often it looks, before it takes over what stands still.
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(64);
const LOOKS_MAX: u32 = 200;
/// How often an input is sent: more often than others can come first.
const TRIES_MAX: u32 = 2000;

/// Sends all inputs, to all threads at once and to each in order.
pub(crate) async fn send_inputs(app: &App<Letters>, orders: &Share) -> Result<()> {
    try_join_all(orders.threads.iter().map(|name| send_to(app, name, orders))).await.map(drop)
}

async fn send_to(app: &App<Letters>, name: &str, orders: &Share) -> Result<()> {
    let thread = app.thread(name);
    for number in 0..orders.inputs {
        send(&thread, &input(orders.writer, number)).await?;
    }
    Ok(())
}

async fn send(thread: &Thread<Letters>, input: &str) -> Result<()> {
    let mut refused = None;
    for _ in 0..TRIES_MAX {
        let seen = tip(thread).await?;
        let request = thread.input(|letters| letters.inputs.push(input.to_owned())).run_id(input);
        match request.run().await {
            Ok(_) => return Ok(()),
            Err(error) if is_others(error.kind()) => refused = Some(error),
            Err(error) => return Err(error),
        }
        if !has_moved(thread, seen.as_ref()).await? {
            thread.resume().run().await?;
        }
    }
    Err(refused.expect("an input was refused"))
}

/// Whether another process was first, or is at work.
fn is_others(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unfinished | ErrorKind::Contended | ErrorKind::Fenced | ErrorKind::RunActive)
}

/// Waits, bounded, for the tip to move. Nobody tells a process what another one does, so it looks.
async fn has_moved(thread: &Thread<Letters>, seen: Option<&String>) -> Result<bool> {
    let mut pause = Duration::from_millis(1);
    for _ in 0..LOOKS_MAX {
        if tip(thread).await?.as_ref() != seen {
            return Ok(true);
        }
        SystemClock.sleep(pause).await;
        pause = LOOK_PAUSE_MAX.min(pause * 2);
    }
    Ok(false)
}

async fn tip(thread: &Thread<Letters>) -> Result<Option<String>> {
    match thread.history().limit(1).await {
        Ok(history) => Ok(history.first().map(|checkpoint| checkpoint.id.to_string())),
        Err(error) if error.kind() == ErrorKind::Missing => Ok(None),
        Err(error) => Err(error),
    }
}
