//! Is nothing repeated of a run that was given up?

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use stepmark::MemoryStore;
use stepmark::effects::{EffectUnknown, Unknown};
use stepmark::store::CheckpointStore;
use stepmark_conformance::call::{Call, Intercept, Intercepted, Reply};
use tokio::task::yield_now;

use crate::bench::{How, Shop, is};
use crate::kills::{PAYMENTS, go_on, paying_thrice};

/// A store that is waited for, before a call counts and after it.
#[derive(Debug)]
struct Waited;

#[async_trait]
impl Intercept for Waited {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> stepmark_core::error::Result<Reply> {
        yield_now().await;
        let reply = call.run(store).await;
        yield_now().await;
        reply
    }
}

/// What a future comes to that is polled so often at most; `None` if it is dropped where it waits.
async fn polled<T>(work: impl Future<Output = T>, times: usize) -> Option<T> {
    let (mut work, mut left) = (pin!(work), times);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

#[tokio::test]
async fn a_run_that_is_dropped_at_any_poll_repeats_no_effect() {
    let (mut unknown, mut done) = (0, 0);
    for times in 0.. {
        let (store, shop) = (Intercepted::around(Arc::new(MemoryStore::new()), Waited), Shop::default());
        let app = paying_thrice(How::on_unknown(Unknown::Fail), &shop).with(store);
        let was_dropped = polled(go_on(&app), times).await.is_none();
        match go_on(&app).await {
            Ok(outcome) => {
                assert_eq!(outcome.state().receipts.len(), PAYMENTS, "dropped at poll {times}");
                done += 1;
            }
            Err(error) => {
                assert!(is::<EffectUnknown>(&error), "dropped at poll {times}: {error}");
                unknown += 1;
            }
        }
        assert!(shop.calls().iter().all(|(key, _)| shop.calls_of(key) == 1), "dropped at poll {times}");
        if !was_dropped {
            break;
        }
    }
    assert!(unknown >= PAYMENTS && done >= PAYMENTS, "{unknown} unknown, {done} done");
}
