//! Under which name does each object lie?
//!
//! Names of threads become hexadecimal digits, so that any name is a path and listings come in the order of names. Parts
//! are cut where a directory's entry would be too long for a disk.

use object_store::path::Path;
use stepmark_core::id::{BlobHash, ThreadUid};

/// Digits of a number, so that numbers sort as text: all of a `u64`.
const NUMBER_DIGITS: usize = 20;
/// Longer names are cut, and told apart by their hash: a key has at most 1,024 bytes, a directory's entry 255.
const NAME_BYTES_MAX: usize = 180;
/// Digits between two slashes.
const PART_DIGITS: usize = 200;

/// Where everything of a store lies.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    prefix: String,
}

impl Paths {
    pub(crate) fn new(prefix: &str) -> Self {
        let prefix = prefix.trim_matches('/');
        Self { prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") } }
    }

    fn at(&self, rest: &str) -> Path {
        Path::from(format!("{}{rest}", self.prefix))
    }

    /// What says that this is a store, and of which format.
    pub(crate) fn manifest(&self) -> Path {
        self.at("stepmark")
    }

    /// An entry of a thread's log.
    pub(crate) fn entry(&self, uid: ThreadUid, number: u64) -> Path {
        self.at(&format!("threads/{uid}/log/{number:0NUMBER_DIGITS$}"))
    }

    /// The directory of all entries.
    pub(crate) fn log(&self, uid: ThreadUid) -> Path {
        self.at(&format!("threads/{uid}/log"))
    }

    /// The records of `count` entries from `first` on.
    pub(crate) fn pack(&self, uid: ThreadUid, first: u64, count: u64) -> Path {
        self.at(&format!("threads/{uid}/packs/{first:0NUMBER_DIGITS$}-{count}"))
    }

    /// The directory of all packs.
    pub(crate) fn packs(&self, uid: ThreadUid) -> Path {
        self.at(&format!("threads/{uid}/packs"))
    }

    /// Who has a name of a scope: its holders are numbered. The dash sorts them before what lies under longer names.
    pub(crate) fn name(&self, scope: &str, name: &str, holder: u64) -> Path {
        self.at(&format!("names/{}/{}/-{holder:0NUMBER_DIGITS$}", scope_part(scope), name_part(name)))
    }

    /// The directory of all holders of a name.
    pub(crate) fn holders(&self, scope: &str, name: &str) -> Path {
        self.at(&format!("names/{}/{}", scope_part(scope), name_part(name)))
    }

    /// The directory of a scope's names.
    pub(crate) fn names(&self, scope: &str) -> Path {
        self.at(&format!("names/{}", scope_part(scope)))
    }

    /// The directory of the names of all scopes.
    pub(crate) fn all_names(&self) -> Path {
        self.at("names")
    }

    /// The directory of the blobs of all scopes.
    pub(crate) fn all_blobs(&self) -> Path {
        self.at("blobs")
    }

    /// What sorts behind all that lies under a name, and before that of greater names; cut names count as equal.
    pub(crate) fn after_name(&self, scope: &str, name: &str) -> Path {
        let name = &name.as_bytes()[..name.len().min(NAME_BYTES_MAX)];
        self.at(&format!("names/{}/{}/.a", scope_part(scope), digits(name)))
    }

    /// The directory of what is declared in a scope.
    pub(crate) fn declared(&self, scope: &str) -> Path {
        self.at(&format!("declared/{}", scope_part(scope)))
    }

    /// A blob of a scope.
    pub(crate) fn blob(&self, scope: &str, hash: BlobHash) -> Path {
        self.at(&format!("blobs/{}/{hash}", scope_part(scope)))
    }

    /// A graph record.
    pub(crate) fn graph(&self, name: &str, signature: [u8; 16]) -> Path {
        self.at(&format!("graphs/{}/{}", name_part(name), hexadecimal(&signature)))
    }
}

/// A scope may be empty, a part of a path may not.
fn scope_part(scope: &str) -> String {
    format!("s{}", name_part(scope))
}

/// The digits of a short name; of a long one those of its beginning and of its hash.
fn name_part(name: &str) -> String {
    let bytes = name.as_bytes();
    if bytes.len() <= NAME_BYTES_MAX {
        return digits(bytes);
    }
    let hash = BlobHash::of(bytes);
    format!("{}_{}", digits(&bytes[..NAME_BYTES_MAX]), hexadecimal(&hash.0[..16]))
}

/// Hexadecimal digits with a slash after each [`PART_DIGITS`]: they sort like the bytes.
fn digits(bytes: &[u8]) -> String {
    let digits = hexadecimal(bytes);
    let mut parts = String::with_capacity(digits.len() + 2);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && index % PART_DIGITS == 0 {
            parts.push('/');
        }
        parts.push(digit);
    }
    parts
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut digits, byte| {
        let _ = std::fmt::Write::write_fmt(&mut digits, format_args!("{byte:02x}"));
        digits
    })
}

/// A numbered object of a directory.
pub(crate) fn numbered(directory: &Path, number: u64) -> Path {
    Path::from(format!("{directory}/-{number:0NUMBER_DIGITS$}"))
}

/// A number at the end of a path.
pub(crate) fn number(path: &str) -> Option<u64> {
    path.get(path.len().checked_sub(NUMBER_DIGITS)?..)?.parse().ok()
}

/// First entry and count of a pack, from its path.
pub(crate) fn pack_range(path: &str) -> Option<(u64, u64)> {
    let (first, count) = path.rsplit('/').next()?.split_once('-')?;
    Some((first.parse().ok()?, count.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_their_paths() {
        let paths = Paths::new("");
        let long = "x".repeat(NAME_BYTES_MAX);
        let edge = "x".repeat(PART_DIGITS / 2);
        let mut names = ["", "a", "aa", "ab", "b", "é", &edge, &format!("{edge}a"), &long, &format!("{long}a")];
        names.sort_unstable();
        let of = |name: &str| paths.name("s", name, 7).to_string();
        for pair in names[1..].windows(2) {
            assert!(of(pair[0]) < of(pair[1]), "{pair:?}");
            let after = paths.after_name("s", pair[0]).to_string();
            // What lies behind a cut name begins with all names that are cut alike.
            let is_cut = pair[0].len() > NAME_BYTES_MAX;
            assert!((is_cut || of(pair[0]) < after) && after < of(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn no_path_is_longer_than_a_store_takes() {
        let name = "ü".repeat(256);
        let path = Paths::new("agents").name(&name, &name, u64::MAX).to_string();
        assert!(path.len() < 1024, "{}", path.len());
        assert!(path.split('/').all(|part| part.len() < 255));
        assert_eq!(number(&path), Some(u64::MAX));
    }
}
