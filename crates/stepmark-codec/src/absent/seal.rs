//! What stands in place of keys where encryption is left out: keys that nobody has.

use std::fmt::Display;

use stepmark_core::error::{Result, Subject};
use stepmark_core::id::ThreadUid;

use crate::store::CodecStore;

pub(crate) type What<'a> = (Subject, &'a dyn Display);

pub(crate) fn is_sealed(_bytes: &[u8]) -> bool {
    false
}

/// Where keys would come from.
#[derive(Clone, Debug)]
pub(crate) enum KeySource {}

/// Whose keys they would be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KeyOwner {
    #[expect(dead_code, reason = "nobody has keys")]
    Thread(ThreadUid),
    Store,
}

#[derive(Debug)]
pub(crate) enum Keys {}

impl Keys {
    pub(crate) fn has_older(&self) -> bool {
        match *self {}
    }

    pub(crate) fn step_back(&mut self) -> bool {
        match *self {}
    }

    pub(crate) fn seal(&self, _place: &[u8], _plain: &[u8]) -> Result<Vec<u8>> {
        match *self {}
    }

    pub(crate) fn open(&self, _place: &[u8], _sealed: &[u8], _what: What<'_>) -> Result<Vec<u8>> {
        match *self {}
    }

    pub(crate) fn mark(&self, _place: &[u8]) -> [u8; 16] {
        match *self {}
    }

    pub(crate) fn check_mark(&self, _place: &[u8], _mark: [u8; 16], _blob: &[u8], _what: What<'_>) -> Result<()> {
        match *self {}
    }

    pub(crate) fn blind(&self, _label: &[u8], _bytes: [u8; 16]) -> [u8; 16] {
        match *self {}
    }

    pub(crate) fn unblind(&self, _label: &[u8], _bytes: [u8; 16]) -> [u8; 16] {
        match *self {}
    }

    pub(crate) fn hash(&self, _bytes: &[u8]) -> [u8; 16] {
        match *self {}
    }
}

#[expect(clippy::unused_async, reason = "providers take their time")]
impl CodecStore {
    pub(crate) async fn keys(&self, _owner: KeyOwner) -> Result<Option<Keys>> {
        Ok(self.codec.keys.as_ref().map(|source| match *source {}))
    }

    pub(crate) async fn made_keys(&self, _owner: KeyOwner) -> Result<Option<Keys>> {
        Ok(self.codec.keys.as_ref().map(|source| match *source {}))
    }
}
