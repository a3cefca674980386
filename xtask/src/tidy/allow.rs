//! The list of what was over a limit when the limit came: read from `tidy-allow.txt`, and only ever
//! shorter.

use super::{ALLOW_FILE, Finding};

/// The list, as read.
#[derive(Debug)]
pub(super) struct AllowList {
    pub(super) entries: Vec<Entry>,
}

/// One offender that is tolerated up to a size.
#[derive(Debug)]
pub(super) struct Entry {
    /// What it is and where, as `Measure::key` spells it.
    pub(super) key: String,
    pub(super) size: usize,
    line: usize,
}

impl AllowList {
    /// Reads `kind path size` lines; `#` begins a comment line.
    pub(super) fn parse(text: &str) -> Result<Self, Finding> {
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let entries = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        Ok(Self { entries: entries.map(|(number, line)| Entry::parse(number, line)).collect::<Result<_, _>>()? })
    }
}

impl Entry {
    fn parse(line: usize, text: &str) -> Result<Self, Finding> {
        let parts = text.rsplit_once(' ').and_then(|(key, size)| Some((key, size.parse().ok()?)));
        match parts {
            Some((key, size)) => Ok(Self { key: key.to_owned(), size, line }),
            None => Err(remark(line, format!("`{text}` is not of the form `kind path size`"))),
        }
    }

    pub(super) fn finding(&self, message: impl Into<String>) -> Finding {
        remark(self.line, message.into())
    }
}

fn remark(line: usize, message: String) -> Finding {
    Finding { path: ALLOW_FILE.to_owned(), line: Some(line), message }
}

#[cfg(test)]
mod tests {
    use super::AllowList;

    #[test]
    fn entries_are_read_between_comments() {
        let list = AllowList::parse("# Why.\n\nfunction a.rs::run 84\n").expect("list");
        let read: Vec<_> = list.entries.iter().map(|entry| (entry.key.as_str(), entry.size, entry.line)).collect();
        assert_eq!(read, [("function a.rs::run", 84, 3)]);
    }

    #[test]
    fn entry_without_size_is_refused_with_its_line() {
        let finding = AllowList::parse("\nfunction a.rs::run\n").expect_err("refused");
        assert_eq!(finding.line, Some(2));
    }
}
