//! Where does an event stand?
//!
//! A stored event stands at (branch, height, ordinal), which follow from its checkpoint; one of a sub-graph behind the
//! checkpoint of the root on which the sub-graph ran, at such a place of its own line. A live event stands behind the last
//! stored event that was sent before it: whoever goes on from it misses no stored event.

use std::fmt;
use std::str::FromStr;

use stepmark_core::id::BranchId;

use crate::error::Error;

/// Where an event stands. Its text form can be handed out, as the id of a server-sent event for instance, and read back with
/// `parse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The branch on whose segment the event's checkpoint lies, or whose run was at it.
    pub branch: BranchId,
    /// The height of that checkpoint.
    pub height: u64,
    /// The place among its events, from 1.
    pub ordinal: u64,
    pub(crate) nested: Option<NestedPlace>,
    pub(crate) live: Option<LivePosition>,
}

/// Where a stored event stands on the line of a sub-graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NestedPlace {
    /// A branch of the sub-graph's namespace.
    pub(crate) branch: BranchId,
    pub(crate) place: Place,
}

/// Where a live event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LivePosition {
    /// The stream that numbered it.
    pub(crate) session: u64,
    /// Its number there, from 1.
    pub(crate) number: u64,
}

impl Position {
    pub(crate) fn at(branch: BranchId, place: Place) -> Self {
        Self { branch, height: place.height, ordinal: place.ordinal, nested: None, live: None }
    }

    /// Whether the event can be read back.
    pub fn is_stored(&self) -> bool {
        self.live.is_none()
    }

    /// What orders stored events of the root's line.
    pub(crate) fn place(&self) -> Place {
        Place { height: self.height, ordinal: self.ordinal }
    }
}

/// A place on a known line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) height: u64,
    pub(crate) ordinal: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.branch, self.height, self.ordinal)?;
        if let Some(NestedPlace { branch, place: Place { height, ordinal } }) = self.nested {
            write!(f, ".{branch}-{height}-{ordinal}")?;
        }
        match self.live {
            Some(LivePosition { session, number }) => write!(f, "~{session:016x}-{number}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).ok_or_else(|| Error::invalid(format!("{text:?} is not the position of an event")))
    }
}

fn parse(text: &str) -> Option<Position> {
    let (stored, live) = text.split_once('~').map_or((text, None), |(stored, live)| (stored, Some(live)));
    let (root, nested) = stored.split_once('.').map_or((stored, None), |(root, nested)| (root, Some(nested)));
    let (branch, place) = parse_place(root)?;
    let mut position = Position::at(branch, place);
    if let Some(nested) = nested {
        let (branch, place) = parse_place(nested)?;
        position.nested = Some(NestedPlace { branch, place });
    }
    if let Some(live) = live {
        let (session, number) = live.split_once('-')?;
        position.live = Some(LivePosition { session: hexadecimal(session)?, number: number.parse().ok()? });
    }
    Some(position)
}

fn parse_place(text: &str) -> Option<(BranchId, Place)> {
    let mut parts = text.split('-');
    let branch = BranchId::new(hexadecimal(parts.next()?)?)?;
    let place = Place { height: parts.next()?.parse().ok()?, ordinal: parts.next()?.parse().ok()? };
    parts.next().is_none().then_some((branch, place))
}

fn hexadecimal(digits: &str) -> Option<u64> {
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_from_its_text() {
        let branch = BranchId::new(7).expect("not 0");
        let stored = Position::at(branch, Place { height: 3, ordinal: 12 });
        let inner = NestedPlace { branch: BranchId::new(8).expect("not 0"), place: Place { height: 1, ordinal: 2 } };
        let nested = Position { nested: Some(inner), ..stored };
        let live = Some(LivePosition { session: u64::MAX, number: 5 });
        for (position, text) in [
            (stored, "0000000000000007-3-12"),
            (Position { live, ..stored }, "0000000000000007-3-12~ffffffffffffffff-5"),
            (nested, "0000000000000007-3-12.0000000000000008-1-2"),
            (Position { live, ..nested }, "0000000000000007-3-12.0000000000000008-1-2~ffffffffffffffff-5"),
        ] {
            assert_eq!(position.to_string(), text);
            assert_eq!(text.parse::<Position>().expect("it is one"), position);
        }
        for text in ["", "7-3-12", "0000000000000000-3-12", "0000000000000007-3", "0000000000000007-3-12-1", "a-b-c"] {
            assert!(text.parse::<Position>().is_err(), "{text:?}");
        }
        for tail in [".", "~", ".1-2", "~1-2", "~ffffffffffffffff", ".0000000000000008-1-2.0000000000000008-1-2"] {
            assert!(format!("{stored}{tail}").parse::<Position>().is_err(), "{tail:?}");
        }
    }
}
