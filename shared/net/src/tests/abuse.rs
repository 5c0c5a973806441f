//! What strangers may try.

use libp2p::{
    core::{
        Endpoint, Transport,
        transport::{DialOpts, PortUse},
    },
    identity::Keypair,
    quic,
};
use p2pnet_shared::{
    id::Hash,
    node::Input,
    wire::{self, Message},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, UdpSocket},
};
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::party::{Party, STOPPED, everything, met, met_over_webrtc};
use crate::{Options, limits};

/// Bytes of a large message.
const LARGE: usize = 1 << 19;

/// A frame of a kind that is known, and is none.
fn garbled() -> Vec<u8> {
    [vec![1], garbage(100)].concat()
}

/// Bytes that follow no protocol, the same in every run.
fn garbage(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u8::try_from(state & 0xff).unwrap()
    };
    (0..len).map(step).collect()
}

fn port(address: &str) -> u16 {
    address.split('/').nth(4).unwrap().parse().unwrap()
}

/// Two nodes connected over TCP; the first dialled.
async fn pair() -> (Party, Party) {
    let mut a = Party::new(1, false, Options::default());
    let mut b = Party::new(2, false, everything());
    let address = b.address("/tcp/").await;
    a.dial(b.me, &[address]);
    met(&mut a, &mut b).await;
    (a, b)
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_every_listener_leaves_the_node_working() {
    let mut b = Party::new(2, false, everything());
    let tcp = b.address("/tcp/").await;
    let quic = b.address("/quic-v1/").await;
    let webrtc = b.address("/webrtc-direct/").await;
    for len in [1, 64, 1_200, 60_000] {
        let mut socket = TcpStream::connect(("127.0.0.1", port(&tcp))).await.unwrap();
        // The node may hang up in the middle of it.
        let _ = socket.write_all(&garbage(len)).await;
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for to in [port(&quic), port(&webrtc)] {
            udp.send_to(&garbage(len), ("127.0.0.1", to)).await.unwrap();
        }
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        assert!(b.outside.door.accept(ours.compat(), "127.0.0.1:9".parse().unwrap(), Box::new(|| {})).await);
        let _ = theirs.write_all(&garbage(len)).await;
    }
    for address in [Some(tcp), Some(quic), None] {
        let mut a = match address {
            Some(address) => {
                let mut a = Party::new(1, false, Options::default());
                a.dial(b.me, &[address]);
                met(&mut a, &mut b).await;
                a
            }
            None => met_over_webrtc(1, &mut b).await.0,
        };
        let b_me = b.me;
        a.act(move |links| links.hang(b_me, false));
        tokio::join!(a.gone(), b.gone());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_never_reads_is_hung_up_on_before_it_costs_much() {
    // Time, after which it would be hung up on anyway, stands still.
    let mut a = Party::in_stopped_time(1, Options::default());
    let mut b = Party::new(2, false, everything());
    let address = b.address("/tcp/").await;
    a.dial(b.me, &[address]);
    met(&mut a, &mut b).await;
    let _frozen = b.freeze();
    let to = b.me;
    let mut most = 0;
    // More than waits here, and there until its loop takes it.
    for _ in 0..8 * limits::OUTGOING_BYTES / LARGE {
        let queued = a.ask(move |links| {
            let large = Message::Chunk { hash: Hash([0; 32]), offset: 0, total: 0, bytes: vec![5; LARGE] };
            links.send(STOPPED, to, &large);
            links.queued(to)
        });
        most = most.max(queued.await);
    }
    assert!(most > limits::OUTGOING_BYTES, "only {most} bytes ever waited");
    assert!(most <= limits::OUTGOING_BYTES + wire::MOST_FRAME, "{most} bytes waited");
    assert_eq!(a.gone().await, to);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_no_message_is_reported_and_the_link_goes_on() {
    let (a, mut b) = pair().await;
    let (a_me, b_me) = (a.me, b.me);
    a.act(move |links| links.send_raw(b_me, garbled()));
    a.send(b_me, Message::Withdraw);
    b.until(|input| matches!(input, Input::Garbled { from } if from == a_me).then_some(())).await;
    assert_eq!(b.received().await, Message::Withdraw);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_sends_only_garbage_is_hung_up_on() {
    let (mut a, mut b) = pair().await;
    let b_me = b.me;
    for _ in 0..=limits::GARBLED_FRAMES {
        a.act(move |links| links.send_raw(b_me, garbled()));
    }
    tokio::join!(a.gone(), b.gone());
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_half_open_connections_keep_nobody_out() {
    let mut b = Party::new(2, false, everything());
    let tcp = b.address("/tcp/").await;
    let mut held = Vec::new();
    for number in 0..600 {
        let mut socket = TcpStream::connect(("127.0.0.1", port(&tcp))).await.unwrap();
        // Some begin to speak and say no more. The node may have hung up already.
        if number % 3 == 0 {
            let _ = socket.write_all(b"\x13/multistream/1.0.0\n").await;
        }
        held.push(socket);
    }
    for seed in 3..6 {
        let mut a = Party::new(seed, false, Options::default());
        a.dial(b.me, std::slice::from_ref(&tcp));
        met(&mut a, &mut b).await;
    }
    assert_eq!(held.len(), 600);
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_silent_websockets_keep_nobody_out() {
    let mut b = Party::new(2, false, everything());
    let tcp = b.address("/tcp/").await;
    let mut held = Vec::new();
    for _ in 0..600 {
        let (ours, theirs) = tokio::io::duplex(1 << 10);
        assert!(b.outside.door.accept(ours.compat(), "127.0.0.1:9".parse().unwrap(), Box::new(|| {})).await);
        held.push(theirs);
    }
    let mut a = Party::new(1, false, Options::default());
    a.dial(b.me, &[tcp]);
    met(&mut a, &mut b).await;
    assert_eq!(held.len(), 600);
}

/// The first packets of so many QUIC handshakes that go no further.
async fn first_packets(count: usize) -> Vec<Vec<u8>> {
    let nowhere = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = format!("/ip4/127.0.0.1/udp/{}/quic-v1", nowhere.local_addr().unwrap().port());
    let mut dialler = quic::tokio::Transport::new(quic::Config::new(&Keypair::generate_ed25519()));
    let mut packets = Vec::new();
    let mut packet = vec![0; 2_048];
    while packets.len() < count {
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dial = tokio::spawn(dialler.dial(address.parse().unwrap(), options).unwrap());
        let len = nowhere.recv(&mut packet).await.unwrap();
        packets.push(packet[..len].to_vec());
        dial.abort();
    }
    packets
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_quic_handshakes_that_end_after_a_packet_keep_nobody_out() {
    let mut b = Party::new(2, false, everything());
    let quic = b.address("/quic-v1/").await;
    let mut senders = Vec::new();
    for packet in first_packets(600).await {
        let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        sender.send_to(&packet, ("127.0.0.1", port(&quic))).await.unwrap();
        senders.push(sender);
    }
    for seed in 3..6 {
        let mut a = Party::new(seed, false, Options { quic_port: Some(0), ..Options::default() });
        a.dial(b.me, std::slice::from_ref(&quic));
        met(&mut a, &mut b).await;
    }
    assert_eq!(senders.len(), 600);
}

/// The first packet of a webrtc-direct handshake, as anybody can make it up: a STUN binding request with a new name.
fn stun(name: usize) -> Vec<u8> {
    let name = format!("libp2p+webrtc+v1/{name:032x}");
    let user = format!("{name}:{name}");
    let padded = user.len().next_multiple_of(4);
    let mut packet = vec![0, 1];
    packet.extend(u16::try_from(padded + 4).unwrap().to_be_bytes());
    packet.extend([0x21, 0x12, 0xa4, 0x42]);
    packet.extend([7; 12]);
    packet.extend([0, 6]);
    packet.extend(u16::try_from(user.len()).unwrap().to_be_bytes());
    packet.extend(user.bytes());
    packet.resize(packet.len() + padded - user.len(), 0);
    packet
}

/// How many sockets of multicast DNS this process has open. A webrtc connection opens one, and nothing else here does.
#[cfg(target_os = "linux")]
fn sockets_of_webrtc() -> usize {
    let table = std::fs::read_to_string("/proc/self/net/udp").unwrap();
    let of_multicast = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let of_multicast = of_multicast.filter(|fields| fields.get(1).is_some_and(|local| local.ends_with(":14E9")));
    let inodes: Vec<String> =
        of_multicast.filter_map(|fields| fields.get(9).map(|inode| format!("socket:[{inode}]"))).collect();
    let files = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let targets = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    targets.filter(|target| inodes.iter().any(|inode| target.as_os_str() == inode.as_str())).count()
}

/// How many threads this process has for webrtc connections.
#[cfg(target_os = "linux")]
fn threads_of_webrtc() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
    names.filter(|name| name.trim_end() == "webrtc").count()
}

/// How many files and sockets this process has open.
#[cfg(target_os = "linux")]
fn files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_first_packets_of_webrtc_leave_nothing_open_and_keep_nobody_out() {
    let mut b = Party::new(2, false, everything());
    let tcp = b.address("/tcp/").await;
    let webrtc = b.address("/webrtc-direct/").await;
    let files_before = files();
    let (mut most, mut most_threads) = (0, 0);
    let mut senders = Vec::new();
    for name in 0..2_000 {
        let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        sender.send_to(&stun(name), ("127.0.0.1", port(&webrtc))).await.unwrap();
        if name % 100 == 0 {
            // As fast as the listener reads: what its socket drops would be no test.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            most = most.max(sockets_of_webrtc());
            most_threads = most_threads.max(threads_of_webrtc());
        }
        senders.push(sender);
        if senders.len() == 300 {
            senders.clear();
        }
    }
    for seed in 3..6 {
        let mut a = Party::new(seed, false, Options::default());
        a.dial(b.me, std::slice::from_ref(&tcp));
        met(&mut a, &mut b).await;
    }
    drop(senders);
    // Others' tests have some as well.
    let bound = limits::WEBRTC_HANDSHAKES_PER_ADDRESS + 100;
    assert!((1..bound).contains(&most), "{most} sockets are open");
    assert!((1..bound * limits::WEBRTC_THREADS).contains(&most_threads), "{most_threads} threads are there");
    // The last handshakes end when their time is over.
    tokio::time::timeout(std::time::Duration::from_secs(60), async {
        while sockets_of_webrtc() > 16 || threads_of_webrtc() > 32 || files() > files_before + 200 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await
    .unwrap_or_else(|_| {
        let (sockets, threads, files) = (sockets_of_webrtc(), threads_of_webrtc(), files());
        panic!(
            "{sockets} sockets, {threads} threads and {files} files stay, of these {files_before} were there before"
        );
    });
    assert_eq!(met_over_webrtc(9, &mut b).await.1.1, "webrtc-direct");
}
