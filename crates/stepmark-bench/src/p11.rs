//! P11: does memory beside the state grow with a conversation?

use crate::Result;
use crate::arguments::Arguments;
use crate::p5a;
use crate::report::Figure;

const MIB: f64 = 1024.0 * 1024.0;

/// P11.
pub(crate) fn run(arguments: &Arguments) -> Result<Vec<Figure>> {
    let course = p5a::course(arguments)?;
    let (settled, overhead) = (course.overhead_settled / MIB, course.overhead / MIB);
    let figure = Figure {
        id: "P11",
        work: format!("memory beside the live state, turn {}", course.turns),
        value: overhead,
        unit: "MiB",
        raw: Some(settled),
        ratio: Some(overhead / settled),
        target: "≤ turn 1,000 (shown as raw) + 32 MiB".to_owned(),
        met: overhead <= settled + 32.0,
        notes: Vec::new(),
    };
    Ok(vec![figure.note(format!("the live state is {:.1} MiB then", course.live_bytes / MIB))])
}
