//! What the rest of a program holds of a running node: ask, order, listen. Cheap to clone; works natively and in a tab.

use std::{collections::BTreeMap, sync::Arc};

use futures::{
    SinkExt, Stream, StreamExt,
    channel::{mpsc, oneshot},
};
use p2pnet_shared::{
    api::{Event, JobStatus, JobSummary, NetworkView, ProviderSettings},
    id::{Holder, JobId, NodeId, OwnerId},
    job::{Job, JobState},
    node::{Found, Listing, NoResult, Step, read_status, read_summary, why_no_result},
    refusal::{Code, Refusal},
    store::StoreKey,
};

pub use crate::listeners::{Hears, Teller};
use crate::{host::Records, listeners};

/// How many orders may wait for the loop; a caller beyond that waits.
pub const COMMAND_QUEUE: usize = 256;

/// How many events may wait for a listener; one that is further behind gets the newest state of each job later, not
/// every step. They go in once in a while ([`crate::limits::EVENTS_INTERVAL`]), so there is room for what a busy relay does
/// meanwhile; what bounds long ones are their bytes.
pub const EVENT_QUEUE: usize = 1_024;

/// How many times the ends of jobs of a moment may wait for a listener.
pub const END_QUEUE: usize = 16;

/// An order or a question to the loop. Answers go back over the oneshot; nobody listening is fine.
pub enum Command {
    /// Take a job; its new name comes back.
    Submit(Box<Job>, oneshot::Sender<Result<JobId, Refusal>>),
    /// Set room aside for a holder's job of so many bytes that is to come under this name.
    Reserve(JobId, Holder, usize, oneshot::Sender<Result<(), Refusal>>),
    /// Give that room back: the job does not come.
    Release(JobId),
    /// Take a job for which there is room set aside, and which the store already holds under this name.
    SubmitKept(JobId, Box<Job>, oneshot::Sender<()>),
    /// Stop a job; `false` when there is none.
    Cancel(JobId, oneshot::Sender<bool>),
    /// Drop a finished job from the list; `false` when there is none.
    Remove(JobId, oneshot::Sender<bool>),
    /// A list of jobs; see [`p2pnet_shared::node::Node::jobs`].
    Jobs(Listing, oneshot::Sender<Option<Step>>),
    /// How many jobs there are in each state.
    States(oneshot::Sender<BTreeMap<JobState, usize>>),
    /// One job, as a list shows it.
    Find(JobId, oneshot::Sender<Option<Box<Found<JobSummary>>>>),
    /// Whose a job is, and whether more than that is understood of it.
    Owner(JobId, oneshot::Sender<Option<(OwnerId, bool)>>),
    /// Whether a job is over; `None` when there is none.
    IsOver(JobId, oneshot::Sender<Option<bool>>),
    /// One job.
    Job(JobId, oneshot::Sender<Option<Box<Found<JobStatus>>>>),
    /// The record that holds a job's result.
    JobResult(JobId, oneshot::Sender<Result<StoreKey, NoResult>>),
    /// Connections, offers, the lending side.
    Network(oneshot::Sender<Box<NetworkView>>),
    /// Change what is lent.
    Settings(ProviderSettings),
    /// A listener for events.
    Listen(Teller, Hears),
    /// A listener for the ends of jobs.
    ListenForEnds(mpsc::Sender<Vec<JobId>>),
    /// End the loop: say goodbye, close connections.
    Stop(oneshot::Sender<()>),
}

/// Room that a node has set aside for one job, which gets it with [`Handle::submit_kept`]; given back when dropped.
pub struct Reservation {
    id: JobId,
    /// Of its own, so that there is always a place in the queue for what is said at the end.
    commands: mpsc::Sender<Command>,
    is_used: bool,
}

impl Reservation {
    /// The name of the job.
    pub fn id(&self) -> JobId {
        self.id
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.is_used {
            // A node that has stopped has no room to give.
            let _ = self.commands.try_send(Command::Release(self.id));
        }
    }
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

