//! What the rest of a program holds of a running node: ask, order, listen. Cheap to clone; works natively and in a tab.

use std::{collections::BTreeMap, sync::Arc};

use futures::{
    SinkExt, Stream, StreamExt,
    channel::{mpsc, oneshot},
};
use p2pnet_shared::{
    api::{Event, JobStatus, JobSummary, NetworkView, ProviderSettings},
    id::{Holder, JobId, NodeId},
    job::{Job, JobState},
    node::{Found, Listing, StoreKey, read_status},
    refusal::{Code, Refusal},
};

use crate::host::Records;
pub use crate::listeners::Hears;

/// How many orders may wait for the loop; a caller beyond that waits.
pub const COMMAND_QUEUE: usize = 256;

/// How many events may wait for a listener; one that is further behind gets the newest state of each job later, not
/// every step.
pub const EVENT_QUEUE: usize = 16;

/// An order or a question to the loop. Answers go back over the oneshot; nobody listening is fine.
pub enum Command {
    /// Take a job; its new name comes back.
    Submit(Box<Job>, oneshot::Sender<Result<JobId, Refusal>>),
    /// Whether a job of so many bytes would be taken from a holder now.
    MaySubmit(Holder, usize, oneshot::Sender<Result<(), Refusal>>),
    /// Take a job that the store already holds under this name.
    SubmitKept(JobId, Box<Job>, oneshot::Sender<Result<JobId, Refusal>>),
    /// Stop a job; `false` when there is none.
    Cancel(JobId, oneshot::Sender<bool>),
    /// Drop a finished job from the list; `false` when there is none.
    Remove(JobId, oneshot::Sender<bool>),
    /// A list of jobs; see [`p2pnet_shared::node::Node::jobs`].
    Jobs(Listing, oneshot::Sender<Option<Vec<JobSummary>>>),
    /// How many jobs there are in each state.
    States(oneshot::Sender<BTreeMap<JobState, usize>>),
    /// Whether a job is over; `None` when there is none.
    IsOver(JobId, oneshot::Sender<Option<bool>>),
    /// One job.
    Job(JobId, oneshot::Sender<Option<Box<Found<JobStatus>>>>),
    /// The record that holds a job's result.
    JobResult(JobId, oneshot::Sender<Result<StoreKey, Refusal>>),
    /// Connections, offers, the lending side.
    Network(oneshot::Sender<Box<NetworkView>>),
    /// Change what is lent.
    Settings(ProviderSettings),
    /// A listener for events.
    Listen(mpsc::Sender<Event>, Hears),
    /// A listener for the ends of jobs.
    ListenForEnds(mpsc::Sender<Vec<JobId>>),
    /// End the loop: say goodbye, close connections.
    Stop(oneshot::Sender<()>),
}

/// A running node.
#[derive(Clone)]
pub struct Handle {
    me: NodeId,
    commands: mpsc::Sender<Command>,
    records: Arc<dyn Records>,
}

impl Handle {
    /// A handle and the end that the loop reads. What the node does not hold itself is read from `records`.
    pub fn new(me: NodeId, records: Arc<dyn Records>) -> (Self, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(COMMAND_QUEUE);
        (Self { me, commands, records }, receiver)
    }

    /// Who this node is.
    pub fn me(&self) -> NodeId {
        self.me
    }

    /// Hands a job over. Read it with [`p2pnet_shared::job::kinds::read`] first, off the loop: that is the slow part.
    pub async fn submit(&self, job: Job) -> Result<JobId, Refusal> {
        self.ask(|reply| Command::Submit(Box::new(job), reply)).await.unwrap_or_else(|| Err(stopped()))
    }

    /// Whether a job whose source has so many bytes would be taken from a holder now; for those who keep it first.
    pub async fn may_submit(&self, holder: Holder, source_bytes: usize) -> Result<(), Refusal> {
        self.ask(|reply| Command::MaySubmit(holder, source_bytes, reply)).await.unwrap_or_else(|| Err(stopped()))
    }

