//! Whole nodes, from the handle of one to the engine of the other.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use futures::{SinkExt, StreamExt, channel::mpsc};
use p2pnet_shared::{
    api::{Event, JobStatus, Path, ProviderSettings},
    engine::{Batch, BatchReport, Engine, EngineName, Input, Prepared, WasmiEngine},
    id::JobId,
    job::{AttemptState, JobState, kinds},
    kernel::{self, REWRITE_VERSION},
    node::{HostOrder, Keep, NodeConfig},
    units::Moment,
    wire::Role,
};

use tokio::net::TcpListener;
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::party::now;
use crate::{
    Options, Outside,
    handle::Handle,
    host::{Host, HostFact, MemoryRecords, Records, Start},
    node_id, start,
};

/// Runs every batch by wasmi on a thread of its own; keeps records in memory.
struct TestHost {
    facts: mpsc::Sender<HostFact>,
    records: MemoryRecords,
}

impl Host for TestHost {
    fn now(&self) -> Moment {
        now()
    }

    fn carry_out(&mut self, order: HostOrder) {
        match order {
            HostOrder::Execute { run, kernel, batch, .. } => {
                let mut facts = self.facts.clone();
                std::thread::spawn(move || {
                    let report = execute(&kernel, &batch);
                    // An error means that the node has stopped.
                    let _ = futures::executor::block_on(facts.send(HostFact::Executed { run, report }));
                });
            }
            HostOrder::Merge { job, merge } => {
                let mut facts = self.facts.clone();
                std::thread::spawn(move || {
                    let _ = futures::executor::block_on(facts.send(HostFact::Merged { job, merged: merge.run() }));
                });
            }
            HostOrder::Change(changes) => self.records.change(changes),
            HostOrder::Keep { token, changes } => {
                self.records.change(changes);
                let _ = self.facts.clone().try_send(HostFact::Kept { tokens: vec![token] });
            }
            HostOrder::Abort { .. } | HostOrder::Rest { .. } | HostOrder::Cores(_) => {}
        }
    }

    fn records(&self) -> Arc<dyn Records> {
        Arc::new(self.records.clone())
    }
}

fn execute(kernel: &Arc<[u8]>, batch: &Batch) -> BatchReport {
    let mut engine = WasmiEngine::new();
    let prepared = kernel::prepare(kernel).unwrap();
    let module = engine.load(&prepared.rewritten).unwrap();
    let call = |bytes: &Vec<u8>| engine.call(&module, Input::with(batch.common.as_ref(), bytes), &batch.limits);
    BatchReport {
        engine: EngineName::Wasmi,
        outcomes: batch.calls.iter().map(call).collect(),
        busy_micros: 1_000,
        prepared: Prepared::default(),
    }
}

struct Running {
    handle: Handle,
    outside: Outside,
    facts: mpsc::Sender<HostFact>,
}

fn run(seed: u8, role: Role, options: Options) -> Running {
    run_with(seed, role, options, false)
}

fn run_with(seed: u8, role: Role, options: Options, lines_follow: bool) -> Running {
    let secret = [seed; 32];
    let (facts, incoming) = mpsc::channel(64);
    let config = NodeConfig {
        me: node_id(secret).unwrap(),
        role,
        agent: "test".to_owned(),
        seed: [seed; 32],
        keep: Keep::default(),
        can_rest: true,
        rewrite: REWRITE_VERSION,
    };
    let host = TestHost { facts: facts.clone(), records: MemoryRecords::default() };
    let begin = Start { secret, config, restored: Vec::new(), lines_follow, read: Box::new(kinds::read) };
    let (handle, outside, node_loop) = start(begin, host, incoming, options).unwrap();
    tokio::spawn(node_loop);
    Running { handle, outside, facts }
}

fn seed_options() -> Options {
    Options { interfaces: vec![Ipv4Addr::LOCALHOST.into()], tcp_port: Some(0), ..Options::default() }
}

async fn address(of: &mut Running) -> String {
    of.outside.addresses.wait_for(|all| !all.is_empty()).await.unwrap()[0].clone()
}

