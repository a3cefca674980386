//! How did one text become another? Pure.

use super::list::{Gap, align};
use super::{TextDiff, TextPart, TextUnit};

/// What differs, by lines if there are several, else by words.
pub(super) fn texts(old: &str, new: &str) -> TextDiff {
    let unit = if old.contains('\n') || new.contains('\n') { TextUnit::Lines } else { TextUnit::Words };
    let (old, new) = (split(old, unit), split(new, unit));
    let (gaps, is_coarse) = align(&old, &new);
    let mut diff = TextDiff { unit, parts: Vec::new(), is_coarse };
    let mut same = 0;
    for Gap { old: olds, new: news } in gaps {
        diff.push(TextPart::Same, &old[same..olds.start]);
        same = olds.end;
        diff.push(TextPart::Removed, &old[olds]);
        diff.push(TextPart::Added, &new[news]);
    }
    diff.push(TextPart::Same, &old[same..]);
    diff
}

fn split(text: &str, unit: TextUnit) -> Vec<&str> {
    match unit {
        TextUnit::Words => text.split_inclusive(char::is_whitespace).collect(),
        TextUnit::Lines => text.split_inclusive('\n').collect(),
    }
}

impl TextDiff {
    fn push(&mut self, part: fn(String) -> TextPart, pieces: &[&str]) {
        if !pieces.is_empty() {
            self.parts.push(part(pieces.concat()));
        }
    }
}
