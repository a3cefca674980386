//! Where does an event stand?
//!
//! A stored event stands at (branch, height, ordinal), which follow from its checkpoint. A live event stands behind the last
//! stored event that was sent before it: whoever goes on from it misses no stored event and sees none twice.

use std::fmt;
use std::str::FromStr;

use stepmark_core::id::BranchId;

use crate::error::Error;

/// Where an event stands. Its text form can be handed out, as the id of a server-sent event for instance, and read back with
/// `parse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The branch on whose segment the event's checkpoint lies.
    pub branch: BranchId,
    /// The height of that checkpoint.
    pub height: u64,
    /// The place among its events, from 1.
    pub ordinal: u64,
    pub(crate) live: Option<LivePosition>,
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
    /// Whether the event can be read back.
    pub fn is_stored(&self) -> bool {
        self.live.is_none()
    }

    /// What orders stored events of one line.
    pub(crate) fn place(&self) -> Place {
        Place { height: self.height, ordinal: self.ordinal }
    }
}

/// A place on a known line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) height: u64,
    pub(crate) ordinal: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.branch, self.height, self.ordinal)?;
        match self.live {
            Some(LivePosition { session, number }) => write!(f, "-{session:016x}-{number}"),
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
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |digits: &str| (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?;
    let (place, live) = match parts[..] {
        [branch, height, ordinal] => ([branch, height, ordinal], None),
        [branch, height, ordinal, session, number] => {
            let (session, number) = (hex(session)?, number.parse().ok()?);
            ([branch, height, ordinal], Some(LivePosition { session, number }))
        }
        _ => return None,
    };
    let [branch, height, ordinal] = place;
    Some(Position {
        branch: BranchId::new(hex(branch)?)?,
        height: height.parse().ok()?,
        ordinal: ordinal.parse().ok()?,
        live,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_from_its_text() {
        let branch = BranchId::new(7).expect("not 0");
        let stored = Position { branch, height: 3, ordinal: 12, live: None };
        let live = Position { live: Some(LivePosition { session: u64::MAX, number: 5 }), ..stored };
        for (position, text) in [(stored, "0000000000000007-3-12"), (live, "0000000000000007-3-12-ffffffffffffffff-5")]
        {
            assert_eq!(position.to_string(), text);
            assert_eq!(text.parse::<Position>().expect("it is one"), position);
        }
        for text in ["", "7-3-12", "0000000000000000-3-12", "0000000000000007-3", "0000000000000007-3-12-1", "a-b-c"] {
            assert!(text.parse::<Position>().is_err(), "{text:?}");
        }
    }
}
