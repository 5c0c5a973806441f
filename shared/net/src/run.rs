//! The loop: whatever comes (a command, a fact of the host, something on the network, time) becomes an input of the
//! node; the effects that the node answers with are carried out before anything else is looked at.

use std::{future::Future, pin::Pin, time::Duration};

use futures::{FutureExt, StreamExt, channel::mpsc, channel::oneshot, stream::Fuse};
use libp2p::identity::Keypair;
use p2pnet_shared::{
    api::ProviderSettings,
    id::{JobId, NodeId},
    job::Job,
    node::{Effect, Input, NetworkOrder, Node, Notice, held_bytes},
    refusal::Refusal,
    units::Moment,
    wire::Role,
};

use crate::{
    StartError,
    handle::{Command, Handle},
    host::{Host, HostFact, Start},
    limits,
    links::Links,
    listeners::Listeners,
    node_of, platform,
    platform::{Options, Outside},
};

/// Starts a node: a handle for the rest of the program, what the platform shows beside it, and the loop, which the
/// caller runs until it ends (after [`Handle::stop`], or when all handles are gone). Natively it must be called inside
/// a tokio runtime.
///
/// # Errors
/// A bad key or certificate, or an address that cannot be listened on.
pub fn start<H: Host>(
    start: Start,
    host: H,
    facts: mpsc::Receiver<HostFact>,
    options: Options,
) -> Result<(Handle, Outside, impl Future<Output = ()> + use<H>), StartError> {
    let keypair = Keypair::ed25519_from_bytes(start.secret).map_err(|error| StartError::Keys(error.to_string()))?;
    let me = start.config.me;
    if node_of(&keypair.public().to_peer_id()) != Some(me) {
        return Err(StartError::Keys(format!("it is not the key of {me}")));
    }
    let serve = match start.config.role {
        Role::Seed => true,
        Role::Public | Role::Client | Role::Specialised => false,
    };
    let (swarm, outside, inside, external) = platform::open(&keypair, start.config.agent.clone(), serve, options)?;
    let (handle, commands) = Handle::new(me, host.records());
    let mut node = Node::new(start.config);
    let Start { restored, lines_follow, read, .. } = start;
    if lines_follow {
        node.await_lines();
    }
    node.restore(host.now(), restored, &*read);
    for (job, refusal) in node.not_resumed() {
        let (code, reason) = (refusal.code, &refusal.message);
        tracing::warn!(%job, ?code, reason, "a job that was not over is not understood: it is left as it is, for a version that reads it");
    }
    let running = Loop {
        me,
        node,
        host,
        links: Links::new(me, serve, swarm, inside, external),
        listeners: Listeners::default(),
        commands: commands.fuse(),
        facts: facts.fuse(),
        timer: None,
        stopping: None,
        waiting: Vec::new(),
    };
    running.report_damage(0);
    Ok((handle, outside, running.run()))
}

struct Loop<H> {
    me: NodeId,
    node: Node,
    host: H,
    links: Links,
    listeners: Listeners,
    commands: Fuse<mpsc::Receiver<Command>>,
    facts: Fuse<mpsc::Receiver<HostFact>>,
    timer: Option<Timer>,
    stopping: Option<Vec<oneshot::Sender<()>>>,
    /// Questions about jobs that may be over, which wait until all of those are known.
    waiting: Vec<Command>,
}

struct Timer {
    at: Moment,
    sleep: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// What woke the loop.
enum Woken {
    Command(Option<Command>),
    Fact(Option<HostFact>),
    Network(crate::links::Happening),
    Time,
}

impl<H: Host> Loop<H> {
    async fn run(mut self) {
        while self.stopping.is_none() {
            let now = self.host.now();
            self.links.maintain(now);
            self.feed_links(now);
            if self.node.next_deadline().is_some_and(|deadline| deadline <= now) {
                self.node.handle(now, Input::Tick);
            }
            self.carry_out(now);
            let node = &self.node;
            self.listeners.tell(now, |id| node.summary(id));
            let woken = self.wake(now).await;
            self.take(woken);
        }
        self.close().await;
    }

    /// Waits for whatever comes first; sources that are ready take turns by chance.
    async fn wake(&mut self, now: Moment) -> Woken {
        self.set_timer(now);
        let Self { commands, facts, links, timer, .. } = self;
        let time = async {
            match timer {
                Some(timer) => (&mut timer.sleep).await,
                None => futures::future::pending().await,
            }
        };
        futures::select! {
            command = commands.next() => Woken::Command(command),
            // Hosts that have nothing more to say are no reason to spin.
            fact = facts.select_next_some() => Woken::Fact(Some(fact)),
            happening = links.next().fuse() => Woken::Network(happening),
            () = time.fuse() => Woken::Time,
        }
    }

