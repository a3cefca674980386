//! Does whoever watches a run see what happens, in order, and nothing that did not? Through the public interface.

mod bench;

mod durable;
mod equal;
mod follow;
mod json;
mod kinds;
mod nested;
mod pressure;
