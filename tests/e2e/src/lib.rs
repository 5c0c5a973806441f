//! The built relay and the built page in real browsers, from the outside only: what the tests in Chromium, the
//! measurements and the screenshots share.

pub mod browser;
pub mod kernels;
pub mod others;
pub mod page;
pub mod process;
pub mod relay;
pub mod report;
pub mod stage;
pub mod weight;
