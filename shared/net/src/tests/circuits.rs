//! Nodes that cannot be dialled meet through a seed.
#![expect(clippy::wildcard_enum_match_arm)]

use p2pnet_shared::{api::Path, id::Hash, node::Input, wire::Message};

use super::party::{Party, everything, met, now};
use crate::Options;

/// Makes `seed` known to a party and plays its node, which dials at once.
pub(super) async fn join(party: &mut Party, seed: &mut Party, address: &str) {
    let known = vec![address.to_owned()];
    party.act(move |links| links.seed_known(now(), &known));
    let (node, addresses) = party
        .until(|input| match input {
            Input::SeedKnown { node, addresses } => Some((node, addresses)),
            _ => None,
        })
        .await;
    party.dial(node, &addresses);
    met(party, seed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_that_listen_nowhere_meet_through_a_seed() {
    let mut seed = Party::new(1, true, everything());
    let mut a = Party::new(2, false, Options::default());
    let mut b = Party::new(3, false, Options::default());
    let address = seed.address("/tcp/").await;
    join(&mut a, &mut seed, &address).await;
    join(&mut b, &mut seed, &address).await;
    let via = Some(seed.me);
    b.dial(a.me, &[]);
    let (from_a, from_b) = met(&mut a, &mut b).await;
    assert_eq!(from_a, (Path::Relayed { via }, "circuit"));
    assert_eq!(from_b, (Path::Relayed { via }, "circuit"));
    // Far more than the 128 KiB at which stock limits cut a circuit.
    let large = |n| Message::Chunk { hash: Hash([n; 32]), offset: 0, total: 0, bytes: vec![n; 1_000_000] };
    for n in 0..4 {
        a.send(b.me, large(n));
        b.send(a.me, large(n + 100));
    }
    for n in 0..4 {
        assert_eq!(b.received().await, large(n));
        assert_eq!(a.received().await, large(n + 100));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dial_with_no_address_and_no_seed_fails_at_once() {
    let mut a = Party::new(2, false, Options::default());
    let nobody = crate::node_id([9; 32]).unwrap();
    a.dial(nobody, &[]);
    assert!(matches!(a.input().await, Input::DialFailed { node } if node == nobody));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dial_whose_addresses_are_dead_goes_through_the_seed() {
    let mut seed = Party::new(1, true, everything());
    let mut a = Party::new(2, false, Options::default());
    let mut b = Party::new(3, false, Options::default());
    let address = seed.address("/tcp/").await;
    join(&mut a, &mut seed, &address).await;
    join(&mut b, &mut seed, &address).await;
    a.dial(b.me, &["/ip4/127.0.0.1/tcp/1".to_owned()]);
    let ((path, _), _) = met(&mut a, &mut b).await;
    assert_eq!(path, Path::Relayed { via: Some(seed.me) });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_that_restarts_with_its_identity_is_reached_again_and_relays_again() {
    let mut options = everything();
    let mut seed = Party::new(1, true, options.clone());
    let address = seed.address("/tcp/").await;
    options.tcp_port = Some(address.split('/').nth(4).unwrap().parse().unwrap());
    let mut a = Party::new(2, false, Options::default());
    join(&mut a, &mut seed, &address).await;
    seed.kill().await;
    a.gone().await;

    let mut seed = Party::new(1, true, options);
    seed.address("/tcp/").await;
    let mut b = Party::new(3, false, Options::default());
    join(&mut b, &mut seed, &address).await;
    a.dial(seed.me, std::slice::from_ref(&address));
    met(&mut a, &mut seed).await;
    b.dial(a.me, &[]);
    met(&mut a, &mut b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_replaces_its_old_connection_that_still_seems_alive() {
    let mut b = Party::new(2, false, everything());
    let address = b.address("/tcp/").await;
    let mut before = Party::new(1, false, Options::default());
    before.dial(b.me, std::slice::from_ref(&address));
    met(&mut before, &mut b).await;
    // The old one hangs with its sockets open, as a frozen tab does.
    let _frozen = before.freeze();
    let mut after = Party::new(1, false, Options::default());
    after.dial(b.me, &[address]);
    let after_me = after.me;
    let again = async {
        assert_eq!(b.gone().await, after_me);
        b.connected(after_me).await;
    };
    let b_me = crate::node_id([2; 32]).unwrap();
    tokio::join!(after.connected(b_me), again);
    b.send(after_me, Message::Withdraw);
    assert_eq!(after.received().await, Message::Withdraw);
}
