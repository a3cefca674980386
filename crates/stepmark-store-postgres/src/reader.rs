//! How is something read?
//!
//! On a connection of its own, in one read-only transaction of one moment. A read whose connection was lost is made once
//! more: it changed nothing.

use std::pin::Pin;
use std::sync::Arc;

use stepmark_core::error::Result;

use crate::connect::Place;
use crate::error::{Remedy, remedy};
use crate::queries;
use crate::session::Session;

/// How often a read is made at most.
const READS_MAX: u32 = 3;

/// What is read, as a function of the session and the question.
pub(crate) type Read<Q, T> = for<'s> fn(Session<'s>, &'s Q) -> Pin<Box<dyn Future<Output = Result<T>> + Send + 's>>;

/// Answers a question from one moment.
pub(crate) async fn read<Q: Sync, T>(place: &Arc<Place>, question: &Q, read: Read<Q, T>) -> Result<T> {
    let mut reads = 0;
    loop {
        reads += 1;
        let lease = place.lend().await?;
        let session = lease.session();
        let answer = match session.batch(queries::BEGIN_READ).await {
            Ok(()) => session.end(read(session, question).await).await,
            Err(error) => Err(error),
        };
        lease.end(&answer);
        match answer {
            Err(error) if reads < READS_MAX && remedy(&error) == Remedy::Reconnect => {}
            answer => return answer,
        }
    }
}
