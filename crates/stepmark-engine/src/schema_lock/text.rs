//! What is in a schema file?
//!
//! One section per version of a state, one line per name under which it stores, or stored, a channel.

use std::fmt;

/// The first lines of every file.
const HEADER: &str = "\
# What each version of each state stores: `field: keep reducer type`. Kept by `stepmark::check_schema`; commit it.
# Edit a line by hand only where its type is spelled anew and stored as before.
";
/// Where a name has no reader any more.
const REMOVED: &str = "(removed)";

/// All sections, ordered by state and version.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LockFile {
    pub(super) sections: Vec<Section>,
}

/// What a version of a state stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) state: String,
    pub(super) version: u32,
    pub(super) lines: Vec<Line>,
}

/// A stored name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) reader: Reader,
    /// Keep, reducer and type.
    pub(super) form: String,
}

/// Who reads a stored name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// The field of that name.
    Field,
    /// The field that was renamed from it.
    Renamed(String),
    /// Nobody.
    Removed,
}

impl LockFile {
    /// Reads a file, or says which line is none of a schema file.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut file = Self::default();
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let read = match (section(line), file.sections.last_mut()) {
                (Some(section), _) => {
                    file.sections.push(section);
                    Some(())
                }
                (None, Some(section)) => channel(line).map(|channel| section.lines.push(channel)),
                (None, None) => None,
            };
            read.ok_or_else(|| format!("line {} is none of a schema file: {line}", index + 1))?;
        }
        file.sections.sort_by(|a, b| a.key().cmp(&b.key()));
        match file.sections.windows(2).find(|pair| pair[0].key() == pair[1].key()) {
            Some(pair) => Err(format!("version {} of state {:?} stands in it twice", pair[0].version, pair[0].state)),
            None => Ok(file),
        }
    }

    /// The section of a version, made if it is missing.
    pub(super) fn section_mut(&mut self, state: &str, version: u32) -> &mut Section {
        let place = self.sections.binary_search_by(|section| section.key().cmp(&(state, version)));
        let place = place.unwrap_or_else(|place| {
            self.sections.insert(place, Section { state: state.to_owned(), version, lines: Vec::new() });
            place
        });
        &mut self.sections[place]
    }
}

impl Section {
    fn key(&self) -> (&str, u32) {
        (&self.state, self.version)
    }
}

fn section(line: &str) -> Option<Section> {
    let (state, version) = line.strip_prefix('[')?.strip_suffix(']')?.split_once(' ')?;
    Some(Section { state: state.to_owned(), version: version.parse().ok()?, lines: Vec::new() })
}

fn channel(line: &str) -> Option<Line> {
    let (name, form) = line.split_once(": ")?;
    let (name, reader) = match name.split_once(" => ") {
        None => (name, Reader::Field),
        Some((name, REMOVED)) => (name, Reader::Removed),
        Some((name, reader)) => (name, Reader::Renamed(reader.to_owned())),
    };
    Some(Line { name: name.to_owned(), reader, form: form.to_owned() })
}

impl fmt::Display for LockFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEADER)?;
        for Section { state, version, lines } in &self.sections {
            writeln!(f, "\n[{state} {version}]")?;
            lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, reader, form } = self;
        match reader {
            Reader::Field => write!(f, "{name}: {form}"),
            Reader::Renamed(reader) => write!(f, "{name} => {reader}: {form}"),
            Reader::Removed => write!(f, "{name} => {REMOVED}: {form}"),
        }
    }
}
