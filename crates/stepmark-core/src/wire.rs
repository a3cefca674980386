//! How are the plain heads of stored records written and read?
//!
//! Little-endian fixed integers, LEB128 varints, and length-prefixed bytes; nothing self-describing, because stores
//! walk these heads on hot paths. Values and metadata are MessagePack and are opaque here. Reading never panics and
//! never allocates more than the input's length.

use thiserror::Error;

/// Why stored bytes could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// The bytes end inside a field.
    #[error("record ends inside a field")]
    Truncated,
    /// Bytes are left over after the last field.
    #[error("record has {0} bytes after its last field")]
    Trailing(usize),
    /// A field holds what no writer writes.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// The record was sealed by a codec, and is read without one.
    #[error("it is sealed: open its store with the keys")]
    Sealed,
    /// The record is of a kind or version that this program does not know.
    #[error("unknown {what} {number}")]
    Unknown {
        /// What is unknown: a kind, a version.
        what: &'static str,
        /// Its stored number.
        number: u64,
    },
}

/// Appends fields to a buffer.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    buffer: Vec<u8>,
}

impl Writer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty buffer with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buffer: Vec::with_capacity(bytes) }
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.buffer.push(value);
        self
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// LEB128: seven bits a byte, low bits first, the high bit set on all but the last byte.
    pub fn varint(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.buffer.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.push(value as u8);
        self
    }

    /// A signed number as a zigzag varint.
    pub fn zigzag(&mut self, value: i64) -> &mut Self {
        self.varint(((value << 1) ^ (value >> 63)) as u64)
    }

    /// A varint length and the bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.varint(bytes.len() as u64).raw(bytes)
    }

    /// A varint length and what `write` writes.
    pub fn nested(&mut self, write: impl FnOnce(&mut Self)) -> &mut Self {
        // Nearly every length takes one byte or two.
        let start = self.buffer.len();
        self.buffer.push(0);
        write(self);
        let mut length = (self.buffer.len() - start - 1) as u64;
        let mut place = start;
        while length >= 0x80 {
            self.buffer[place] = length as u8 | 0x80;
            length >>= 7;
            place += 1;
            self.buffer.insert(place, 0);
        }
        self.buffer[place] = length as u8;
        self
    }

    /// A string as its UTF-8 bytes.
    pub fn str(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// Bytes without a length.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.buffer.extend_from_slice(bytes);
        self
    }

    /// What was written so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.buffer
    }

    /// The buffer.
    pub fn into_vec(self) -> Vec<u8> {
        self.buffer
    }
}

/// Reads fields from a slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Succeeds when nothing is left.
    pub fn finish(self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::Trailing(self.rest.len())) }
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `length` bytes.
    pub fn raw(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        self.raw(N)?.try_into().map_err(|_| WireError::Truncated)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, WireError> {
        Ok(self.array::<1>()?[0])
    }

    /// One byte that is 0 or 1.
    pub fn flag(&mut self) -> Result<bool, WireError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::Malformed("flag")),
        }
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A LEB128 number of at most ten bytes.
    pub fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(WireError::Malformed("varint"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Malformed("varint"))
    }

    /// A varint that must fit 32 bits.
    pub fn varint32(&mut self) -> Result<u32, WireError> {
        u32::try_from(self.varint()?).map_err(|_| WireError::Malformed("32-bit varint"))
    }

    /// A zigzag varint.
    pub fn zigzag(&mut self) -> Result<i64, WireError> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A varint count of things that take at least one byte each; a larger one than bytes are left is refused, so
    /// that a damaged count never reserves memory.
    pub fn count(&mut self) -> Result<usize, WireError> {
        let count = self.varint()?;
        if count > self.rest.len() as u64 {
            return Err(WireError::Truncated);
        }
        Ok(count as usize)
    }

    /// Length-prefixed bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.count()?;
        self.raw(length)
    }

    /// A length-prefixed UTF-8 string.
    pub fn str(&mut self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| WireError::Malformed("text"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_read_back_as_written() {
        let mut writer = Writer::new();
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            writer.varint(value).u64(value).zigzag(value as i64).zigzag(-(value as i64 / 2));
        }
        writer.str("naïve").bytes(&[0, 255]);
        for length in [0, 127, 128, 20_000] {
            writer.nested(|inner| {
                inner.raw(&vec![7; length]);
            });
        }
        let mut reader = Reader::new(writer.as_slice());
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(reader.varint(), Ok(value));
            assert_eq!(reader.u64(), Ok(value));
            assert_eq!(reader.zigzag(), Ok(value as i64));
            assert_eq!(reader.zigzag(), Ok(-(value as i64 / 2)));
        }
        assert_eq!(reader.str(), Ok("naïve"));
        assert_eq!(reader.bytes(), Ok(&[0, 255][..]));
        for length in [0, 127, 128, 20_000] {
            assert_eq!(reader.bytes(), Ok(&vec![7; length][..]));
        }
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn damaged_lengths_are_refused() {
        assert_eq!(Reader::new(&[0xff; 11]).varint(), Err(WireError::Malformed("varint")));
        assert_eq!(Reader::new(&[5, 1, 2]).bytes(), Err(WireError::Truncated));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0x7f]).count(), Err(WireError::Truncated));
        assert_eq!(Reader::new(&[1]).finish(), Err(WireError::Trailing(1)));
    }
}
