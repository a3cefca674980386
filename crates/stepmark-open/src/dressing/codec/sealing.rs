//! Where are the keys that options name?

use stepmark_codec::{Codec, FileKeys, MasterKeys};

use crate::dressing::{Dressing, Keys};
use crate::error::Result;

pub(super) fn sealed(codec: Codec, dressing: &Dressing) -> Result<Codec> {
    let Some(keys) = &dressing.keys else { return Ok(codec) };
    let master = match keys {
        Keys::Env(name) => MasterKeys::from_env(name)?,
        Keys::File(path) => MasterKeys::from_file(path)?,
    };
    Ok(match &dressing.key_directory {
        Some(directory) => codec.sealed(FileKeys::open(directory, master)?),
        None => codec.sealed(master),
    })
}
