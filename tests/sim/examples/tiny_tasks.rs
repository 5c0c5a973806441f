//! What scheduling alone costs: a requester and a provider in one thread, messages as bytes between them, and an executor
//! that takes no time. Prints tiny tasks a second, without sockets and without kernels.
//!
//! `cargo run --release -p p2pnet-sim --example tiny_tasks`

#![expect(clippy::unwrap_used)]

use std::time::Instant;

use p2pnet_shared::{
    api::{Path, ProviderSettings},
    engine::{BatchReport, CallOutcome, EngineName, Prepared},
    id::NodeId,
    kernel::REWRITE_VERSION,
    node::{Effect, HostOrder, Input, Keep, NetworkOrder, Node, NodeConfig, Notice},
    units::{Gas, Moment},
    wire::{self, Role, Version},
};
use p2pnet_sim::plan;

const TASKS: u64 = 2_000_000;
/// What the executor claims that a task takes.
const MICROS: u64 = 5;

fn node(name: u8) -> Node {
    let me = NodeId([name; 32]);
    Node::new(NodeConfig {
        me,
        role: Role::Public,
        agent: "bench".to_owned(),
        seed: [name; 32],
        keep: Keep::default(),
        can_rest: true,
        rewrite: REWRITE_VERSION,
    })
}

fn main() {
    let ids = [NodeId([0; 32]), NodeId([1; 32])];
    let mut nodes = [node(0), node(1)];
    let mut now = Moment(1_790_000_000_000);
    for (node, peer) in nodes.iter_mut().zip([ids[1], ids[0]]) {
        node.handle(now, Input::Connected { node: peer, path: Path::Direct, transport: "memory" });
    }
    let lends = ProviderSettings { lending: true, ..ProviderSettings::default() };
    nodes[1].handle(now, Input::Settings(lends));
    let job = nodes[0].next_job_id();
    nodes[0].handle(now, Input::Submitted { id: job, job: Box::new(plan::squares(TASKS, 0)) });

    let (mut messages, mut batches) = (0u64, 0u64);
    let begin = Instant::now();
    while !nodes[0].summary(job).unwrap().state.is_final() {
        let mut quiet = true;
        for me in [0, 1] {
            while let Some(effect) = nodes[me].poll_effect() {
                quiet = false;
                match effect {
                    Effect::Network(NetworkOrder::Send { message, .. }) => {
                        messages += 1;
                        let message =
                            wire::decode(Version::NEWEST, &wire::encode(Version::NEWEST, &message).unwrap()).unwrap();
                        nodes[1 - me].handle(now, Input::Received { from: ids[me], message });
                    }
                    Effect::Host(HostOrder::Execute { run, batch, .. }) => {
                        batches += 1;
                        let busy_micros = batch.calls.len() as u64 * MICROS;
                        now = Moment(now.0 + busy_micros / 1000);
                        let outcomes = batch
                            .calls
                            .into_iter()
                            .map(|call| CallOutcome { output: Ok(call), gas: Gas(10) })
                            .collect();
                        let report = BatchReport {
                            engine: EngineName::Wasmi,
                            outcomes,
                            busy_micros,
                            prepared: Prepared::default(),
                        };
                        nodes[me].handle(now, Input::Executed { run, report });
                    }
                    Effect::Host(HostOrder::Merge { job, merge }) => {
                        nodes[me].handle(now, Input::Merged { job, merged: merge.run() });
                    }
                    Effect::Host(HostOrder::Keep { token, .. }) => nodes[me].handle(now, Input::Kept { token }),
                    Effect::Network(NetworkOrder::Dial { .. })
                    | Effect::Network(NetworkOrder::Hang { .. })
                    | Effect::Host(HostOrder::Abort { .. })
                    | Effect::Host(HostOrder::Rest { .. })
                    | Effect::Host(HostOrder::Change(_))
                    | Effect::Tell(Notice::JobChanged(_))
                    | Effect::Tell(Notice::JobRemoved { id: _, owner: _ })
                    | Effect::Host(HostOrder::Cores(_))
                    | Effect::Tell(Notice::NetworkChanged) => {}
                }
            }
        }
        if quiet {
            now = nodes.iter().filter_map(Node::next_deadline).min().unwrap().max(now);
            nodes.iter_mut().for_each(|node| node.handle(now, Input::Tick));
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    let done = nodes[0].summary(job).unwrap().progress.units_done;
    assert_eq!(done, TASKS);
    println!("{TASKS} tasks in {batches} batches and {messages} messages: {:.0} tasks/s", TASKS as f64 / seconds);
}
