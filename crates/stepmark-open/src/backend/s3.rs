//! How is a bucket opened? What its options do not say, the environment does, as for other tools.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use stepmark_core::store::CheckpointStore;
use stepmark_store_object::Objects;
use stepmark_store_object::object_store::aws::AmazonS3Builder;

use super::Backend;
use crate::address::Address;
use crate::dressing::OPTIONS;
use crate::error::Result;
use crate::given::{self, Given};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    region: Option<String>,
    endpoint: Option<String>,
    allow_http: Option<bool>,
    virtual_hosted_style: Option<bool>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    session_token: Option<String>,
}

impl Options {
    fn builder(self) -> AmazonS3Builder {
        let mut builder = AmazonS3Builder::from_env();
        let texts = [
            (self.region, AmazonS3Builder::with_region as fn(AmazonS3Builder, String) -> AmazonS3Builder),
            (self.endpoint, AmazonS3Builder::with_endpoint),
            (self.access_key_id, AmazonS3Builder::with_access_key_id),
            (self.secret_access_key, AmazonS3Builder::with_secret_access_key),
            (self.session_token, AmazonS3Builder::with_token),
        ];
        for (text, set) in texts {
            if let Some(text) = text {
                builder = set(builder, text);
            }
        }
        if let Some(allow) = self.allow_http {
            builder = builder.with_allow_http(allow);
        }
        match self.virtual_hosted_style {
            Some(style) => builder.with_virtual_hosted_style_request(style),
            None => builder,
        }
    }
}

struct Bucket {
    url: String,
    builder: AmazonS3Builder,
}

pub(super) fn read(address: &Address, given: &Given) -> Result<Box<dyn Backend>> {
    let options: Options = given::read(given, "s3", &OPTIONS)?;
    Ok(Box::new(Bucket { url: address.with_query(&Given::new()), builder: options.builder() }))
}

#[async_trait]
impl Backend for Bucket {
    fn name(&self) -> &'static str {
        "object"
    }

    async fn open(&self) -> Result<Arc<dyn CheckpointStore>> {
        Ok(Arc::new(Objects::options().in_bucket_with(&self.url, self.builder.clone()).await?))
    }
}
