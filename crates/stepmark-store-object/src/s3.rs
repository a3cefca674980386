//! How is a bucket reached that speaks S3?

use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use stepmark_core::error::{Error, Result, Subject};

use crate::error::from_objects;
use crate::store::{Objects, ObjectsOptions};

impl Objects {
    /// Opens `s3://bucket/prefix`. Keys, region and endpoint come from the environment, as for other tools: `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`, or the machine's role. The bucket must be there, and must refuse
    /// to create an object where one is (`If-None-Match: *`), as S3 does.
    ///
    /// # Errors
    /// `Invalid`: no such URL. Those of [`open`](Self::open).
    pub async fn in_bucket(url: &str) -> Result<Self> {
        Self::options().in_bucket(url).await
    }
}

impl ObjectsOptions {
    /// Opens a bucket; see [`Objects::in_bucket`].
    pub async fn in_bucket(self, url: &str) -> Result<Objects> {
        self.in_bucket_with(url, AmazonS3Builder::from_env()).await
    }

    /// Opens a bucket through `builder`, which knows keys, region and endpoint; its URL is set here. Buckets that are reached
    /// otherwise are given to [`Objects::open`].
    pub async fn in_bucket_with(self, url: &str, builder: AmazonS3Builder) -> Result<Objects> {
        let path = url.strip_prefix("s3://").filter(|path| !path.is_empty() && !path.starts_with('/'));
        let path = path.ok_or_else(|| Error::invalid(Subject::Store, url, "a bucket's URL is s3://bucket/prefix"))?;
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        // Whoever installed a provider before has chosen for the whole program; ring is there in any case.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let s3 = builder.with_bucket_name(bucket).build().map_err(|error| from_objects(&url.into(), error))?;
        self.open(Arc::new(s3), prefix).await
    }
}