    /// Takes in what woke the loop and what else its source has ready, up to a bound.
    fn take(&mut self, woken: Woken) {
        let mut next = Some(woken);
        for _ in 0..limits::TURN {
            let Some(woken) = next.take() else { return };
            let now = self.host.now();
            next = match woken {
                Woken::Command(Some(command)) => {
                    self.on_command(now, command);
                    self.commands.next().now_or_never().flatten().map(|command| Woken::Command(Some(command)))
                }
                // Nobody can ask for anything any more.
                Woken::Command(None) => {
                    self.stopping.get_or_insert_default();
                    None
                }
                Woken::Fact(Some(fact)) => {
                    self.on_fact(now, fact);
                    self.facts.next().now_or_never().flatten().map(|fact| Woken::Fact(Some(fact)))
                }
                Woken::Fact(None) => None,
                Woken::Network(happening) => {
                    self.links.handle(now, happening);
                    self.feed_links(now);
                    self.links.next_link_event().map(Woken::Network)
                }
                Woken::Time => {
                    self.timer = None;
                    None
                }
            };
            self.carry_out(now);
        }
        if let Some(left) = next {
            self.put_back(left);
        }
    }

    /// What was already taken from its source when the turn ended.
    fn put_back(&mut self, left: Woken) {
        let now = self.host.now();
        match left {
            Woken::Command(Some(command)) => self.on_command(now, command),
            Woken::Fact(Some(fact)) => self.on_fact(now, fact),
            Woken::Network(happening) => {
                self.links.handle(now, happening);
                self.feed_links(now);
            }
            Woken::Command(None) | Woken::Fact(None) | Woken::Time => {}
        }
        self.carry_out(now);
    }

    fn feed_links(&mut self, now: Moment) {
        while let Some(input) = self.links.poll_input() {
            self.node.handle(now, input);
        }
    }

    fn on_fact(&mut self, now: Moment, fact: HostFact) {
        match fact {
            HostFact::Executed { run, report } => self.node.handle(now, Input::Executed { run, report }),
            HostFact::Merged { job, merged } => self.node.handle(now, Input::Merged { job, merged }),
            HostFact::Kept { tokens } => {
                for token in tokens {
                    self.node.handle(now, Input::Kept { token });
                }
            }
            HostFact::Loaded { lines, is_all } => {
                let reported = self.node.damaged().len();
                self.node.handle(now, Input::Loaded { lines, is_all });
                self.report_damage(reported);
                if is_all {
                    self.answer_those_who_waited(now);
                }
            }
            HostFact::UnknownRecords(records) => self.node.handle(now, Input::UnknownRecords(records)),
            HostFact::Tick => self.node.handle(now, Input::Tick),
            HostFact::SeedKnown { addresses } => {
                self.links.seed_known(now, &addresses);
                self.feed_links(now);
            }
        }
    }

    /// Names damaged records, but for those that were named before.
    fn report_damage(&self, reported: usize) {
        for key in &self.node.damaged()[reported..] {
            tracing::error!(
                ?key,
                "a record of the store is damaged: what it holds of its job is lost, and it is left alone"
            );
        }
    }

    fn answer_those_who_waited(&mut self, now: Moment) {
        if self.node.records_not_understood() > 0 {
            let records = self.node.records_not_understood();
            tracing::warn!(
                records,
                "records of the store are damaged or of a later version; they are left as they are"
            );
        }
        for command in std::mem::take(&mut self.waiting) {
            self.on_command(now, command);
            self.carry_out(now);
        }
    }

    /// Whether a question can be answered only once all jobs are known that were over before the start: a moment later.
    fn has_to_wait(&self, command: &Command) -> bool {
        match command {
            _ if self.node.is_loaded() => false,
            Command::Jobs(..) | Command::States(_) => true,
            Command::Cancel(id, _)
            | Command::Remove(id, _)
            | Command::Find(id, _)
            | Command::Owner(id, _)
            | Command::IsOver(id, _)
            | Command::Job(id, _)
            | Command::JobResult(id, _) => self.node.owner(*id).is_none(),
            Command::Submit(..)
            | Command::Reserve(..)
            | Command::Release(_)
            | Command::SubmitKept(..)
            | Command::Network(_)
            | Command::Settings(_)
            | Command::Listen(..)
            | Command::ListenForEnds(_)
            | Command::Stop(_) => false,
        }
    }

