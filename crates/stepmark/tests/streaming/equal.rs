//! Are the events that a run told the same as those that are read back?
