//! Tests: a node that ends, in order or not, is not counted on.

use crate::{
    api::{Path, ProviderSettings},
    id::{JobId, NodeId},
    job::{WaitReason, kinds},
    node::{Effect, Found, Input, Keep, NetworkOrder, Node, NodeConfig},
    units::Moment,
    wire::{Message, RefuseReason, Role},
};

const NOW: Moment = Moment(1_000_000);
const JOB: JobId = JobId([9; 16]);

fn node(name: u8, role: Role) -> Node {
    let me = NodeId([name; 32]);
    Node::new(NodeConfig {
        me,
        role,
        agent: "test".to_owned(),
        seed: [name; 32],
        keep: Keep::default(),
        can_rest: true,
        rewrite: crate::kernel::REWRITE_VERSION,
    })
}

fn id(node: &Node) -> NodeId {
    node.network().me
}

/// Carries messages between two connected nodes, in no time, until neither says any more; gives what `a` said last.
fn talk(a: &mut Node, b: &mut Node) -> Vec<Message> {
    let (a_me, b_me) = (id(a), id(b));
    let mut said = Vec::new();
    loop {
        let (mut to_a, mut to_b) = (Vec::new(), Vec::new());
        while let Some(effect) = a.poll_effect() {
            if let Effect::Network(NetworkOrder::Send { to, message }) = effect {
                assert_eq!(to, b_me);
                to_b.push(message);
            }
        }
        while let Some(effect) = b.poll_effect() {
            if let Effect::Network(NetworkOrder::Send { to, message }) = effect {
                assert_eq!(to, a_me);
                to_a.push(message);
            }
        }
        if to_a.is_empty() && to_b.is_empty() {
            return said;
        }
        for message in to_b {
            said.push(message.clone());
            b.handle(NOW, Input::Received { from: a_me, message });
        }
        for message in to_a {
            a.handle(NOW, Input::Received { from: b_me, message });
        }
    }
}

/// A provider, and a seed that leads a job with these requirements and knows the provider.
fn met(requirements: &str) -> (Node, Node) {
    let (mut provider, mut seed) = (node(1, Role::Client), node(2, Role::Seed));
    let settings = ProviderSettings { lending: true, cores: 1, memory_mib: 256, ..ProviderSettings::default() };
    provider.handle(NOW, Input::Settings(settings));
    let source = format!(r#"{{"kind":"map","data":[1],"map":"x","requirements":{requirements}}}"#);
    let job = Box::new(kinds::read(&source, &|_| None).unwrap());
    seed.handle(NOW, Input::Submitted { id: JOB, job });
    let connected = |node| Input::Connected { node, path: Path::Direct, transport: "tcp" };
    provider.handle(NOW, connected(id(&seed)));
    seed.handle(NOW, connected(id(&provider)));
    talk(&mut provider, &mut seed);
    (provider, seed)
}

fn reason(seed: &Node) -> Option<WaitReason> {
    match seed.job(JOB).unwrap() {
        Found::Here(status) => status.summary.waiting,
        Found::Kept(_) => panic!("it is over"),
    }
}

#[test]
fn one_that_ends_in_order_is_not_counted_on_from_that_moment() {
    let (mut provider, mut seed) = met(r#"{"ram_gb":2}"#);
    assert_eq!((reason(&seed), seed.network().nodes_total), (Some(WaitReason::NoneMeetsRequirements), 1));
    provider.handle(NOW, Input::Leaving);
    let said = talk(&mut provider, &mut seed);
    assert!(matches!(said[..], [Message::Withdraw]), "{said:?}");
    assert_eq!(reason(&seed), Some(WaitReason::NoProviders));
    seed.handle(NOW, Input::Disconnected { node: id(&provider) });
    assert_eq!(seed.network().nodes_total, 0);
}

#[test]
fn one_that_ends_in_order_gives_back_what_it_was_given() {
    let (mut provider, mut seed) = met(r#"{"ram_gb":0.25}"#);
    assert_eq!(reason(&seed), Some(WaitReason::TasksRunning { batches: 1 }));
    provider.handle(NOW, Input::Leaving);
    let said = talk(&mut provider, &mut seed);
    let gave_back = |message: &Message| matches!(message, Message::Refuse { reason: RefuseReason::NotLending, .. });
    assert!(said.iter().any(gave_back), "{said:?}");
    assert_eq!(reason(&seed), Some(WaitReason::NoProviders));
}

#[test]
fn one_whose_connection_breaks_off_is_not_counted_on_by_its_seed() {
    let (provider, mut seed) = met(r#"{"ram_gb":2}"#);
    seed.handle(NOW, Input::Disconnected { node: id(&provider) });
    assert_eq!((reason(&seed), seed.network().nodes_total), (Some(WaitReason::NoProviders), 0));
}