async fn join(node: &mut Running, address: &str) {
    node.facts.send(HostFact::SeedKnown { addresses: vec![address.to_owned()] }).await.unwrap();
    while !node.handle.network().await.unwrap().online {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn lend(node: &Running) {
    let settings = ProviderSettings { lending: true, cores: 2, ..ProviderSettings::default() };
    node.handle.set_provider(settings).await;
}

/// Listens until the job has ended.
async fn ended(handle: &Handle, id: JobId) -> JobStatus {
    let mut events = Box::pin(handle.events(crate::handle::Hears::Everything));
    loop {
        let status = handle.job(id).await.unwrap().unwrap();
        if status.summary.state.is_final() {
            return status;
        }
        // Whatever it is, something changed; the status says what.
        let _: Option<Event> = tokio::time::timeout(Duration::from_secs(1), events.next()).await.unwrap_or(None);
    }
}

const SUM: &str = r#"{"kind":"range_reduce","start":1,"end":100000,"map":"x","reduce":"sum"}"#;

async fn submit(node: &Running) -> JobId {
    node.handle.submit(kinds::read(SUM, &|_| None).unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_computed_by_a_node_that_only_a_circuit_reaches() {
    let mut seed = run(1, Role::Seed, seed_options());
    let mut provider = run(2, Role::Client, Options::default());
    let mut requester = run(3, Role::Client, Options::default());
    let address = address(&mut seed).await;
    join(&mut provider, &address).await;
    lend(&provider).await;
    join(&mut requester, &address).await;
    let id = submit(&requester).await;
    let status = ended(&requester.handle, id).await;
    assert_eq!(status.summary.state, JobState::Completed, "{status:?}");
    assert_eq!(requester.handle.result(id).await.unwrap(), "5000050000");
    assert!(status.attempts.iter().all(|attempt| attempt.node == provider.handle.me()));
    let network = requester.handle.network().await.unwrap();
    let view = network.nodes.iter().find(|view| view.node == provider.handle.me()).unwrap();
    assert_eq!(view.path, Some(Path::Relayed { via: Some(seed.handle.me()) }));
    for node in [requester, provider, seed] {
        node.handle.stop().await;
        assert!(node.handle.network().await.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_on_when_its_seed_restarts() {
    let mut seed = run(1, Role::Seed, seed_options());
    let address = address(&mut seed).await;
    let mut provider = run(2, Role::Client, Options::default());
    let mut requester = run(3, Role::Client, Options::default());
    join(&mut provider, &address).await;
    join(&mut requester, &address).await;
    // Nobody lends yet: the job waits.
    let id = submit(&requester).await;
    seed.handle.stop().await;
    let port = address.split('/').nth(4).unwrap().parse().unwrap();
    let _seed = run(1, Role::Seed, Options { tcp_port: Some(port), ..seed_options() });
    lend(&provider).await;
    let status = ended(&requester.handle, id).await;
    assert_eq!(status.summary.state, JobState::Completed, "{status:?}");
}

/// How long it takes until somebody answers at a provider's only address: longer than circuits are not tried beside it.
const ANSWERS_AFTER: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_began_over_a_circuit_goes_on_over_a_direct_connection_and_loses_no_batch() {
    let mut seed = run(1, Role::Seed, seed_options());
    let address = address(&mut seed).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
    let mut provider = run(2, Role::Client, Options { external: vec![slow], ..Options::default() });
    let door = provider.outside.door.clone();
    tokio::spawn(async move {
        let (socket, remote) = listener.accept().await.unwrap();
        tokio::time::sleep(ANSWERS_AFTER).await;
        assert!(door.accept(socket.compat(), remote, Box::new(|| {})).await);
        // Nobody else is let in.
        std::future::pending::<()>().await;
    });
    let mut requester = run(3, Role::Client, Options::default());
    join(&mut provider, &address).await;
    lend(&provider).await;
    join(&mut requester, &address).await;
    let path = async |node: &Running, of: &Running| {
        let network = node.handle.network().await.unwrap();
        network.nodes.iter().find(|view| view.node == of.handle.me()).and_then(|view| view.path.clone())
    };
    let long = r#"{"kind":"range_reduce","start":1,"end":60000000,"map":"x","reduce":"sum"}"#;
    let id = requester.handle.submit(kinds::read(long, &|_| None).unwrap()).await.unwrap();
    let mut paths = vec![None];
    let status = loop {
        let status = requester.handle.job(id).await.unwrap().unwrap();
        let path = path(&requester, &provider).await;
        if paths.last() != Some(&path) {
            paths.push(path);
        }
        if status.summary.state.is_final() && paths.len() > 2 {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let via = Some(Path::Relayed { via: Some(seed.handle.me()) });
    assert_eq!(paths, [None, via, Some(Path::Direct)]);
    assert_eq!(path(&provider, &requester).await, Some(Path::Direct));
    assert_eq!(status.summary.state, JobState::Completed, "{status:?}");
    assert_eq!(requester.handle.result(id).await.unwrap(), "1800000030000000");
    let ends: Vec<AttemptState> = status.attempts.iter().map(|attempt| attempt.state).collect();
    assert!(!ends.contains(&AttemptState::Lost), "{ends:?}");
}

#[tokio::test]
async fn what_is_asked_of_jobs_that_may_be_over_is_answered_once_all_of_those_are_known() {
    let mut node = run_with(9, Role::Seed, seed_options(), true);
    let known = node.handle.submit(kinds::read(r#"{"kind":"map","data":[1],"map":"x"}"#, &|_| None).unwrap()).await;
    let known = known.unwrap();
    assert!(node.handle.find(known).await.unwrap().is_some(), "what goes on is answered at once");
    let asked = node.handle.clone();
    let unknown = tokio::spawn(async move { (asked.owner(JobId([7; 16])).await, asked.states().await) });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!unknown.is_finished());
    node.facts.send(HostFact::Loaded { lines: Vec::new(), is_all: true }).await.unwrap();
    let (owner, states) = unknown.await.unwrap();
    assert_eq!((owner, states.values().sum::<usize>()), (None, 1));
}
