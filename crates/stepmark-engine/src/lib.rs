//! The Stepmark engine: graph to program to super-steps, over the store seam.
