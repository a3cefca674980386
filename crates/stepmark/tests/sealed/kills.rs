//! Is nothing lost, or done twice, wherever the process dies between codec and store?

use std::sync::Arc;
use std::sync::atomic::Ordering;

use stepmark::MemoryStore;
use stepmark_codec::{Codec, Key, MasterKeys};
use stepmark_conformance::{Fault, FaultPlan, FaultStore};

use crate::case::{Case, Lab, answer, app, begin};

fn codec() -> Codec {
    Codec::new().compressed().sealed(MasterKeys::new(Key::new([7; 32])))
}

/// What a process does with the thread until it is done, wherever it finds it.
async fn go_on(thread: &stepmark::Thread<Case>) -> stepmark::Result<Case> {
    let outcome = match thread.state().await {
        Ok(snapshot) if snapshot.checkpoint.is_some() => thread.resume().await?,
        _ => begin(thread).await?,
    };
    let done = if outcome.is_interrupted() { answer(thread).await? } else { outcome };
    Ok(done.state().clone())
}

/// The end of a run whose process dies at this call of the store, and is followed by another.
async fn killed_at(plan: FaultPlan) -> (Option<Case>, u64, Lab) {
    let (kept, lab) = (MemoryStore::new(), Lab::default());
    let faults = FaultStore::new(Arc::new(kept.clone()), plan);
    let first = app(codec().around(faults.clone()), &lab);
    let ended = Box::pin(faults.until_crash(go_on(&first.thread("t")))).await;
    let state = match ended {
        Some(Ok(state)) => Some(state),
        Some(Err(_)) | None => Some(go_on(&app(codec().around(kept), &lab).thread("t")).await.expect("it goes on")),
    };
    (state, faults.struck(), lab)
}

#[tokio::test(start_paused = true)]
async fn run_comes_to_the_same_end_wherever_it_is_killed() {
    let (clean, _, _) = Box::pin(killed_at(FaultPlan::nth(u64::MAX, Fault::CrashBefore))).await;
    let clean = clean.expect("it ends");
    for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::ErrorAfter, Fault::Duplicate] {
        for call in 0.. {
            let (state, struck, lab) = Box::pin(killed_at(FaultPlan::nth(call, fault))).await;
            assert_eq!(state.as_ref(), Some(&clean), "{fault:?} at call {call}");
            let paid = lab.paid.load(Ordering::Relaxed);
            assert!((1..=2).contains(&paid), "{fault:?} at call {call}: paid {paid} times");
            if struck == 0 {
                assert!(call > 10, "only {call} calls");
                break;
            }
        }
    }
}
