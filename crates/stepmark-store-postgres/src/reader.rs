//! How is something read?
//!
//! On a connection of its own, in one read-only transaction of one moment. A read whose connection was lost is made once
//! more: it changed nothing.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::join;
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
    repeated(place, question, (read, true)).await
}

/// Answers a question that is one statement, which is of one moment by itself.
pub(crate) async fn ask<Q: Sync, T>(place: &Arc<Place>, question: &Q, read: Read<Q, T>) -> Result<T> {
    repeated(place, question, (read, false)).await
}

async fn repeated<Q: Sync, T>(
    place: &Arc<Place>,
    question: &Q,
    (read, in_transaction): (Read<Q, T>, bool),
) -> Result<T> {
    let mut reads = 0;
    loop {
        reads += 1;
        let lease = place.lend_to_reader().await?;
        let session = lease.session();
        let answer = if in_transaction {
            of_one_moment(session, read(session, question)).await
        } else {
            read(session, question).await
        };
        lease.end(&answer);
        match answer {
            Err(error) if reads < READS_MAX && remedy(&error) == Remedy::Reconnect => {}
            answer => return answer,
        }
    }
}

/// The transaction's beginning goes out with the first statement, and nobody waits for its end.
async fn of_one_moment<T>(session: Session<'_>, read: impl Future<Output = Result<T>>) -> Result<T> {
    let (begun, answer) = join(session.batch(queries::BEGIN_READ), read).await;
    session.let_go();
    begun.and(answer)
}