    /// Hands over a job that was put into the store under the name `id` before, by its
    /// [`p2pnet_shared::node::new_record`]. When it is refused, the caller forgets the record.
    pub async fn submit_kept(&self, id: JobId, job: Job) -> Result<JobId, Refusal> {
        self.ask(|reply| Command::SubmitKept(id, Box::new(job), reply)).await.unwrap_or_else(|| Err(stopped()))
    }

    /// Stops a job; `false` when none with this id runs, since it is over or was never there.
    pub async fn cancel(&self, id: JobId) -> bool {
        self.ask(|reply| Command::Cancel(id, reply)).await.unwrap_or(false)
    }

    /// Drops a finished job from the list; `false` when there is none with this id.
    pub async fn remove(&self, id: JobId) -> bool {
        self.ask(|reply| Command::Remove(id, reply)).await.unwrap_or(false)
    }

    /// All jobs, newest first.
    pub async fn jobs(&self, listing: Listing) -> Option<Vec<JobSummary>> {
        self.ask(|reply| Command::Jobs(listing, reply)).await?
    }

    /// How many jobs there are in each state.
    pub async fn states(&self) -> BTreeMap<JobState, usize> {
        self.ask(Command::States).await.unwrap_or_default()
    }

    /// Whether a job is known and, if so, whether it is over.
    pub async fn is_over(&self, id: JobId) -> Option<bool> {
        self.ask(|reply| Command::IsOver(id, reply)).await.flatten()
    }

    /// One job.
    pub async fn job(&self, id: JobId) -> Option<JobStatus> {
        match *self.ask(|reply| Command::Job(id, reply)).await.flatten()? {
            Found::Here(status) => Some(status),
            Found::Kept(record) => read_status(id, &self.records.read(record).await.ok()??),
        }
    }

    /// A job's result as JSON text; else why there is none.
    pub async fn result(&self, id: JobId) -> Result<String, Refusal> {
        let record = self.records.read(self.result_record(id).await?).await?;
        record.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
            Refusal::new(Code::NoResult, "the result was lost from this node's store", "submit the job again")
        })
    }

    /// The record in which a job's result lies, for those who read it in parts; else why there is none.
    pub async fn result_record(&self, id: JobId) -> Result<StoreKey, Refusal> {
        self.ask(|reply| Command::JobResult(id, reply)).await.unwrap_or_else(|| Err(stopped()))
    }

    /// Connections, offers and the lending side; `None` once the node has stopped.
    pub async fn network(&self) -> Option<NetworkView> {
        self.ask(Command::Network).await.map(|view| *view)
    }

    /// Changes what is lent.
    pub async fn set_provider(&self, settings: ProviderSettings) {
        let _ = self.commands.clone().send(Command::Settings(settings)).await;
    }

    /// What changes from now on. Ends when the node stops.
    pub fn events(&self, hears: Hears) -> impl Stream<Item = Event> + Send + 'static {
        let (sender, receiver) = mpsc::channel(EVENT_QUEUE);
        let mut commands = self.commands.clone();
        futures::stream::once(async move {
            let _ = commands.send(Command::Listen(sender, hears)).await;
            receiver
        })
        .flatten()
    }

    /// The jobs that end, or are removed, from now on; those of a moment at once. Ends when the node stops.
    pub fn ends(&self) -> impl Stream<Item = Vec<JobId>> + Send + 'static {
        let (sender, receiver) = mpsc::channel(EVENT_QUEUE);
        let mut commands = self.commands.clone();
        futures::stream::once(async move {
            let _ = commands.send(Command::ListenForEnds(sender)).await;
            receiver
        })
        .flatten()
    }

    /// Ends the node; returns when its connections are closed.
    pub async fn stop(&self) {
        self.ask(Command::Stop).await;
    }

    /// `None` when the loop is gone.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.clone().send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}

fn stopped() -> Refusal {
    Refusal::new(Code::ShuttingDown, "this node is stopping", "submit the job again once the node is back")
}