    /// Sets room aside for a job, named `id` by the caller, that holds so many bytes
    /// ([`p2pnet_shared::node::held_bytes`]); for those who keep it before they hand it over. From here on it counts, so
    /// that of many that come at once no more are kept than there is room for.
    ///
    /// # Errors
    /// There is no room for it; the refusal says why.
    pub async fn reserve(&self, id: JobId, holder: Holder, bytes: usize) -> Result<Reservation, Refusal> {
        // Made first: whatever becomes of the asker, the room is given back.
        let place = Reservation { id, commands: self.commands.clone(), is_used: false };
        self.ask(|reply| Command::Reserve(id, holder, bytes, reply)).await.unwrap_or_else(|| Err(stopped()))?;
        Ok(place)
    }

    /// Hands over a job that was put into the store under the name of its reservation before, by its
    /// [`p2pnet_shared::node::new_record`].
    ///
    /// # Errors
    /// The node has stopped; then the caller forgets the record.
    pub async fn submit_kept(&self, mut place: Reservation, job: Job) -> Result<(), Refusal> {
        self.ask(|reply| Command::SubmitKept(place.id, Box::new(job), reply)).await.ok_or_else(stopped)?;
        place.is_used = true;
        Ok(())
    }

    /// Stops a job; `false` when none with this id runs, since it is over or was never there.
    pub async fn cancel(&self, id: JobId) -> bool {
        self.ask(|reply| Command::Cancel(id, reply)).await.unwrap_or(false)
    }

    /// Drops a finished job from the list; `false` when there is none with this id.
    pub async fn remove(&self, id: JobId) -> bool {
        self.ask(|reply| Command::Remove(id, reply)).await.unwrap_or(false)
    }

    /// The jobs of a list, newest first; `None` when the job that it is to begin behind is not in it. It is made in steps,
    /// between which the loop does what others want. Jobs whose lines cannot be understood are left out.
    ///
    /// # Errors
    /// The store cannot be read now ([`Code::StoreFailed`]).
    pub async fn jobs(&self, mut listing: Listing) -> Result<Option<Vec<JobSummary>>, Refusal> {
        let mut jobs = Vec::new();
        let most = listing.most;
        while jobs.len() < most {
            listing.most = most - jobs.len();
            let asked = listing.clone();
            let Some(step) = self.ask(|reply| Command::Jobs(asked, reply)).await.flatten() else { return Ok(None) };
            let on = step.on;
            self.read_step(step, &listing, &mut jobs).await?;
            match on {
                Some(place) => (listing.before, listing.before_job) = (Some(place), None),
                None => break,
            }
        }
        jobs.truncate(most);
        Ok(Some(jobs))
    }

    /// Reads what a step only says where it lies.
    async fn read_step(&self, step: Step, listing: &Listing, jobs: &mut Vec<JobSummary>) -> Result<(), Refusal> {
        let kept = step.jobs.iter().filter_map(|found| match found {
            Found::Here(_) => None,
            Found::Kept(key) => Some(*key),
        });
        let kept: Vec<StoreKey> = kept.collect();
        let mut records = match kept.len() {
            0 => Vec::new(),
            _ => self.records.read_all(kept).await?,
        }
        .into_iter();
        for found in step.jobs {
            let job = match found {
                Found::Here(job) => Some(job),
                // One that is gone was removed meanwhile.
                Found::Kept(key) => records.next().flatten().and_then(|record| read_summary(key.job(), &record)),
            };
            jobs.extend(job.filter(|job| (listing.takes)(job)));
        }
        Ok(())
    }

    /// How many jobs there are in each state.
    pub async fn states(&self) -> BTreeMap<JobState, usize> {
        self.ask(Command::States).await.unwrap_or_default()
    }

    /// Whether a job is known and, if so, whether it is over.
    pub async fn is_over(&self, id: JobId) -> Option<bool> {
        self.ask(|reply| Command::IsOver(id, reply)).await.flatten()
    }

    /// One job, as a list shows it; `None` when there is none.
    ///
    /// # Errors
    /// What is kept of it cannot be read now, or is not understood ([`Code::StoreFailed`]).
    pub async fn find(&self, id: JobId) -> Result<Option<JobSummary>, Refusal> {
        match self.ask(|reply| Command::Find(id, reply)).await.flatten().map(|found| *found) {
            Some(Found::Here(job)) => Ok(Some(job)),
            Some(Found::Kept(record)) => match self.records.read(record).await? {
                None => Ok(None),
                Some(record) => read_summary(id, &record).map(Some).ok_or_else(|| damaged(id)),
            },
            None => Ok(None),
        }
    }

