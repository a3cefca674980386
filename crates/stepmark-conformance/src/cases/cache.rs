//! What does a store keep of results of nodes? Cases for those that keep any.

use std::time::Duration;

use stepmark_core::capability::{CacheKey, ResultCache};

use crate::env::StoreEnv;

const HOUR: Duration = Duration::from_hours(1);

fn key(node: &str, hash: u8) -> CacheKey {
    CacheKey { graph: "graph".into(), node: node.into(), hash: [hash; 16] }
}

async fn put(cache: &dyn ResultCache, key: CacheKey, result: &[u8], ttl: Duration) {
    cache.put(key, result.to_vec(), ttl).await.expect("a result is kept");
}

async fn get(cache: &dyn ResultCache, key: &CacheKey) -> Option<Vec<u8>> {
    cache.get(key).await.expect("a cache answers")
}

/// What was kept is returned, under its own key alone, also to another handle.
pub async fn kept_result_is_returned(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(cache) = store.cache() else { return };
    put(cache, key("one", 1), b"result", HOUR).await;
    put(cache, key("one", 2), b"", HOUR).await;
    let other = env.reopen().await;
    let other = other.cache().expect("every handle has it");
    for cache in [cache, other] {
        assert_eq!(get(cache, &key("one", 1)).await.as_deref(), Some(&b"result"[..]));
        assert_eq!(get(cache, &key("one", 2)).await.as_deref(), Some(&b""[..]));
        for absent in [key("one", 3), key("two", 1), CacheKey { graph: "other".into(), ..key("one", 1) }] {
            assert_eq!(get(cache, &absent).await, None);
        }
    }
}

/// What may be used for no time at all is never used, and takes the place of what was there.
pub async fn result_whose_time_is_over_is_gone(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(cache) = store.cache() else { return };
    put(cache, key("one", 1), b"long", HOUR).await;
    put(cache, key("one", 1), b"over", Duration::ZERO).await;
    assert_eq!(get(cache, &key("one", 1)).await, None);
    put(cache, key("one", 2), b"ever", Duration::MAX).await;
    assert_eq!(get(cache, &key("one", 2)).await.as_deref(), Some(&b"ever"[..]));
}

/// Of two results under one key the newer one is returned.
pub async fn newer_result_takes_the_place(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(cache) = store.cache() else { return };
    put(cache, key("one", 1), b"older", HOUR).await;
    put(cache, key("one", 1), b"newer", HOUR).await;
    assert_eq!(get(cache, &key("one", 1)).await.as_deref(), Some(&b"newer"[..]));
}

/// Clearing forgets a node's results, or a graph's, and no others.
pub async fn cleared_results_are_gone(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(cache) = store.cache() else { return };
    let foreign = CacheKey { graph: "other".into(), ..key("one", 1) };
    for key in [key("one", 1), key("one", 2), key("two", 1), foreign.clone()] {
        put(cache, key, b"result", HOUR).await;
    }
    cache.clear("graph", Some("one")).await.expect("a node's results go");
    assert_eq!(get(cache, &key("one", 1)).await, None);
    assert_eq!(get(cache, &key("one", 2)).await, None);
    assert!(get(cache, &key("two", 1)).await.is_some());
    cache.clear("graph", None).await.expect("a graph's results go");
    assert_eq!(get(cache, &key("two", 1)).await, None);
    assert!(get(cache, &foreign).await.is_some());
}
