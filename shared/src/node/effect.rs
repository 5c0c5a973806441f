//! What comes out of a node: orders about connections, orders to its host, and what a person may be told.

use std::sync::Arc;

use super::{Merge, RunId, Token};
use crate::{
    engine::Batch,
    id::{JobId, NodeId, OwnerId},
    store::Change,
    wire::Message,
};

/// Something that is to be done outside of a node.
#[derive(Debug)]
pub enum Effect {
    /// About connections, and what goes over them.
    Network(NetworkOrder),
    /// By the host: its executor, its store.
    Host(HostOrder),
    /// Whoever watches is to be told.
    Tell(Notice),
}

/// An order about connections.
#[derive(Debug)]
pub enum NetworkOrder {
    /// Connect to a node. Empty addresses: through a circuit of the seeds that are connected.
    Dial {
        /// Whom.
        node: NodeId,
        /// Where.
        addresses: Vec<String>,
    },
    /// Close all connections to a node.
    Hang {
        /// To whom.
        node: NodeId,
        /// It misbehaved so much that it is not taken back for a while; the host may hold that against its address, since
        /// a new name costs nothing.
        banned: bool,
    },
    /// Say something to a connected node.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
}

/// An order to the host. None of them may block: nobody waits for what it takes.
#[derive(Debug)]
pub enum HostOrder {
    /// Run a batch; answered by exactly one [`super::Input::Executed`], whatever happens (time over, worker died, aborted).
    /// The host rewrites the kernel ([`crate::kernel::prepare`]) and compiles it once per hash, and keeps it.
    Execute {
        /// Comes back in the answer.
        run: RunId,
        /// The kernel's original bytes.
        kernel: Arc<[u8]>,
        /// What to run.
        batch: Batch,
        /// Share of the core's time that it may take, 1 to 100 percent.
        cpu_percent: u8,
    },
    /// Stop a run at once; its report still comes and says [`crate::engine::Trap::Cancelled`].
    Abort {
        /// Which.
        run: RunId,
    },
    /// Set a run aside where it stands (`rests`), or let it go on. Time set aside counts neither for its limit nor as work.
    /// Only where [`super::NodeConfig::can_rest`].
    Rest {
        /// Which.
        run: RunId,
        /// Which of the two.
        rests: bool,
    },
    /// Make one result of a job's large outputs ([`Merge::run`]), which takes long, beside the node where the host can;
    /// answered by exactly one [`super::Input::Merged`], whatever happens.
    Merge {
        /// Comes back in the answer.
        job: JobId,
        /// What to do.
        merge: Merge,
    },
    /// Change records, all of them at once or none.
    Change(Vec<Change>),
    /// The same, and say so by [`super::Input::Kept`] once it outlives this process, or once somebody was told that nothing
    /// does: something is said only then. What was ordered before is done before.
    Keep {
        /// Comes back in the answer.
        token: Token,
        /// What to change.
        changes: Vec<Change>,
    },
    /// How many batches will run at once from now on (cores lent), 0 while nothing is lent; the host sizes its pool. Runs
    /// already ordered are still answered.
    Cores(u16),
}

/// Something that a person can see changed.
#[derive(Debug)]
pub enum Notice {
    /// A job.
    JobChanged(JobId),
    /// A job is gone from the list.
    JobRemoved {
        /// Which.
        id: JobId,
        /// Whose it was.
        owner: OwnerId,
    },
    /// Connections, offers or the lending side.
    NetworkChanged,
}
