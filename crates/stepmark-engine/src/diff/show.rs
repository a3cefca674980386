//! How is a difference printed?
//!
//! A line per difference, with the path to it; long values and equal parts of texts are cut short.

use std::fmt::{self, Write};

use super::{Change, Diff, ItemDiff, TextDiff, TextPart, TextUnit};
use crate::dynamic::Value;

/// How much of a value is shown.
const SHOWN_CHARS_MAX: usize = 120;
/// How much of an equal part of a text is shown on either side of a difference.
const CONTEXT_CHARS: usize = 24;

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.channels.iter().try_for_each(|diff| write_change(f, &diff.channel, &diff.change))
    }
}

fn write_change(f: &mut fmt::Formatter<'_>, path: &str, change: &Change) -> fmt::Result {
    match change {
        Change::Added(value) => writeln!(f, "{path}: + {}", Short(value)),
        Change::Removed(value) => writeln!(f, "{path}: - {}", Short(value)),
        Change::Replaced { old, new } => writeln!(f, "{path}: {} → {}", Short(old), Short(new)),
        Change::Entries(entries) => {
            entries.iter().try_for_each(|entry| write_change(f, &below_key(path, &entry.key), &entry.change))
        }
        Change::Items(list) => {
            if list.is_coarse {
                writeln!(f, "{path}: compared place by place, too many items differ")?;
            }
            list.items.iter().try_for_each(|item| write_item(f, path, item))
        }
        Change::Text(text) => write_text(f, path, text),
        Change::Moved => writeln!(f, "{path}: moved"),
        Change::TooLarge { old_bytes, new_bytes } => {
            let size = |bytes: &Option<u64>| bytes.map_or("nothing".to_owned(), |bytes| format!("{bytes} bytes"));
            writeln!(f, "{path}: too large to compare: {} → {}", size(old_bytes), size(new_bytes))
        }
    }
}

fn below_key(path: &str, key: &Value) -> String {
    match key {
        Value::Text(name) if name.chars().all(|c| c.is_alphanumeric() || c == '_') && !name.is_empty() => {
            format!("{path}.{name}")
        }
        _ => format!("{path}[{}]", Short(key)),
    }
}

fn write_item(f: &mut fmt::Formatter<'_>, path: &str, item: &ItemDiff) -> fmt::Result {
    let index = |at: Option<usize>| at.map_or(String::new(), |at| at.to_string());
    let place = match (&item.id, item.old, item.new) {
        (Some(id), ..) => format!("id {}", Short(id)),
        (None, Some(old), Some(new)) if old != new => format!("{old}→{new}"),
        (None, old, new) => index(new.or(old)),
    };
    match &item.change {
        Change::Moved => writeln!(f, "{path}[{place}]: moved {} → {}", index(item.old), index(item.new)),
        change => write_change(f, &format!("{path}[{place}]"), change),
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, path: &str, text: &TextDiff) -> fmt::Result {
    let coarse = if text.is_coarse { " (compared as a whole, too much differs)" } else { "" };
    match text.unit {
        TextUnit::Words => {
            write!(f, "{path}{coarse}: ")?;
            let last = text.parts.len().saturating_sub(1);
            for (place, part) in text.parts.iter().enumerate() {
                match part {
                    TextPart::Same(text) => write_context(f, text, place > 0, place < last)?,
                    TextPart::Removed(text) => write!(f, "[-{}-]", Short(text))?,
                    TextPart::Added(text) => write!(f, "{{+{}+}}", Short(text))?,
                }
            }
            writeln!(f)
        }
        TextUnit::Lines => {
            writeln!(f, "{path}{coarse}:")?;
            for part in &text.parts {
                match part {
                    TextPart::Same(text) => writeln!(f, "    ({} equal lines)", text.lines().count())?,
                    TextPart::Removed(text) => write_lines(f, '-', text)?,
                    TextPart::Added(text) => write_lines(f, '+', text)?,
                }
            }
            Ok(())
        }
    }
}

fn write_lines(f: &mut fmt::Formatter<'_>, sign: char, text: &str) -> fmt::Result {
    text.lines().try_for_each(|line| writeln!(f, "  {sign} {}", Short(line)))
}

/// Shows an equal part near the differences beside it.
fn write_context(f: &mut fmt::Formatter<'_>, text: &str, after: bool, before: bool) -> fmt::Result {
    let (head, tail) = (CONTEXT_CHARS * usize::from(after), CONTEXT_CHARS * usize::from(before));
    let chars = text.chars().count();
    if chars <= head + tail {
        return f.write_str(text);
    }
    let (head, tail) = (text.chars().take(head), text.chars().skip(chars - tail));
    write!(f, "{}…{}", head.collect::<String>(), tail.collect::<String>())
}

/// A value, cut where it gets too long.
struct Short<T>(T);

impl<T: fmt::Display> fmt::Display for Short<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cut = Cut { to: f, left: SHOWN_CHARS_MAX, is_full: false };
        let written = write!(cut, "{}", self.0);
        if cut.is_full { f.write_char('…') } else { written }
    }
}

/// Writes so many characters and then fails, so that no more of a large value is formatted.
struct Cut<'a, 'f> {
    to: &'a mut fmt::Formatter<'f>,
    left: usize,
    is_full: bool,
}

impl fmt::Write for Cut<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = text.char_indices().nth(self.left).map_or(text.len(), |(end, _)| end);
        self.to.write_str(&text[..end])?;
        self.left -= text[..end].chars().count();
        self.is_full = end < text.len();
        if self.is_full { Err(fmt::Error) } else { Ok(()) }
    }
}