    fn on_command(&mut self, now: Moment, command: Command) {
        if self.has_to_wait(&command) {
            return self.waiting.push(command);
        }
        // Whoever asked may have gone: an answer that nobody takes is dropped.
        match command {
            Command::Submit(job, reply) => _ = reply.send(self.submit(now, job)),
            Command::Reserve(id, holder, bytes, reply) => _ = reply.send(self.node.reserve(id, holder, bytes)),
            Command::Release(id) => self.node.release(id),
            Command::SubmitKept(id, job, reply) => {
                self.node.handle(now, Input::Accepted { id, job });
                _ = reply.send(());
            }
            // What these two order is with the host before the answer goes: who asked may wait for the store then.
            Command::Cancel(id, reply) => {
                let running = self.node.has_ended(id) == Some(false);
                self.node.handle(now, Input::Cancelled { id });
                self.carry_out(now);
                _ = reply.send(running);
            }
            Command::Remove(id, reply) => {
                let finished = self.node.has_ended(id) == Some(true) || self.node.left_alone(id).is_some();
                self.node.handle(now, Input::Removed { id });
                self.carry_out(now);
                _ = reply.send(finished);
            }
            Command::Find(id, reply) => _ = reply.send(self.node.find(id).map(Box::new)),
            Command::Owner(id, reply) => {
                let known = self.node.owner(id).map(|owner| (owner, true));
                _ = reply.send(known.or_else(|| self.node.left_alone(id).map(|owner| (owner, false))));
            }
            Command::IsOver(id, reply) => _ = reply.send(self.node.is_over(id)),
            Command::Jobs(listing, reply) => _ = reply.send(self.node.list(&listing, limits::LOOKED_AT)),
            Command::States(reply) => _ = reply.send(self.node.states()),
            Command::Job(id, reply) => _ = reply.send(self.node.job(id).map(Box::new)),
            Command::JobResult(id, reply) => _ = reply.send(self.node.result(id)),
            Command::Network(reply) => _ = reply.send(Box::new(self.node.network())),
            Command::Settings(settings) => self.settings(now, settings),
            Command::Listen(teller, hears) => self.listeners.add(teller, hears),
            Command::ListenForEnds(events) => self.listeners.add_for_ends(events),
            Command::Stop(reply) => self.stopping.get_or_insert_default().push(reply),
        }
    }

    fn submit(&mut self, now: Moment, job: Box<Job>) -> Result<JobId, Refusal> {
        self.node.may_submit(job.holder, held_bytes(&*job.plan, &job.source))?;
        let id = self.node.next_job_id();
        self.node.handle(now, Input::Submitted { id, job });
        Ok(id)
    }

    fn settings(&mut self, now: Moment, settings: ProviderSettings) {
        self.node.handle(now, Input::Settings(settings));
    }

    fn carry_out(&mut self, now: Moment) {
        while let Some(effect) = self.node.poll_effect() {
            match effect {
                Effect::Network(order) => match order {
                    // Its failure, if it fails at once, is the next turn's business.
                    NetworkOrder::Dial { node, addresses } => self.links.dial(now, node, &addresses),
                    NetworkOrder::Hang { node, banned } => self.links.hang(node, banned),
                    NetworkOrder::Send { to, message } => self.links.send(now, to, &message),
                },
                Effect::Host(order) => self.host.carry_out(order),
                Effect::Tell(notice) => match notice {
                    Notice::JobChanged(id) => {
                        let is_over = self.node.is_over(id) == Some(true);
                        self.listeners.job_changed(id, self.node.owner(id), is_over);
                    }
                    Notice::JobRemoved { id, owner } => self.listeners.job_removed(id, owner),
                    Notice::NetworkChanged => self.listeners.network_changed(),
                },
            }
        }
    }

    /// One timer for the next thing that time brings; armed anew only when something is due before it fires.
    fn set_timer(&mut self, now: Moment) {
        let waiting = self.links.has_inputs().then_some(now);
        let due = [waiting, self.node.next_deadline(), self.listeners.due(), Some(self.links.due())];
        let Some(at) = due.into_iter().flatten().min() else { return };
        if self.timer.as_ref().is_none_or(|timer| at < timer.at) {
            let sleep = platform::sleep(Duration::from_millis((at - now).0));
            self.timer = Some(Timer { at, sleep: Box::pin(sleep) });
        }
    }

    /// Says goodbye: whoever counts on what is lent here hears at once that it is no more, and gives its work to others.
    /// Then closes all connections. Waits a little for both.
    async fn close(mut self) {
        tracing::debug!(me = %self.me, "stopping");
        let now = self.host.now();
        self.node.handle(now, Input::Leaving);
        self.carry_out(now);
        // What is said is on its way to be written, or not yet.
        self.go_on_until(limits::GOODBYE_TIMEOUT, |links| links.unwritten() == 0).await;
        if self.links.connections() > 0 {
            // A connection that closes takes back what the other end has not confirmed, over QUIC.
            self.go_on_until(limits::GOODBYE_ARRIVES, |_| false).await;
        }
        self.links.hang_all();
        self.go_on_until(limits::STOP_TIMEOUT, |links| links.connections() == 0).await;
        for reply in self.stopping.unwrap_or_default() {
            let _ = reply.send(());
        }
    }

    /// Lets connections do what they have to, until that is done or the time is over.
    async fn go_on_until(&mut self, most: Duration, done: impl Fn(&Links) -> bool) {
        let Self { links, host, .. } = self;
        let going_on = async {
            while !done(links) {
                let happening = futures::select! {
                    happening = links.next().fuse() => Some(happening),
                    // Writers say nothing of what they have written.
                    () = platform::sleep(limits::GOODBYE_LOOK).fuse() => None,
                };
                if let Some(happening) = happening {
                    links.handle(host.now(), happening);
                }
            }
        };
        let timeout = platform::sleep(most);
        futures::pin_mut!(going_on, timeout);
        futures::future::select(going_on, timeout).await;
    }
}
