//! The tab's side of the node's loop: what it orders, the pool and the store carry out.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc};

use futures::{FutureExt as _, channel::mpsc, future::BoxFuture};
use p2pnet_net::host::{Host, HostFact, MemoryRecords, Records};
use p2pnet_shared::{
    node::{HostOrder, RunId},
    refusal::{Code, Refusal},
    store::StoreKey,
    units::Moment,
};
use send_wrapper::SendWrapper;

use crate::{
    clock,
    pool::{Lane, Pool, PoolRun},
    store::Store,
};

/// Carries out the orders of one node.
pub(crate) struct TabHost {
    pool: Pool,
    keeper: Keeper,
    facts: mpsc::Sender<HostFact>,
    runs: Rc<RefCell<BTreeMap<RunId, PoolRun>>>,
}

/// Where records lie.
enum Keeper {
    Store(Store),
    /// In a browser that keeps nothing, until the tab is closed.
    Memory(MemoryRecords),
}

impl TabHost {
    /// A host whose facts go to `facts`.
    pub(crate) fn new(pool: Pool, store: Option<Store>, facts: mpsc::Sender<HostFact>) -> Self {
        let keeper = store.map_or_else(|| Keeper::Memory(MemoryRecords::default()), Keeper::Store);
        Self { pool, keeper, facts, runs: Rc::default() }
    }
}

impl Host for TabHost {
    fn now(&self) -> Moment {
        clock::now()
    }

    fn carry_out(&mut self, order: HostOrder) {
        match order {
            HostOrder::Execute { run, kernel, batch, cpu_percent } => {
                // A sender of its own has a place of its own in the channel: the end of a run is never lost.
                let (mut facts, runs) = (self.facts.clone(), self.runs.clone());
                let pool_run = self.pool.execute(Lane::Node, kernel, batch, cpu_percent, move |report| {
                    runs.borrow_mut().remove(&run);
                    let _ = facts.try_send(HostFact::Executed { run, report });
                });
                if self.pool.knows(pool_run) {
                    self.runs.borrow_mut().insert(run, pool_run);
                }
            }
            HostOrder::Abort { run } => {
                let pool_run = self.runs.borrow().get(&run).copied();
                if let Some(pool_run) = pool_run {
                    self.pool.abort(pool_run);
                }
            }
            HostOrder::Rest { run, rests } => {
                let pool_run = self.runs.borrow().get(&run).copied();
                if let Some(pool_run) = pool_run {
                    self.pool.rest(pool_run, rests);
                }
            }
            // A tab has one thread, and what its workers know is no job's plan.
            HostOrder::Merge { job, merge } => {
                let _ = self.facts.clone().try_send(HostFact::Merged { job, merged: merge.run() });
            }
            HostOrder::Change(changes) => match &self.keeper {
                Keeper::Store(store) => store.change(changes),
                Keeper::Memory(records) => records.change(changes),
            },
            HostOrder::Keep { token, changes } => {
                // As with the end of a run.
                let mut facts = self.facts.clone();
                let mut tell = move || _ = facts.try_send(HostFact::Kept { tokens: vec![token] });
                match &self.keeper {
                    Keeper::Store(store) => store.keep(changes, tell),
                    Keeper::Memory(records) => {
                        records.change(changes);
                        tell();
                    }
                }
            }
            HostOrder::Cores(cores) => self.pool.set_cores(cores),
        }
    }

    fn records(&self) -> Arc<dyn Records> {
        match &self.keeper {
            Keeper::Store(store) => Arc::new(TabRecords(SendWrapper::new(store.clone()))),
            Keeper::Memory(records) => Arc::new(records.clone()),
        }
    }
}

/// The tab's store, behind the promise that a tab has one thread.
struct TabRecords(SendWrapper<Store>);

impl Records for TabRecords {
    fn read(&self, key: StoreKey) -> BoxFuture<'static, Result<Option<Vec<u8>>, Refusal>> {
        let store = Store::clone(&self.0);
        let read = async move {
            store.node_record(key).await.map_err(|error| {
                let message = format!("this browser's storage cannot be read: {error}");
                Refusal::new(Code::StoreFailed, message, "reload the page")
            })
        };
        SendWrapper::new(read).boxed()
    }
}
