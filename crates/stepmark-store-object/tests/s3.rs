//! Does the store keep its promises on a server that speaks S3?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use stepmark_conformance::{Record, StoreEnv, find_case};
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

/// What depends on the server: how it creates, lists, overwrites, removes, reads ranges, and takes names and sizes. All other
/// cases ask the same code as in a directory, where every one of them runs.
const CASES: [&str; 47] = [
    "commit_reads_back",
    "commit_is_all_or_nothing",
    "stale_tip_is_refused",
    "stale_epoch_is_fenced",
    "second_creator_is_refused",
    "missing_blob_is_refused",
    "flushed_rows_are_loaded",
    "repeated_append_is_accepted",
    "fenced_append_is_refused",
    "questions_and_answers_read_back",
    "one_of_many_answers_wins",
    "effects_read_back",
    "one_of_many_intents_is_granted",
    "ledger_outlives_the_handle",
    "sub_graph_reads_back",
    "reset_is_one_unit",
    "tags_read_back",
    "graph_record_is_kept_once",
    "load_is_a_snapshot",
    "flipped_byte_is_named",
    "payloads_are_loaded",
    "value_chain_crosses_branches",
    "history_crosses_segments",
    "paging_sees_every_checkpoint_once",
    "threads_are_listed_once",
    "rows_read_back_as_stored",
    "restored_thread_is_the_same",
    "half_restored_thread_can_be_deleted",
    "restored_value_needs_its_blob",
    "blob_reads_back",
    "put_blob_twice_is_one_blob",
    "blob_value_is_loaded_whole",
    "delete_leaves_no_rows",
    "deleted_name_is_free",
    "deleted_thread_stays_deleted",
    "outcome_is_found_after_successors",
    "repeated_creation_is_one_thread",
    "dropped_commit_completes",
    "two_creators_make_one_thread",
    "one_of_many_claimers_wins",
    "acknowledged_writes_outlive_the_handle",
    "two_handles_fence_each_other",
    "values_of_any_size_read_back",
    "long_chain_is_loaded",
    "longest_names_are_kept",
    "names_are_kept_byte_for_byte",
    "scopes_are_apart",
];

#[test]
fn promises_hold_on_a_server_that_speaks_s3() {
    let cases = CASES.map(|name| *find_case(name).unwrap_or_else(|| panic!("no case is named {name}")));
    common::check_cases(Prefix::new, &cases);
}

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
