//! Conformance kit for Stepmark stores: cases, mutants, fault store.