    /// Whose a job is, and whether more than that is understood of it; `None` when there is none.
    pub async fn owner(&self, id: JobId) -> Option<(OwnerId, bool)> {
        self.ask(|reply| Command::Owner(id, reply)).await.flatten()
    }

    /// One job; `None` when there is none, or nothing is kept of it.
    ///
    /// # Errors
    /// What is kept of it cannot be read now, or is damaged ([`Code::StoreFailed`]).
    pub async fn job(&self, id: JobId) -> Result<Option<JobStatus>, Refusal> {
        match self.ask(|reply| Command::Job(id, reply)).await.flatten().map(|found| *found) {
            None => Ok(None),
            Some(Found::Here(status)) => Ok(Some(status)),
            Some(Found::Kept(record)) => match self.records.read(record).await? {
                None => Ok(None),
                Some(record) => read_status(id, &record).map(Some).ok_or_else(|| damaged(id)),
            },
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
        match self.ask(|reply| Command::JobResult(id, reply)).await.ok_or_else(stopped)? {
            Ok(record) => Ok(record),
            Err(NoResult::Because(refusal)) => Err(refusal),
            Err(NoResult::AsLineSays(record)) => {
                let line = self.records.read(record).await?.and_then(|record| read_summary(id, &record));
                Err(line.as_ref().map_or_else(|| damaged(id), why_no_result))
            }
        }
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
        let (teller, told) = listeners::queue(EVENT_QUEUE);
        let mut commands = self.commands.clone();
        futures::stream::once(async move {
            let _ = commands.send(Command::Listen(teller, hears)).await;
            told
        })
        .flatten()
    }

    /// The jobs that end, or are removed, from now on; those of a moment at once. Ends when the node stops.
    pub fn ends(&self) -> impl Stream<Item = Vec<JobId>> + Send + 'static {
        let (sender, receiver) = mpsc::channel(END_QUEUE);
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

/// A record is there and is what no version writes.
fn damaged(id: JobId) -> Refusal {
    tracing::error!(job = %id, "the record of a job that is over is damaged: nothing more can be told of it than lists show");
    let message = "the record of the job is damaged: more than lists show of it cannot be told";
    Refusal::new(
        Code::StoreFailed,
        message,
        "its result, if it has one, is read without the record, and it can be removed",
    )
}

fn stopped() -> Refusal {
    Refusal::new(Code::ShuttingDown, "this node is stopping", "submit the job again once the node is back")
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
    use p2pnet_shared::refusal::Refusal;

    use super::*;
    use crate::host::MemoryRecords;

    /// A disk that reads nothing now.
    struct Unread;

    impl Records for Unread {
        fn read(&self, _: StoreKey) -> BoxFuture<'static, Result<Option<Vec<u8>>, Refusal>> {
            async { Err(Refusal::new(Code::StoreFailed, "the disk is away", "")) }.boxed()
        }
    }

    #[tokio::test]
    async fn a_job_whose_record_is_damaged_is_none_that_is_gone() {
        let records = MemoryRecords::default();
        let [damaged, gone] = [1, 2].map(|number| JobId([number; 16]));
        records.change(vec![(StoreKey::Over(damaged), Some(b"{\"version\":1,".to_vec()))]);
        let (handle, mut commands) = Handle::new(NodeId([1; 32]), Arc::new(records));
        let node = async {
            while let Some(command) = commands.next().await {
                if let Command::Job(id, reply) = command {
                    let _ = reply.send(Some(Box::new(Found::Kept(StoreKey::Over(id)))));
                }
            }
        };
        let asked = async {
            assert_eq!(handle.job(damaged).await.unwrap_err().code, Code::StoreFailed);
            assert_eq!(handle.job(gone).await, Ok(None), "it was removed meanwhile");
        };
        tokio::select! {
            () = node => {}
            () = asked => {}
        }
    }

    #[tokio::test]
    async fn a_job_that_cannot_be_read_now_is_none_that_is_gone() {
        let (handle, mut commands) = Handle::new(NodeId([1; 32]), Arc::new(Unread));
        let node = async {
            while let Some(command) = commands.next().await {
                if let Command::Job(id, reply) = command {
                    let _ = reply.send(Some(Box::new(Found::Kept(StoreKey::Over(id)))));
                }
            }
        };
        tokio::select! {
            () = node => {}
            job = handle.job(JobId([1; 16])) => assert_eq!(job.unwrap_err().code, Code::StoreFailed),
        }
    }
}
