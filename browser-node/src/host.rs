//! The tab's side of the node's loop: what it orders, the pool and the store carry out.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use futures::channel::mpsc;
use p2pnet_net::host::{Host, HostFact, HostOrder};
use p2pnet_shared::{node::RunId, units::Moment};

use crate::{
    pool::{Lane, Pool, PoolRun},
    slot,
    store::Store,
};

/// Carries out the orders of one node.
pub struct TabHost {
    pool: Pool,
    store: Option<Store>,
    facts: mpsc::Sender<HostFact>,
    runs: Rc<RefCell<BTreeMap<RunId, PoolRun>>>,
}

impl TabHost {
    /// A host whose facts go to `facts`.
    pub fn new(pool: Pool, store: Option<Store>, facts: mpsc::Sender<HostFact>) -> Self {
        Self { pool, store, facts, runs: Rc::default() }
    }
}

impl Host for TabHost {
    fn now(&self) -> Moment {
        slot::now()
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
            HostOrder::Save(key, bytes) => {
                if let Some(store) = &self.store {
                    store.save(key, bytes);
                }
            }
            HostOrder::Forget(key) => {
                if let Some(store) = &self.store {
                    store.forget(key);
                }
            }
            HostOrder::Cores(cores) => self.pool.set_cores(cores),
        }
    }
}
