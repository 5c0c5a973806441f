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
    /// When room was made last: of compiled kernels, and of both.
    last_compiled: Option<Instant>,
    last: Option<Instant>,
}

impl Default for Caches {
    fn default() -> Self {
        Self {
            kernel_bytes: MOST_KERNEL_BYTES,
            compiled_bytes: compiled::MOST_BYTES,
            compiled: None,
            last_compiled: None,
            last: None,
        }
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
            last_compiled: None,
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

    /// Gives compiled kernels up where that is as much as is missing; whether it did. Nothing has failed yet: kernels stay,
    /// which nobody but their senders can bring back.
    pub(super) fn give_up_compiled(&mut self, missing: u64) -> bool {
        let Some(compiled) = self.compiled.as_deref().filter(|_| is_due(self.last_compiled)) else { return false };
        self.last_compiled = Some(Instant::now());
        if compiled::kept_bytes(compiled) < missing {
            return false;
        }
        let freed = compiled::give_up(compiled);
        tracing::warn!(freed, "there was no room on the disk for something large: compiled kernels went");
        freed >= missing
    }

    /// Gives all of it up, once the disk has turned out to be full; whether there may be more room now.
    pub(super) async fn give_up(&mut self, database: &mut Database) -> bool {
        if !is_due(self.last) {
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

fn is_due(last: Option<Instant>) -> bool {
    last.is_none_or(|last| last.elapsed() >= PAUSE)
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
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

    #[test]
    fn compiled_kernels_go_for_what_is_large_only_where_that_makes_the_room() {
        let folder = std::env::temp_dir().join(format!("p2pnet-gives-{}", std::process::id()));
        let process = folder.join("process");
        std::fs::create_dir_all(&process).unwrap();
        for name in ["a.compiled", "b.compiled"] {
            std::fs::write(process.join(name), [0; 1000]).unwrap();
        }
        let left = || std::fs::read_dir(&process).unwrap().count();
        let mut caches = Caches::of(0, folder.clone());
        assert!(!caches.give_up_compiled(2001) && left() == 2, "all of them are too little");
        assert!(!caches.give_up_compiled(1) && left() == 2, "nobody asks again and again");
        assert!(Caches::of(0, folder.clone()).give_up_compiled(2000) && left() == 0);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
