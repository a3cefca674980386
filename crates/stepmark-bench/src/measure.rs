//! How is a figure taken?
//!
//! Ours and the raw limit are measured in turns, so that a noisy minute of the machine meets both; the figure is the
//! median.

use std::time::Instant;

use crate::Result;

/// Fewer pairs than this are no figure.
pub(crate) const PAIRS: usize = 5;

/// The machine's monotonic clock.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures the machine's time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// How long `work` took, in microseconds, and what it gave.
pub(crate) fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let start = now();
    let value = work()?;
    Ok((micros_since(start), value))
}

/// Microseconds from `start` to now.
pub(crate) fn micros_since(start: Instant) -> f64 {
    now().duration_since(start).as_secs_f64() * 1e6
}

/// The middle of some figures; 0 of none.
pub(crate) fn median(figures: &[f64]) -> f64 {
    percentile(figures, 50)
}

/// The figure that `percent` of all figures do not exceed; 0 of none.
pub(crate) fn percentile(figures: &[f64], percent: usize) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

/// The largest figure; 0 of none.
pub(crate) fn largest(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(0.0, f64::max)
}

/// Medians of measurements taken in turns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pairs {
    pub(crate) ours: f64,
    pub(crate) raw: f64,
    /// The median of the pairs' own ratios.
    pub(crate) ratio: f64,
}

/// Measures ours and the raw limit [`PAIRS`] times, in turns. Each closure gets the number of its turn.
pub(crate) fn pairs(ours: impl FnMut(usize) -> Result<f64>, raw: impl FnMut(usize) -> Result<f64>) -> Result<Pairs> {
    many_pairs(PAIRS, ours, raw)
}

/// The same in more and shorter turns, for two that hardly differ.
pub(crate) fn many_pairs(
    turns: usize,
    mut ours: impl FnMut(usize) -> Result<f64>,
    mut raw: impl FnMut(usize) -> Result<f64>,
) -> Result<Pairs> {
    let mut figures = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..turns {
        let (mine, limit) = (ours(turn)?, raw(turn)?);
        figures.0.push(mine);
        figures.1.push(limit);
        figures.2.push(mine / limit);
    }
    Ok(Pairs { ours: median(&figures.0), raw: median(&figures.1), ratio: median(&figures.2) })
}

#[cfg(test)]
mod tests {
    use super::{median, percentile};

    #[test]
    fn the_middle_is_a_measured_figure() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((percentile(&[1.0, 2.0, 3.0, 4.0], 99) - 4.0).abs() < f64::EPSILON);
        assert!(median(&[]).abs() < f64::EPSILON);
    }
}
