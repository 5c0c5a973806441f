//! Pieces that several pages are made of.

pub mod battery;
pub mod copy;
pub mod debounce;
pub mod file_drop;
pub mod formula;
pub mod go;
pub mod icon;
pub mod node_chip;
pub mod progress;
pub mod refusal_note;
pub mod scroll;
pub mod state_badge;
pub mod task_grid;
pub mod trouble;
