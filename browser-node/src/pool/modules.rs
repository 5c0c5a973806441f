//! The tab's compiled kernels: the first worker that meets a kernel compiles it, the others get what it made.

use js_sys::WebAssembly::Module;
use p2pnet_shared::{id::Hash, kernel::Facts};

/// How many kernels are kept for workers to come.
const MODULES_KEPT: usize = 8;

/// Kernels that workers of this tab have met, least recently used first.
pub(crate) struct Modules<M = Module> {
    known: Vec<(Hash, State<M>)>,
}

enum State<M> {
    /// This worker compiles it.
    Compiling(u64),
    /// Here it is.
    Compiled(M, Facts),
    /// The browser cannot compile it: each worker makes it ready for itself.
    NotCompiled,
}

/// What a worker that is new to a kernel is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Advice<'a, M = Module> {
    /// Make it ready itself, and say what came of that if it is the first.
    Make,
    /// Wait: another worker compiles it now.
    Wait,
    /// Take this.
    Take(&'a M, &'a Facts),
}

impl<M> Modules<M> {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { known: Vec::new() }
    }

    /// What a worker that does not have `kernel` is to do.
    pub(crate) fn advice(&self, kernel: Hash) -> Advice<'_, M> {
        match self.state(kernel) {
            Some(State::Compiling(_)) => Advice::Wait,
            Some(State::Compiled(module, facts)) => Advice::Take(module, facts),
            Some(State::NotCompiled) | None => Advice::Make,
        }
    }

    /// A worker gets the kernel's bytes; it compiles for all if it is the first.
    pub(crate) fn begin(&mut self, kernel: Hash, worker: u64) {
        if self.state(kernel).is_none() {
            self.put(kernel, State::Compiling(worker));
        }
    }

    /// A kernel is used: it is kept longest.
    pub(crate) fn used(&mut self, kernel: Hash) {
        if let Some(place) = self.known.iter().position(|(known, _)| *known == kernel) {
            let entry = self.known.remove(place);
            self.known.push(entry);
        }
    }

    /// A worker has compiled a kernel.
    pub(crate) fn compiled(&mut self, kernel: Hash, worker: u64, module: M, facts: Facts) {
        if self.is_compiling(kernel, worker) {
            self.put(kernel, State::Compiled(module, facts));
        }
    }

    /// A worker found that a kernel cannot be compiled.
    pub(crate) fn not_compiled(&mut self, kernel: Hash, worker: u64) {
        if self.is_compiling(kernel, worker) {
            self.put(kernel, State::NotCompiled);
        }
    }

    /// A worker is done or gone: what it has not said by now, it will not say.
    pub(crate) fn abandon(&mut self, worker: u64) {
        self.known.retain(|(_, state)| !matches!(state, State::Compiling(by) if *by == worker));
    }

    fn state(&self, kernel: Hash) -> Option<&State<M>> {
        self.known.iter().find(|(known, _)| *known == kernel).map(|(_, state)| state)
    }

    fn is_compiling(&self, kernel: Hash, worker: u64) -> bool {
        matches!(self.state(kernel), Some(State::Compiling(by)) if *by == worker)
    }

    fn put(&mut self, kernel: Hash, state: State<M>) {
        self.known.retain(|(known, _)| *known != kernel);
        self.known.push((kernel, state));
        let mut excess = self.known.len().saturating_sub(MODULES_KEPT);
        // What is being compiled stays: there are no more of those than workers.
        self.known.retain(|(_, state)| {
            let goes = excess > 0 && !matches!(state, State::Compiling(_));
            excess -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Hash = Hash([1; 32]);

    #[test]
    fn the_first_worker_compiles_and_the_others_wait_and_take() {
        let mut modules = Modules::new();
        assert_eq!(modules.advice(ONE), Advice::Make);
        modules.begin(ONE, 7);
        assert_eq!(modules.advice(ONE), Advice::Wait);
        modules.compiled(ONE, 8, "another's", Facts::default());
        assert_eq!(modules.advice(ONE), Advice::Wait);
        modules.compiled(ONE, 7, "its own", Facts::default());
        assert_eq!(modules.advice(ONE), Advice::Take(&"its own", &Facts::default()));
        modules.abandon(7);
        assert_eq!(modules.advice(ONE), Advice::Take(&"its own", &Facts::default()));
    }

    #[test]
    fn nobody_waits_for_a_worker_that_is_gone_or_a_kernel_that_cannot_be_compiled() {
        let mut modules = Modules::<&str>::new();
        modules.begin(ONE, 7);
        modules.abandon(7);
        assert_eq!(modules.advice(ONE), Advice::Make);
        modules.begin(ONE, 8);
        modules.not_compiled(ONE, 8);
        assert_eq!(modules.advice(ONE), Advice::Make);
        modules.begin(ONE, 9);
        assert_eq!(modules.advice(ONE), Advice::Make);
    }

    #[test]
    fn only_so_many_are_kept_and_the_oldest_go_first() {
        let mut modules = Modules::new();
        for number in 0..20 {
            modules.begin(Hash([number; 32]), 7);
            modules.compiled(Hash([number; 32]), 7, number, Facts::default());
            modules.used(Hash([0; 32]));
        }
        assert_eq!(modules.known.len(), MODULES_KEPT);
        assert_eq!(modules.advice(Hash([0; 32])), Advice::Take(&0, &Facts::default()));
        assert_eq!(modules.advice(Hash([12; 32])), Advice::Make);
        assert_eq!(modules.advice(Hash([13; 32])), Advice::Take(&13, &Facts::default()));
    }
}
