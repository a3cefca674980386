//! How do equal maps become equal bytes, however deep they lie in a value?
//!
//! A serializer around the one of `rmp_serde`. It writes the same bytes, but the entries of each map are put in order of
//! their encoded keys. A value without maps is written straight through and costs nothing more.
//!
//! A map is what serde calls a map: also a struct with a `flatten`ed field and a map type that keeps an order. Structs
//! keep the order of their fields. Sets arrive as sequences and cannot be told from lists, so they stay as they are.

use std::ops::Range;

use rmp_serde::{
    config::{DefaultConfig, StructMapConfig},
    encode::Error,
};
use serde::{
    Serialize, Serializer,
    ser::{
        SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
        SerializeTupleVariant,
    },
};

/// Writes values to the end of a buffer. After an error it may have written a part.
pub(super) struct Sorted<'b> {
    plain: rmp_serde::Serializer<&'b mut Vec<u8>, StructMapConfig<DefaultConfig>>,
    /// Holds what must be written again while that is done; kept, so that many small maps share it.
    aside: Vec<u8>,
}

impl<'b> Sorted<'b> {
    pub(super) fn new(bytes: &'b mut Vec<u8>) -> Self {
        Self { plain: rmp_serde::Serializer::new(bytes).with_struct_map(), aside: Vec::new() }
    }

    fn len(&self) -> usize {
        self.plain.get_ref().len()
    }

    /// Takes back what was written from `start` on, for something else to come before it.
    fn set_aside(&mut self, start: usize) {
        let bytes = self.plain.get_mut();
        self.aside.clear();
        self.aside.extend_from_slice(&bytes[start..]);
        bytes.truncate(start);
    }
}

/// Methods that have nothing to add.
macro_rules! forward {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {
        $(
            #[inline]
            fn $method(self, $($argument: $type),*) -> Result<(), Error> {
                self.plain.$method($($argument),*)
            }
        )*
    };
}

/// Methods that write a header alone; the elements follow.
macro_rules! forward_headers {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {
        $(
            #[inline]
            fn $method(self, $($argument: $type),*) -> Result<Self, Error> {
                self.plain.$method($($argument),*)?;
                Ok(self)
            }
        )*
    };
}

impl<'s, 'b> Serializer for &'s mut Sorted<'b> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Sequence<'s, 'b>;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Map<'s, 'b>;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    forward! {
        serialize_bool(value: bool);
        serialize_i8(value: i8); serialize_i16(value: i16); serialize_i32(value: i32);
        serialize_i64(value: i64); serialize_i128(value: i128);
        serialize_u8(value: u8); serialize_u16(value: u16); serialize_u32(value: u32);
        serialize_u64(value: u64); serialize_u128(value: u128);
        serialize_f32(value: f32); serialize_f64(value: f64); serialize_char(value: char);
        serialize_str(value: &str); serialize_bytes(value: &[u8]);
        serialize_none(); serialize_unit();
        serialize_unit_struct(name: &'static str);
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str);
    }

    forward_headers! {
        serialize_tuple(len: usize);
        serialize_tuple_struct(name: &'static str, len: usize);
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize);
        serialize_struct(name: &'static str, len: usize);
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize);
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), Error> {
        // An extension of the format is not the value that serde describes; there is no map in one.
        if name == rmp_serde::MSGPACK_EXT_STRUCT_NAME {
            return self.plain.serialize_newtype_struct(name, value);
        }
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.plain.serialize_map(Some(1))?;
        self.plain.serialize_str(variant)?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Sequence<'s, 'b>, Error> {
        let uncounted = match len {
            Some(_) => self.plain.serialize_seq(len).map(|_| None)?,
            None => Some(Uncounted { start: self.len(), len: 0 }),
        };
        Ok(Sequence { out: self, uncounted })
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Map<'s, 'b>, Error> {
        let entries = Vec::with_capacity(len.unwrap_or(0).min(ROOM_MAX));
        Ok(Map { start: self.len(), out: self, entries, key: None })
    }
}

/// For how many entries room is made before they are seen: the length is only a claim.
const ROOM_MAX: usize = 1024;

/// A sequence that is being written.
pub(super) struct Sequence<'s, 'b> {
    out: &'s mut Sorted<'b>,
    uncounted: Option<Uncounted>,
}

/// A sequence whose header is written at its end, because its length was not known.
struct Uncounted {
    start: usize,
    len: usize,
}

impl SerializeSeq for Sequence<'_, '_> {
    type Ok = ();
    type Error = Error;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        if let Some(uncounted) = &mut self.uncounted {
            uncounted.len += 1;
        }
        value.serialize(&mut *self.out)
    }

    #[inline]
    fn end(self) -> Result<(), Error> {
        let Some(Uncounted { start, len }) = self.uncounted else { return Ok(()) };
        self.out.set_aside(start);
        self.out.plain.serialize_seq(Some(len))?;
        self.out.plain.get_mut().extend_from_slice(&self.out.aside);
        Ok(())
    }
}

/// A map that is being written: first its entries as they come, then all of it in order.
pub(super) struct Map<'s, 'b> {
    out: &'s mut Sorted<'b>,
    start: usize,
    entries: Vec<Entry>,
    /// The key whose value comes next.
    key: Option<Range<usize>>,
}

/// Where an entry lies, counted from the start of its map; the value follows the key.
struct Entry {
    key: Range<usize>,
    end: usize,
}

impl SerializeMap for Map<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        if self.key.is_some() {
            return Err(Error::InvalidDataModel("a key of a map without its value"));
        }
        let start = self.out.len();
        key.serialize(&mut *self.out)?;
        self.key = Some(start - self.start..self.out.len() - self.start);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let key = self.key.take().ok_or(Error::InvalidDataModel("a value of a map without its key"))?;
        value.serialize(&mut *self.out)?;
        self.entries.push(Entry { key, end: self.out.len() - self.start });
        Ok(())
    }

    fn end(mut self) -> Result<(), Error> {
        if self.key.is_some() {
            return Err(Error::InvalidDataModel("a key of a map without its value"));
        }
        self.out.set_aside(self.start);
        let Sorted { plain, aside } = self.out;
        // Stable: of two entries with one key the last still wins.
        self.entries.sort_by(|a, b| aside[a.key.clone()].cmp(&aside[b.key.clone()]));
        plain.serialize_map(Some(self.entries.len()))?;
        for entry in self.entries {
            plain.get_mut().extend_from_slice(&aside[entry.key.start..entry.end]);
        }
        Ok(())
    }
}

/// What has a header of known length writes its parts one after the other, each after its name if it has one.
macro_rules! parts {
    ($($kind:ident::$method:ident($($name:ident)?);)*) => {
        $(impl $kind for &mut Sorted<'_> {
            type Ok = ();
            type Error = Error;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, $($name: &'static str,)? value: &T) -> Result<(), Error> {
                $(self.plain.serialize_str($name)?;)?
                value.serialize(&mut **self)
            }

            #[inline]
            fn end(self) -> Result<(), Error> {
                Ok(())
            }
        })*
    };
}

parts! {
    SerializeTuple::serialize_element();
    SerializeTupleStruct::serialize_field();
    SerializeTupleVariant::serialize_field();
    SerializeStruct::serialize_field(name);
    SerializeStructVariant::serialize_field(name);
}

#[cfg(test)]
mod tests;
