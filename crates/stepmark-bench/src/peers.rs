//! How does the same work go with LangGraph, on the same machine, in the same run?
//!
//! `environment` installs it, `ours` is our half of each comparison, `peers/*.py` beside this crate's sources the other.
//! Both halves hand over their figures in the order of the rows.

mod environment;
mod ours;

use std::path::Path;

use serde::Serialize;

use crate::arguments::Arguments;
use crate::report::{self, line, number};
use crate::{Result, disk};
use environment::Environment;

/// One figure of both.
#[derive(Debug, Serialize)]
struct Row {
    id: &'static str,
    work: String,
    unit: &'static str,
    ours: f64,
    langgraph: f64,
    /// Theirs to ours; absent where ours is nothing.
    ratio: Option<f64>,
}

/// One side of a comparison: works in a directory of its own and hands over its figures.
type Half = Box<dyn FnOnce(&Path) -> Result<Vec<f64>>>;

/// A comparison of some rows.
struct Comparison {
    id: &'static str,
    /// What each row shows, and its unit.
    rows: Vec<(String, &'static str)>,
    /// The other half's numbers.
    arguments: Vec<u64>,
    /// The server that both halves use, if they use one.
    server: Option<String>,
    ours: Half,
}

/// Compares what was asked for.
pub(crate) fn run(arguments: &Arguments) -> Result {
    let comparisons = ours::comparisons(arguments).into_iter().filter(|one| arguments.wants(one.id));
    let environment = Environment::prepare()?;
    line(&environment.versions()?);
    line(&format!("{:4} {:58} {:>12} {:>12} {:>10}", "", "", "ours", "LangGraph", "ratio"));
    let mut rows = Vec::new();
    for comparison in comparisons {
        let compared = comparison.run(&environment)?;
        compared.iter().for_each(show);
        rows.extend(compared);
    }
    match &arguments.json {
        Some(path) => report::write_json(path, &rows),
        None => Ok(()),
    }
}

impl Comparison {
    fn run(self, environment: &Environment) -> Result<Vec<Row>> {
        let (here, there) = (disk::directory()?, disk::directory()?);
        let ours = (self.ours)(here.path())?;
        let theirs = environment.figures(self.id, (there.path(), self.server.as_deref()), &self.arguments)?;
        if [ours.len(), theirs.len()] != [self.rows.len(); 2] {
            return Err(format!(
                "{}: {} and {} figures for {} rows",
                self.id,
                ours.len(),
                theirs.len(),
                self.rows.len()
            )
            .into());
        }
        let rows = self.rows.into_iter().zip(ours.into_iter().zip(theirs));
        Ok(rows.map(|((work, unit), pair)| Row::new(self.id, (work, unit), pair)).collect())
    }
}

impl Row {
    fn new(id: &'static str, (work, unit): (String, &'static str), (ours, langgraph): (f64, f64)) -> Self {
        Self { id, work, unit, ours, langgraph, ratio: (ours > 0.0).then(|| langgraph / ours) }
    }
}

fn show(row: &Row) {
    let Row { id, work, unit, ours, langgraph, ratio } = row;
    let ratio = ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.1} ×"));
    let work = format!("{work} ({unit})");
    line(&format!("{id:4} {work:58} {:>12} {:>12} {ratio:>10}", number(*ours), number(*langgraph)));
}

#[cfg(test)]
mod tests {
    use super::Row;

    #[test]
    fn a_ratio_to_nothing_is_none() {
        let row = |ours| Row::new("P12", ("sessions that failed".to_owned(), "sessions"), (ours, 3.0));
        assert_eq!(row(0.0).ratio, None);
        assert_eq!(row(2.0).ratio, Some(1.5));
    }
}
