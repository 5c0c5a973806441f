//! Parts of blobs keep nothing waiting that is said, where both sides give them a stream of their own.
#![expect(clippy::wildcard_enum_match_arm)]

use std::time::Duration;

use p2pnet_shared::{
    id::{AttemptId, Hash},
    node::Input,
    wire::{BLOB_CHUNK, Message},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::party::{Party, met};
use crate::Options;

/// Parts of 64 MiB.
const PARTS: u64 = (64 << 20) / BLOB_CHUNK as u64;
/// Parts that were asked for and are not yet there: those of eight blobs.
const AHEAD: u64 = 64;
/// What the link carries in [`STEP_TIME`].
const STEP: usize = 128 << 10;
const STEP_TIME: Duration = Duration::from_millis(2);

fn part(number: u64) -> Message {
    let bytes = vec![3; BLOB_CHUNK as usize];
    Message::Chunk { hash: Hash([1; 32]), offset: number * u64::from(BLOB_CHUNK), total: 64 << 20, bytes }
}

fn cancel() -> Message {
    Message::Cancel { attempts: vec![AttemptId(1)] }
}

/// Two nodes; what the second says to the first goes through a narrow link. `older`: the first is of an older build.
async fn joined_by_a_narrow_link(older: bool) -> (Party, Party) {
    let mut a = Party::new(1, false, Options::default());
    let mut b = Party::new(2, false, Options::default());
    if older {
        a.act(|links| links.be_older());
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let door = b.outside.door.clone();
    tokio::spawn(async move {
        let (socket, remote) = listener.accept().await.unwrap();
        let (theirs, ours) = tokio::io::duplex(16 << 10);
        assert!(door.accept(theirs.compat(), remote, Box::new(|| {})).await);
        let (mut from_a, mut to_a) = socket.into_split();
        let (mut from_b, mut to_b) = tokio::io::split(ours);
        let forth = tokio::io::copy(&mut from_a, &mut to_b);
        let back = async {
            let mut bytes = vec![0; 16 << 10];
            let mut carried = 0;
            loop {
                let len = from_b.read(&mut bytes).await.unwrap_or(0);
                if len == 0 || to_a.write_all(&bytes[..len]).await.is_err() {
                    return;
                }
                carried += len;
                if carried > STEP {
                    carried = 0;
                    tokio::time::sleep(STEP_TIME).await;
                }
            }
        };
        tokio::select! {
            _ = forth => {}
            () = back => {}
        }
    });
    a.dial(b.me, &[format!("/ip4/127.0.0.1/tcp/{port}")]);
    met(&mut a, &mut b).await;
    (a, b)
}

/// Sends 64 MiB, and a word in the middle: how many parts had been sent before it, and how many came before it.
async fn a_word_beside_blobs(a: &mut Party, b: &Party) -> (u64, u64) {
    let (mut sent, mut came) = (0, 0);
    let (mut before, mut found) = (None, None);
    while came < PARTS || found.is_none() {
        while sent < PARTS.min(came + AHEAD) {
            b.send(a.me, part(sent));
            sent += 1;
        }
        if came == PARTS / 4 && before.is_none() {
            b.send(a.me, cancel());
            before = Some(sent);
        }
        match a.input().await {
            Input::Received { message: Message::Chunk { offset, .. }, .. } => {
                assert_eq!(offset, came * u64::from(BLOB_CHUNK));
                came += 1;
            }
            Input::Received { message, .. } => {
                assert_eq!(message, cancel());
                found = Some(came);
            }
            Input::Disconnected { node } => panic!("{node} is gone"),
            _ => {}
        }
    }
    before.zip(found).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_said_after_a_large_blob_began_arrives_before_its_end() {
    let (mut a, b) = joined_by_a_narrow_link(false).await;
    let (before, came) = a_word_beside_blobs(&mut a, &b).await;
    assert!(came < before, "all {came} parts that were sent before it came before it");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_an_older_build_gets_parts_of_blobs_among_all_that_is_said() {
    let (mut a, b) = joined_by_a_narrow_link(true).await;
    let (before, came) = a_word_beside_blobs(&mut a, &b).await;
    assert!(came >= before, "only {came} of {before} parts came first");
}
