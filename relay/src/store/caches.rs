//! What is only kept in case, and gives way: compiled kernels, and kernels that no job uses. Both have a share of what the
//! operator gives to finished jobs, and both are given up when the disk is full, before a job is refused.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use super::database::Database;
use crate::engine::compiled;

/// What each may take at least: less would hold no large module.
const LEAST_BYTES: u64 = 32 << 20;
/// Kernels are kept so that later jobs may name them by hash: of those that no unfinished job uses at most so many bytes,
/// shared as `shelf.rs` says.
const MOST_KERNEL_BYTES: u64 = 256 << 20;
/// A disk that stays full is not asked more often.
const PAUSE: Duration = Duration::from_secs(10);

/// How much of it is kept, and where.
pub struct Caches {
    pub(super) kernel_bytes: u64,
    compiled_bytes: u64,
    /// The folder of the folders of compiled kernels.
    compiled: Option<PathBuf>,
    /// When room was made last.
    last: Option<Instant>,
}

impl Default for Caches {
    fn default() -> Self {
        Self { kernel_bytes: MOST_KERNEL_BYTES, compiled_bytes: compiled::MOST_BYTES, compiled: None, last: None }
    }
}

impl Caches {
    /// What fits beside `kept_bytes` of finished jobs: a quarter as much of kernels, half as much of compiled ones, which
    /// lie in the folders in `compiled`.
    pub fn of(kept_bytes: u64, compiled: PathBuf) -> Self {
        Self {
            kernel_bytes: (kept_bytes / 4).clamp(LEAST_BYTES, MOST_KERNEL_BYTES),
            compiled_bytes: (kept_bytes / 2).clamp(LEAST_BYTES, compiled::MOST_BYTES),
            compiled: Some(compiled),
            last: None,
        }
    }

    /// The most bytes of kernels that no job uses.
    pub fn kernel_bytes(&self) -> u64 {
        self.kernel_bytes
    }

    /// The most bytes of compiled kernels.
    pub fn compiled_bytes(&self) -> u64 {
        self.compiled_bytes
    }

    /// Gives it up; whether there may be more room now.
    pub(super) async fn give_up(&mut self, database: &mut Database) -> bool {
        if self.last.is_some_and(|last| last.elapsed() < PAUSE) {
            return false;
        }
        self.last = Some(Instant::now());
        let freed = self.compiled.as_deref().map_or(0, compiled::give_up);
        let kernels = database.give_up_kernels().await;
        tracing::warn!(
            freed,
            kernels = kernels.is_ok(),
            "the disk is full: compiled kernels and those that no job uses went"
        );
        freed > 0 || kernels.is_ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn caches_have_a_share_of_what_finished_jobs_may_take() {
        let of = |mib: u64| {
            let caches = Caches::of(mib << 20, PathBuf::new());
            (caches.kernel_bytes() >> 20, caches.compiled_bytes() >> 20)
        };
        assert_eq!(of(1024), (256, 512));
        assert_eq!(of(400), (100, 200));
        assert_eq!(of(1), (32, 32));
        assert_eq!(of(1 << 20), (256, 1024));
    }
}
