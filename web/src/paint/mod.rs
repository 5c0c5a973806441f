//! What is drawn rather than written: where everything stands is worked out here, apart from any browser.

pub mod constellation;
pub mod orb;
pub mod task_map;
