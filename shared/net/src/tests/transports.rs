//! Two nodes over each transport, with frames up to the longest.

use p2pnet_shared::{
    api::Path,
    id::Hash,
    node::Input,
    wire::{MOST_FRAME, Message},
};
use tokio::net::TcpListener;
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::party::{Party, everything, met, met_over_webrtc};
use crate::Options;

/// Bytes of a chunk message beside the chunk, rounded up.
const ENVELOPE: usize = 64;

fn chunk(len: usize) -> Message {
    let bytes = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
    Message::Chunk { hash: Hash([7; 32]), offset: 0, total: len as u64, bytes }
}

/// Both directions, all sizes, several of the longest at once; then many small ones.
async fn exchange(a: &mut Party, b: &mut Party) {
    for len in [0, 1, 8 << 10, 16 << 10, 100_000, MOST_FRAME - ENVELOPE] {
        for _ in 0..3 {
            a.send(b.me, chunk(len));
            b.send(a.me, chunk(len));
        }
        for _ in 0..3 {
            let (at_a, at_b) = tokio::join!(a.received(), b.received());
            assert_eq!(at_a, chunk(len));
            assert_eq!(at_b, chunk(len));
        }
    }
    for n in 0..=255 {
        a.send(b.me, Message::Unknown { hash: Hash([n; 32]) });
    }
    for n in 0..=255 {
        assert_eq!(b.received().await, Message::Unknown { hash: Hash([n; 32]) });
    }
}

async fn meet(address_part: &str, transport: &str) {
    let mut a = Party::new(1, false, Options::default());
    let mut b = Party::new(2, false, everything());
    let address = b.address(address_part).await;
    a.dial(b.me, &[address]);
    let (from_a, from_b) = met(&mut a, &mut b).await;
    assert_eq!(from_a, (Path::Direct, transport));
    assert_eq!(from_b, (Path::Direct, transport));
    exchange(&mut a, &mut b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_every_size_cross_tcp() {
    meet("/tcp/", "tcp").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_every_size_cross_quic() {
    meet("/quic-v1/", "quic").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_every_size_cross_webrtc_direct() {
    let mut b = Party::new(2, false, everything());
    let (mut a, from_a, from_b) = met_over_webrtc(1, &mut b).await;
    assert_eq!(from_a, (Path::Direct, "webrtc-direct"));
    assert_eq!(from_b, (Path::Direct, "webrtc-direct"));
    exchange(&mut a, &mut b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_node_does_not_dial_webrtc_direct() {
    let mut a = Party::new(1, false, everything());
    let mut b = Party::new(2, false, everything());
    let address = b.address("/webrtc-direct/").await;
    a.dial(b.me, &[address]);
    assert!(matches!(
        a.until(|input| matches!(input, Input::DialFailed { .. } | Input::Connected { .. }).then_some(input)).await,
        Input::DialFailed { node } if node == b.me
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_every_size_cross_a_socket_handed_in_at_the_door() {
    let mut a = Party::new(1, false, Options::default());
    let mut b = Party::new(2, false, Options::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let door = b.outside.door.clone();
    tokio::spawn(async move {
        let (socket, remote) = listener.accept().await.unwrap();
        assert!(door.accept(socket.compat(), remote, Box::new(|| {})).await);
    });
    a.dial(b.me, &[format!("/ip4/127.0.0.1/tcp/{port}")]);
    let (from_a, from_b) = met(&mut a, &mut b).await;
    assert_eq!(from_a, (Path::Direct, "tcp"));
    assert_eq!(from_b, (Path::Direct, "websocket"));
    exchange(&mut a, &mut b).await;
}
