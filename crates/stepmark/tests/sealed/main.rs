//! Does nobody without the keys learn what a thread holds, and does nobody with them lose anything?

mod case;

mod canaries;
mod keys;
mod kills;
mod metrics;
mod recoded;
