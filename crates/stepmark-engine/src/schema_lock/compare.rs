//! Does a state still store what its version is recorded to store?

use crate::state::{ChannelSpec, Keep};

use super::Form;
use super::text::{Line, LockFile, Reader};

/// What came of a comparison.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Same,
    /// The program is fine; the file does not know all of it.
    Behind {
        message: String,
        updated: LockFile,
    },
    /// Old threads would be misread.
    Broken(String),
}

pub(super) fn compare(form: &Form<'_>, mut file: LockFile) -> Verdict {
    let Form { state, version, .. } = form;
    let newest = file.sections.iter().rfind(|section| section.state == *state).cloned();
    if let Some(refused) = newest.as_ref().and_then(|newest| misfit(form, newest.version)) {
        return Verdict::Broken(refused);
    }
    let is_new = newest.as_ref().is_none_or(|newest| newest.version < *version);
    let section = file.section_mut(state, *version);
    let before = section.lines.clone();
    section.lines = fields(form.channels);
    section.lines.extend(gone_lines(form.channels, newest.map_or_else(Vec::new, |newest| newest.lines), is_new));
    let broken = broken(form.channels, &before, &section.lines);
    if !broken.is_empty() {
        let broken = broken.join("\n");
        return Verdict::Broken(format!(
            "version {version} of state {state:?} does not fit what is recorded of it:\n{broken}"
        ));
    }
    let changes = differences(&before, &section.lines);
    if changes.is_empty() && !is_new {
        return Verdict::Same;
    }
    let found = if is_new { "not recorded" } else { "recorded otherwise" };
    let message = format!("version {version} of state {state:?} is {found}:\n{}", changes.join("\n"));
    Verdict::Behind { message, updated: file }
}

/// Keep, reducer and type, as the file has them.
fn form_of(channel: &ChannelSpec) -> String {
    format!("{} {} {}", channel.keep.as_str(), channel.reducer, channel.value_type)
}

/// Why the program cannot be right if the newest recorded version of its state is this one.
fn misfit(form: &Form<'_>, newest: u32) -> Option<String> {
    let Form { state, version, migrations, .. } = form;
    if newest > *version {
        return Some(format!("state {state:?} has version {newest} here and only {version} in the program"));
    }
    let is_readable = newest == *version || migrations.iter().any(|migration| migration.from == newest);
    let advice = format!("add `migrate({newest} => ..)`");
    (!is_readable).then(|| format!("state {state:?} has no migration from version {newest} to {version}: {advice}"))
}

fn fields(channels: &[ChannelSpec]) -> Vec<Line> {
    let line = |channel: &ChannelSpec| {
        let (name, form) = (channel.name.to_owned(), form_of(channel));
        Line { name, reader: Reader::Field, form }
    };
    channels.iter().map(line).collect()
}

/// The names that no field has any more. In a new version a renamed one has the form that its migrations make; a removed
/// one keeps its own, as what is stored under it may stay.
fn gone_lines(channels: &[ChannelSpec], before: Vec<Line>, is_new: bool) -> Vec<Line> {
    let gone = before.into_iter().filter(|line| channels.iter().all(|channel| channel.name != line.name));
    let read = gone.map(|line| match channels.iter().find(|channel| channel.renamed_from.contains(&&*line.name)) {
        None => Line { reader: Reader::Removed, ..line },
        Some(channel) => {
            let form = if is_new { form_of(channel) } else { line.form };
            Line { name: line.name, reader: Reader::Renamed(channel.name.to_owned()), form }
        }
    });
    read.collect()
}

/// What needs a new version, or a word about a name.
fn broken(channels: &[ChannelSpec], before: &[Line], after: &[Line]) -> Vec<String> {
    let (mut remarks, mut is_other) = (Vec::new(), false);
    for line in before {
        let field = channels.iter().find(|channel| channel.name == line.name);
        let renamed = || channels.iter().find(|channel| channel.renamed_from.contains(&&*line.name));
        match field.or_else(renamed).map(form_of) {
            Some(form) if form != line.form && !is_untracked(&form, &line.form) => {
                remarks.push(format!("  {}\n    - {}\n    + {form}", line.name, line.form));
                is_other = true;
            }
            Some(_) => {}
            None if line.reader == Reader::Removed => {}
            None => remarks.extend(maybe_renamed(channels, before, after, line)),
        }
    }
    if is_other {
        let advice =
            "give the state a new version and a migration; if a type is only spelled anew, edit its line by hand";
        remarks.push(advice.to_owned());
    }
    remarks
}

/// A value that is never stored may have any form.
fn is_untracked(form: &str, other: &str) -> bool {
    [form, other].iter().all(|form| form.starts_with(Keep::Untracked.as_str()))
}

/// A removed field beside an added one of the same form looks like a renamed one, whose values would be lost.
fn maybe_renamed(channels: &[ChannelSpec], before: &[Line], after: &[Line], removed: &Line) -> Option<String> {
    let is_known = |name: &str| before.iter().any(|line| line.name == name);
    let has_old_name =
        |name: &str| channels.iter().any(|channel| channel.name == name && !channel.renamed_from.is_empty());
    let is_added = |line: &&Line| line.form == removed.form && !is_known(&line.name) && !has_old_name(&line.name);
    let (old, new) = (&removed.name, &after.iter().find(is_added)?.name);
    Some(format!(
        "  {old} is gone and {new} of the same form is new: say `#[state(rename_from = {old:?})]` on it if it is the same \
         field; if not, record the one change before the other"
    ))
}

fn differences(before: &[Line], after: &[Line]) -> Vec<String> {
    let gone = before.iter().filter(|line| !after.contains(line)).map(|line| format!("  - {line}"));
    let new = after.iter().filter(|line| !before.contains(line)).map(|line| format!("  + {line}"));
    gone.chain(new).collect()
}
