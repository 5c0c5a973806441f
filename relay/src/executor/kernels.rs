//! Kernels that are ready to run, shared by all threads: checked, rewritten and loaded once.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use p2pnet_shared::{engine::Trap, id::Hash, kernel};

use super::run::Module;
use crate::engine::{self, NativeEngines};

/// Kernels kept ready.
const MOST_KERNELS: usize = 64;
/// Bytes of kernels kept ready, as they came; what engines make of them is several times that.
const MOST_BYTES: usize = 64 << 20;
/// Files that kernels hold open in a process with one thread for them, whatever kernels come: those that are kept, and one
/// that comes before another goes.
pub(super) const MOST_FILES: u64 = (MOST_KERNELS as u64 + 1) * engine::FILES_OF_A_KERNEL + engine::FILES_OF_INSTANCES;

type Slot = Arc<OnceLock<Result<Module, Trap>>>;

/// The kernels used last.
#[derive(Default)]
pub(super) struct Kernels {
    /// Used last at the back.
    kept: Mutex<VecDeque<(Hash, usize, Slot)>>,
}

impl Kernels {
    /// The kernel, made ready if need be. Threads that ask for the same one at the same time wait for the first.
    pub(super) fn get(&self, engines: &mut NativeEngines, hash: Hash, original: &[u8]) -> Result<Module, Trap> {
        self.slot(hash, original.len()).get_or_init(|| load(engines, hash, original)).clone()
    }

    /// Lets all of them go, for what they hold.
    pub(super) fn clear(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn slot(&self, hash: Hash, len: usize) -> Slot {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = kept.iter().position(|entry| entry.0 == hash).and_then(|at| kept.remove(at)) {
            let slot = Arc::clone(&entry.2);
            kept.push_back(entry);
            return slot;
        }
        let slot = Slot::default();
        kept.push_back((hash, len, Arc::clone(&slot)));
        let mut bytes: usize = kept.iter().map(|entry| entry.1).sum();
        while kept.len() > 1 && (kept.len() > MOST_KERNELS || bytes > MOST_BYTES) {
            bytes -= kept.pop_front().map_or(0, |entry| entry.1);
        }
        slot
    }
}

fn load(engines: &mut NativeEngines, hash: Hash, original: &[u8]) -> Result<Module, Trap> {
    let prepared = kernel::prepare(original).map_err(|refusal| {
        tracing::debug!(%hash, %refusal, "a kernel breaks the contract");
        Trap::BrokenContract
    })?;
    engines.load(&prepared.rewritten)
}

#[cfg(all(test, target_os = "linux"))]
#[expect(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use p2pnet_shared::engine::{EngineName, Input, Limits};

    use super::*;
    use crate::{
        apart,
        executor::{sandbox, worker},
    };

    /// Answers with its input; both of its memories begin with data.
    fn with_two_memories(number: usize) -> Vec<u8> {
        let text = format!(
            r#"(module (memory (export "memory") 1) (memory 1)
                (data (i32.const 1000) "{number}") (data (memory 1) (i32.const 1000) "{number}")
                (func (export "alloc") (param i32) (result i32) (i32.const 2048))
                (func (export "run") (param i32 i32) (result i64)
                    (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1)))))"#
        );
        wat::parse_str(text).unwrap()
    }

    fn open_files(limit: u64) -> u64 {
        let is_open = |file: &libc::c_int| {
            // SAFETY: takes numbers only.
            unsafe { libc::fcntl(*file, libc::F_GETFD) != -1 }
        };
        (0..libc::c_int::try_from(limit).unwrap()).filter(is_open).count() as u64
    }

    #[test]
    fn whatever_kernels_come_a_worker_has_files_for_them() {
        let inside = |folder: &Path| {
            let bounds = worker::bounds(1024);
            let fenced = sandbox::enter(Some(folder), bounds, engine::watch_written_pages);
            let mut engines = NativeEngines::of_one_thread(fenced.folder);
            let kernels = Kernels::default();
            let before = open_files(bounds.files);
            let mut last = EngineName::Wasmi;
            let work = move || {
                for number in 0..MOST_KERNELS + 10 {
                    let original = with_two_memories(number);
                    let module = kernels.get(&mut engines, Hash::of(&original), &original).unwrap();
                    // So many tiny calls that both of its forms are wanted.
                    for _ in 0..600 {
                        let (engine, outcome) = engines.call(&module, Input::of(b"x"), &Limits::default());
                        assert_eq!(outcome.output.as_deref(), Ok(b"x".as_slice()));
                        last = engine;
                    }
                    assert_eq!((last, engines.lacked()), (EngineName::Wasmtime, false), "kernel {number}");
                }
                let kept = open_files(bounds.files) - before;
                let of_kernels = MOST_KERNELS as u64 * engine::FILES_OF_A_KERNEL;
                assert!((of_kernels..=MOST_FILES).contains(&kept), "{kept} files for {of_kernels} memories");
            };
            engine::spawn("kernels", work).unwrap().join().unwrap();
        };
        apart::run("executor::kernels::tests::whatever_kernels_come_a_worker_has_files_for_them", inside, |_| ());
    }
}
