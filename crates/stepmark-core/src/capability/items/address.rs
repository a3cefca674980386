//! Where does an item lie?

use std::fmt;

use crate::error::{Error, Result, Subject};
use crate::wire::WireError;

/// How long a scope, an encoded namespace and a key may be together: an index of PostgreSQL holds no more.
pub const ADDRESS_BYTES_MAX: usize = 2000;

/// Ends a label; no other byte of an encoded namespace follows a zero.
const END: [u8; 2] = [0, 0];
/// Stands for a zero inside a label.
const ZERO: [u8; 2] = [0, 0xff];

/// A tuple of labels, outermost first. Any text is a label.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(pub Vec<String>);

impl Namespace {
    /// The bytes under which a store keeps it: they order as the labels do, and those of a namespace are the beginning of
    /// those of everything below it.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.iter().map(|label| label.len() + 2).sum());
        for label in &self.0 {
            for byte in label.bytes() {
                match byte {
                    0 => bytes.extend_from_slice(&ZERO),
                    byte => bytes.push(byte),
                }
            }
            bytes.extend_from_slice(&END);
        }
        bytes
    }

    /// The namespace that encodes to these bytes.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, WireError> {
        let mut labels = Vec::new();
        let mut label = Vec::new();
        while let Some((byte, rest)) = bytes.split_first() {
            bytes = rest;
            if *byte != 0 {
                label.push(*byte);
                continue;
            }
            match bytes.split_first() {
                Some((0, rest)) => {
                    let text = String::from_utf8(std::mem::take(&mut label));
                    labels.push(text.map_err(|_| WireError::Malformed("label"))?);
                    bytes = rest;
                }
                Some((0xff, rest)) => {
                    label.push(0);
                    bytes = rest;
                }
                _ => return Err(WireError::Malformed("end of a label")),
            }
        }
        if label.is_empty() { Ok(Self(labels)) } else { Err(WireError::Truncated) }
    }

    /// Where it and all below it lie.
    pub fn range(&self) -> NamespaceRange {
        let from = self.encode();
        let mut end = from.clone();
        match end.last_mut() {
            // It is zero, and nothing has a one after a zero.
            Some(last) => *last = 1,
            // UTF-8 has no such byte, and two of them are not what a flipped bit makes of a label.
            None => end.extend([0xff; 2]),
        }
        NamespaceRange { from, end }
    }

    /// Whether its outermost labels are these.
    pub fn starts_with(&self, prefix: &Self) -> bool {
        self.0.starts_with(&prefix.0)
    }

    /// Whether its innermost labels are these.
    pub fn ends_with(&self, suffix: &Self) -> bool {
        self.0.ends_with(&suffix.0)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, label) in self.0.iter().enumerate() {
            let between = if number == 0 { "" } else { "/" };
            write!(f, "{between}{}", Part(label))?;
        }
        Ok(())
    }
}

/// A part of a shown address: in quotes where it could be taken for several.
struct Part<'a>(&'a str);

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        if text.is_empty() || text.contains(['/', '"']) { write!(f, "{text:?}") } else { f.write_str(text) }
    }
}

impl<T: Into<String>, const N: usize> From<[T; N]> for Namespace {
    fn from(labels: [T; N]) -> Self {
        labels.into_iter().collect()
    }
}

impl From<&str> for Namespace {
    fn from(label: &str) -> Self {
        Self::from([label])
    }
}

impl<T: Into<String>> FromIterator<T> for Namespace {
    fn from_iter<I: IntoIterator<Item = T>>(labels: I) -> Self {
        Self(labels.into_iter().map(Into::into).collect())
    }
}

/// The encoded namespaces from one, up to another that is outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceRange {
    /// The first inside.
    pub from: Vec<u8>,
    /// The first outside.
    pub end: Vec<u8>,
}

/// Whose item, where, and under which key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemKey {
    /// The tenant.
    pub scope: String,
    /// The namespace.
    pub namespace: Namespace,
    /// The key, one of its kind in the namespace.
    pub key: String,
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, Part(&self.key))
    }
}

/// Where an item lies in its scope, byte by byte as it is stored: also where these bytes are damaged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredAddress {
    /// The encoded namespace.
    pub namespace: Vec<u8>,
    /// The key.
    pub key: Vec<u8>,
}

impl StoredAddress {
    /// The address that was written.
    ///
    /// # Errors
    /// `Corrupt` (item): no address is stored as these bytes, which the error names.
    pub fn read(&self, scope: &str) -> Result<ItemKey> {
        let corrupt = |part: &str| Error::corrupt(Subject::Item, self, format!("no {part} is stored as this one is"));
        let namespace = Namespace::decode(&self.namespace).map_err(|error| corrupt("namespace").with_source(error))?;
        let key = std::str::from_utf8(&self.key).map_err(|error| corrupt("key").with_source(error))?;
        Ok(ItemKey { scope: scope.to_owned(), namespace, key: key.to_owned() })
    }
}

impl From<&ItemKey> for StoredAddress {
    fn from(key: &ItemKey) -> Self {
        Self { namespace: key.namespace.encode(), key: key.key.as_bytes().to_vec() }
    }
}

impl fmt::Display for StoredAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bytes, before) in [(&self.namespace, "x'"), (&self.key, "'/x'")] {
            f.write_str(before)?;
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        }
        f.write_str("'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(labels: &[&str]) -> Namespace {
        labels.iter().copied().collect()
    }

    #[test]
    fn encoded_namespaces_order_as_their_labels_and_read_back() {
        let labels = ["", "\0", "\0\0", "\0\u{1}", "a", "a\0", "a\0b", "aa", "b", "ä", "\u{10ffff}"];
        let mut all = vec![namespace(&[])];
        for outer in labels {
            all.push(namespace(&[outer]));
            all.extend(labels.map(|inner| namespace(&[outer, inner])));
        }
        for one in &all {
            assert_eq!(Namespace::decode(&one.encode()).as_ref(), Ok(one));
            for other in &all {
                assert_eq!(one.cmp(other), one.encode().cmp(&other.encode()), "{one:?} {other:?}");
                let NamespaceRange { from, end } = other.range();
                let inside = (from..end).contains(&one.encode());
                assert_eq!(inside, one.starts_with(other), "{one:?} in {other:?}");
            }
        }
    }

    #[test]
    fn shown_addresses_are_told_apart() {
        let shown = |labels: &[&str], key: &str| {
            ItemKey { scope: String::new(), namespace: namespace(labels), key: key.into() }.to_string()
        };
        assert_eq!(shown(&["users", "ada"], "name"), "users/ada/name");
        let alike =
            [(&["a/b"][..], "c"), (&["a", "b"], "c"), (&["a"], "b/c"), (&["a", ""], "b"), (&["\"a", "b\""], "c")];
        let shown: std::collections::BTreeSet<_> = alike.iter().map(|(labels, key)| shown(labels, key)).collect();
        assert_eq!(shown.len(), alike.len(), "{shown:?}");
    }

    #[test]
    fn what_no_namespace_encodes_to_is_refused() {
        for bytes in [&b"a"[..], &[b'a', 0], &[0, 1], &[0xff, 0, 0]] {
            assert!(Namespace::decode(bytes).is_err(), "{bytes:?}");
        }
    }
}
