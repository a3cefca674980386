//! How are figures shown?
//!
//! A line per figure with its notes below on stdout, and the same figures as a JSON list in a file.

use std::path::Path;

use serde::Serialize;

use crate::Result;

/// One judged figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) id: &'static str,
    pub(crate) work: String,
    #[serde(rename = "figure")]
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// The same work without Stepmark.
    pub(crate) raw: Option<f64>,
    pub(crate) ratio: Option<f64>,
    pub(crate) target: String,
    pub(crate) met: bool,
    /// What else was counted; shown, not written to the list.
    #[serde(skip)]
    pub(crate) notes: Vec<String>,
}

impl Figure {
    /// Adds a line below the figure.
    #[must_use]
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// What one super-step costs besides time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    pub(crate) commits: f64,
    /// Absent where they cannot be counted.
    pub(crate) fsyncs: Option<f64>,
    pub(crate) statements: f64,
    /// Bytes handed to the system to write.
    pub(crate) bytes: f64,
}

impl Costs {
    /// The line that is shown.
    pub(crate) fn line(&self) -> String {
        let fsyncs = self.fsyncs.map_or("fsyncs not counted".to_owned(), |fsyncs| format!("{fsyncs:.3} fsyncs"));
        let Self { commits, statements, bytes, .. } = self;
        format!("per super-step: {commits:.3} commits, {fsyncs}, {statements:.3} statements, {bytes:.0} bytes written")
    }
}

/// Prints a figure as soon as it is known.
pub(crate) fn show(figure: &Figure) {
    let Figure { id, work, value, unit, target, .. } = figure;
    let raw = figure.raw.map_or(String::new(), |raw| format!(", raw {}", number(raw)));
    let ratio = figure.ratio.map_or(String::new(), |ratio| format!(", ratio {ratio:.2}"));
    let met = if figure.met { "met" } else { "MISSED" };
    line(&format!("{id:4} {work}: {} {unit}{raw}{ratio}; target {target}: {met}", number(*value)));
    for note in &figure.notes {
        line(&format!("       {note}"));
    }
}

/// Writes all figures to a file as a JSON list.
pub(crate) fn write_json(path: &Path, figures: &[impl Serialize]) -> Result {
    let mut text = serde_json::to_string_pretty(figures)?;
    text.push('\n');
    Ok(std::fs::write(path, text)?)
}

/// One line of data.
#[expect(clippy::print_stdout, reason = "this function is the program's stdout")]
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// Three to four digits, whatever the size.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        small if small < 10.0 => format!("{value:.3}"),
        medium if medium < 1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
