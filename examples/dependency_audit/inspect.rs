//! What is inside one package. The same files give the same inspection, on any machine and at any time.

mod readme;
mod rust_source;
mod walk;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::package::{Package, PackageId};
use walk::FoundFile;

/// Longest file that is read; the largest amalgamated C source known is a third of it.
const FILE_BYTES_MAX: u64 = 32 << 20;
/// Longest part of a README that is read.
const README_BYTES_MAX: u64 = 256 << 10;

const NATIVE_EXTENSIONS: [&str; 11] = ["asm", "c", "cc", "cpp", "cxx", "h", "hh", "hpp", "hxx", "m", "s"];
const PREBUILT_EXTENSIONS: [&str; 9] = ["a", "dll", "dylib", "exe", "lib", "o", "obj", "so", "wasm"];
const LICENCE_NAMES: [&str; 6] = ["copying", "copyright", "licence", "license", "notice", "unlicense"];

/// One package and what was found in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    pub package: PackageId,
    pub result: Inspected,
}

/// Either the facts, or why there are none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inspected {
    Facts(Facts),
    NotAvailable { reason: String },
}

/// What the files of a package say. Every path is relative to the package.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub licence: Option<String>,
    pub licence_files: Vec<String>,
    pub build_script: Option<String>,
    pub files: u64,
    pub bytes: u64,
    pub rust: Rust,
    pub native: Native,
    /// Compiled code that nobody can read: libraries, objects, executables.
    pub prebuilt: Vec<String>,
    /// The most telling sentences of the README, in its order.
    pub readme: Vec<String>,
    /// What could not be read, so that no number above pretends to cover it.
    pub unread: Vec<Unread>,
}

/// Rust sources, tests and examples of the package included.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rust {
    pub files: u64,
    /// Lines with more on them than comments and white space.
    pub code_lines: u64,
    /// Occurrences of the keyword `unsafe`, outside comments and literals.
    pub unsafe_count: u64,
}

/// C, C++, Objective-C and assembly sources and headers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Native {
    pub files: u64,
    pub lines: u64,
}

/// A file, link or directory that was not read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unread {
    pub path: String,
    pub reason: String,
}

/// Inspects one package. Whatever is on disk, or is not, there is an inspection.
pub fn inspect(package: &Package) -> Inspection {
    let result = match missing_root(package) {
        Some(reason) => Inspected::NotAvailable { reason },
        None => Inspected::Facts(facts(package)),
    };
    Inspection { package: package.id.clone(), result }
}

/// Cargo knows a package by its manifest alone, and a registry cache may have been swept since.
fn missing_root(package: &Package) -> Option<String> {
    let directory = Path::new(&package.directory);
    if !directory.is_dir() {
        return Some("its directory is not on disk".to_owned());
    }
    let missing = package.roots.iter().find(|root| !directory.join(root).is_file())?;
    Some(format!("its file `{missing}` is not on disk"))
}

fn facts(package: &Package) -> Facts {
    let walk::Walk { files, unread } = walk::walk(Path::new(&package.directory));
    let mut facts = Facts {
        licence: package.licence.clone(),
        licence_files: licence_files(&files, package.licence_file.as_deref()),
        build_script: package.build_script.clone(),
        unread,
        ..Facts::default()
    };
    for file in &files {
        facts.files += 1;
        facts.bytes += file.bytes;
        if let Err(reason) = count(file, &mut facts) {
            facts.unread.push(Unread { path: file.path.clone(), reason });
        }
    }
    facts.readme = readme_digest(&files, package.readme.as_deref(), &mut facts.unread);
    facts.unread.sort();
    facts.unread.dedup();
    facts
}

fn count(file: &FoundFile, facts: &mut Facts) -> Result<(), String> {
    let extension = file.extension();
    if extension == "rs" {
        let measure = rust_source::measure(&String::from_utf8_lossy(&read(file)?));
        facts.rust.files += 1;
        facts.rust.code_lines += measure.code_lines;
        facts.rust.unsafe_count += measure.unsafe_count;
    } else if NATIVE_EXTENSIONS.contains(&extension.as_str()) {
        let text = read(file)?;
        facts.native.files += 1;
        facts.native.lines += lines(&text);
    } else if PREBUILT_EXTENSIONS.contains(&extension.as_str()) {
        facts.prebuilt.push(file.path.clone());
    }
    Ok(())
}

fn licence_files(files: &[FoundFile], declared: Option<&str>) -> Vec<String> {
    let is_licence = |path: &str| {
        let lower = path.to_ascii_lowercase();
        let at_root = !lower.contains('/') && LICENCE_NAMES.iter().any(|name| lower.starts_with(name));
        at_root || lower.starts_with("licenses/") || declared == Some(path)
    };
    files.iter().filter(|file| is_licence(&file.path)).map(|file| file.path.clone()).collect()
}

fn readme_digest(files: &[FoundFile], declared: Option<&str>, unread: &mut Vec<Unread>) -> Vec<String> {
    let usual = |file: &&FoundFile| file.path.to_ascii_lowercase().starts_with("readme") && !file.path.contains('/');
    let named = files.iter().find(|file| declared == Some(&file.path));
    let Some(file) = named.or_else(|| files.iter().find(usual)) else {
        return Vec::new();
    };
    match read_start(file, README_BYTES_MAX) {
        Ok(text) => readme::digest(&String::from_utf8_lossy(&text)),
        Err(error) => {
            unread.push(Unread { path: file.path.clone(), reason: error.kind().to_string() });
            Vec::new()
        }
    }
}

fn read(file: &FoundFile) -> Result<Vec<u8>, String> {
    // One byte more than allowed is asked for: a file may have grown since its size was taken.
    let bytes = read_start(file, FILE_BYTES_MAX + 1).map_err(|error| error.kind().to_string())?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("longer than {} MiB", FILE_BYTES_MAX >> 20));
    }
    Ok(bytes)
}

fn read_start(file: &FoundFile, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(&file.location)?.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The last line counts with or without a break at its end.
fn lines(text: &[u8]) -> u64 {
    text.split_inclusive(|&byte| byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests;
