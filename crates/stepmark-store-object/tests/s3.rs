//! Does the store keep its promises on a server that speaks S3?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use stepmark_conformance::{Record, StoreEnv};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::store::CheckpointStore;
use stepmark_store_object::Objects;
use stepmark_store_object::object_store::aws::AmazonS3Builder;
use stepmark_testbed::MotoServer;

mod common;

/// Prefixes of this process in the one bucket.
static MADE: AtomicU64 = AtomicU64::new(0);

/// A prefix of the shared server's bucket.
struct Prefix {
    endpoint: String,
    newest: AtomicU64,
}

impl Prefix {
    fn new() -> Self {
        Self { endpoint: MotoServer::shared_endpoint(), newest: AtomicU64::new(0) }
    }

    fn builder(&self) -> AmazonS3Builder {
        let builder = AmazonS3Builder::new().with_endpoint(&self.endpoint).with_allow_http(true);
        builder.with_region("us-east-1").with_access_key_id("test").with_secret_access_key("test")
    }

    fn prefix(&self) -> String {
        format!("{}/{}", std::process::id(), self.newest.load(Ordering::Relaxed))
    }
}

#[async_trait]
impl StoreEnv for Prefix {
    async fn fresh(&self) -> Arc<dyn CheckpointStore> {
        self.newest.store(MADE.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        self.reopen().await
    }

    async fn reopen(&self) -> Arc<dyn CheckpointStore> {
        let url = format!("s3://{}/{}", MotoServer::BUCKET, self.prefix());
        Arc::new(Objects::options().in_bucket_with(&url, self.builder()).await.expect("it opens"))
    }

    async fn corrupt(&self, record: Record) -> bool {
        let bucket = self.builder().with_bucket_name(MotoServer::BUCKET).build().expect("a bucket");
        let place = stepmark_store_object::object_store::prefix::PrefixStore::new(bucket, self.prefix());
        common::damage(&place, record).await
    }
}

stepmark_conformance::suite!(Prefix::new());

#[tokio::test]
async fn url_without_a_bucket_is_refused() {
    for url in ["", "s3:", "s3://", "s3:///prefix", "https://bucket"] {
        let refused = Objects::in_bucket(url).await.expect_err("no bucket");
        assert!(refused.is(ErrorKind::Invalid, Subject::Store), "{refused}");
    }
}

#[tokio::test]
async fn server_that_is_gone_is_unavailable() {
    use stepmark_store_object::object_store::RetryConfig;
    let env = Prefix { endpoint: "http://127.0.0.1:1".into(), newest: AtomicU64::new(0) };
    let patience = RetryConfig { max_retries: 1, ..RetryConfig::default() };
    let opened = Objects::options().in_bucket_with("s3://stepmark", env.builder().with_retry(patience)).await;
    assert_eq!(opened.expect_err("nobody answers").kind(), ErrorKind::Unavailable);
}
