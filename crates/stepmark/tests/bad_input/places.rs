//! Where in a stored row lie bytes that the engine alone can read?
//!
//! The heads of rows have targets of their own. Here a row is taken apart, what a value, a result or a question was encoded
//! to may be replaced, and it is put together again with the hashes that it has then.

use std::mem::take;
use std::sync::Arc;

use stepmark::store::Row;
use stepmark_core::checkpoint::{CheckpointRow, NextTask, Payload};
use stepmark_core::id::ThreadUid;
use stepmark_core::interrupt::{Answer, Question};
use stepmark_core::memo::Memo;
use stepmark_core::pending::{GotoEntry, PendingKind, PendingRow, TaskEnd, WriteBody, decode_flush, encode_flush};
use stepmark_core::value::{decode_packed, encode_packed};

/// Told of the bytes at each place, which it may replace.
pub(crate) type See<'a> = dyn FnMut(&mut Vec<u8>) + 'a;

/// Shows all places of a sound row of a thread, in order.
pub(crate) fn visit(row: &mut Row, thread: ThreadUid, see: &mut See<'_>) {
    match row {
        Row::Effect(entry) => entry.row.result.iter_mut().for_each(see),
        Row::Value { row, .. } => see(&mut row.node.body),
        Row::Pending { row, .. } => visit_pending(row, see),
        Row::Checkpoint { namespace, row } => {
            visit_checkpoint(row, see);
            *row = row.clone().sealed(thread, namespace);
        }
        _ => {}
    }
}

fn visit_checkpoint(row: &mut CheckpointRow, see: &mut See<'_>) {
    let mut manifest = row.read_manifest().expect("sound");
    let tasks = manifest.next.iter_mut().chain(&mut manifest.deferred);
    tasks.for_each(|task: &mut NextTask| {
        if let Payload::Inline(bytes) = &mut task.payload {
            visit_shared(bytes, see);
        }
    });
    manifest.metadata.iter_mut().for_each(&mut *see);
    row.manifest = manifest.encode(row.created_at);
    let mut packed = decode_packed(&row.packed).expect("sound");
    for value in &mut packed {
        see(&mut value.node.body);
    }
    row.packed = encode_packed(&packed);
}

fn visit_pending(row: &mut PendingRow, see: &mut See<'_>) {
    row.body = match row.kind {
        PendingKind::Results => {
            let mut records = decode_flush(&row.body).expect("sound");
            for record in &mut records {
                visit_end(&mut record.end, see);
            }
            encode_flush(&records)
        }
        PendingKind::Memo => {
            let mut memo = Memo::decode(&row.body).expect("sound");
            see(&mut memo.body);
            memo.encode()
        }
        PendingKind::Interrupt => {
            let mut question = Question::decode(&row.body).expect("sound");
            see(&mut question.body);
            question.answer_schema.iter_mut().for_each(see);
            question.encode()
        }
        PendingKind::Answer => {
            let mut answer = Answer::decode(&row.body).expect("sound");
            see(&mut answer.body);
            answer.encode()
        }
        PendingKind::Child => return,
    };
}

/// Shows the places of a task's end.
pub(crate) fn visit_end(end: &mut TaskEnd, see: &mut See<'_>) {
    match end {
        TaskEnd::Done { writes, goto, .. } => {
            for (_, write) in writes {
                if let WriteBody::Inline(bytes) = write {
                    see(bytes);
                }
            }
            for entry in goto {
                if let GotoEntry::Send(_, payload) = entry {
                    visit_shared(payload, see);
                }
            }
        }
        TaskEnd::Failed(error) => see(error),
        TaskEnd::Started { .. } => {}
    }
}

fn visit_shared(bytes: &mut Arc<[u8]>, see: &mut See<'_>) {
    let mut seen = bytes.to_vec();
    see(&mut seen);
    *bytes = take(&mut seen).into();
}
