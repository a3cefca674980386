//! How is an item written down and read back?

use stepmark_core::capability::{Item, ItemKey, ItemStamp, ItemVersion, Namespace};
use stepmark_core::wire::{Reader, WireError, Writer};

use crate::row::check;

/// Writes an item.
pub(crate) fn write(item: &Item, out: &mut Writer) {
    let Item { key: ItemKey { scope, namespace, key }, value, ttl_us, stamp } = item;
    out.str(scope).bytes(&namespace.encode()).str(key).u64(stamp.version.0);
    out.u64(stamp.created_at as u64).u64(stamp.updated_at as u64);
    write_time(stamp.expires_at, out);
    write_time(*ttl_us, out);
    out.bytes(value).raw(&item.record_hash().0);
}

/// Reads it back; one that is not what its hash says is refused.
pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Item, WireError> {
    let (scope, namespace) = (reader.str()?.to_owned(), Namespace::decode(reader.bytes()?)?);
    let key = ItemKey { scope, namespace, key: reader.str()?.to_owned() };
    let (version, created_at, updated_at) = (reader.u64()?, reader.u64()? as i64, reader.u64()? as i64);
    let expires_at = read_time(reader)?;
    let stamp = ItemStamp { version: ItemVersion(version), created_at, updated_at, expires_at };
    let item = Item { key, ttl_us: read_time(reader)?, value: reader.bytes()?.to_vec(), stamp };
    check(reader, item.record_hash())?;
    Ok(item)
}

fn write_time(time: Option<i64>, out: &mut Writer) {
    out.u8(u8::from(time.is_some()));
    if let Some(time) = time {
        out.u64(time as u64);
    }
}

fn read_time(reader: &mut Reader<'_>) -> Result<Option<i64>, WireError> {
    if reader.flag()? { Ok(Some(reader.u64()? as i64)) } else { Ok(None) }
}
