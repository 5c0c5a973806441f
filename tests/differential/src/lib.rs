//! Compares the engines with one another: the same rewritten module, the same calls, and then every bit that a kernel or
//! its requester could see. wasmi is the referee; a difference is a bug of the rewrite or of an engine, and always ours.

pub mod cases;
pub mod compare;
pub mod features;
pub mod floats;
pub mod machine;
pub mod record;
pub mod smith;
pub mod spec;
