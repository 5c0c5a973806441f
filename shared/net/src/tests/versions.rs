//! Nodes of different versions: they talk in the newest one that both know, and find out when there is none.
#![expect(clippy::wildcard_enum_match_arm)]

use p2pnet_shared::{
    node::Input,
    wire::{Extension, Extensions, Message, Role, Version},
};

use super::party::{Party, everything, met};
use crate::{Options, dialects::Dialects};

fn speaking(dialects: Dialects) -> Options {
    Options { dialects, ..everything() }
}

fn hello(extensions: Extensions) -> Message {
    Message::Hello { role: Role::Client, agent: "test".to_owned(), session: 1, extensions }
}

fn extended() -> Extensions {
    Extensions::new(vec![Extension { key: 9, value: b"later".to_vec() }]).unwrap()
}

/// The two meet, and each says what version 1 has no words for: what the other hears of it.
async fn heard(a: &mut Party, b: &mut Party) -> (Message, Message) {
    let address = b.address("/tcp/").await;
    a.dial(b.me, &[address]);
    met(a, b).await;
    a.send(b.me, hello(extended()));
    b.send(a.me, hello(extended()));
    let by_b = b.received().await;
    (a.received().await, by_b)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_this_build_speak_the_newest_version() {
    let mut a = Party::new(1, false, everything());
    let mut b = Party::new(2, false, everything());
    assert_eq!(heard(&mut a, &mut b).await, (hello(extended()), hello(extended())));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_node_of_the_first_version_both_speak_that_whoever_dials() {
    let of_the_first = || speaking(Dialects::of([Version::V1]));
    let understood = (hello(Extensions::default()), hello(Extensions::default()));
    let (mut a, mut b) = (Party::new(1, false, everything()), Party::new(2, false, of_the_first()));
    assert_eq!(heard(&mut a, &mut b).await, understood);
    let (mut a, mut b) = (Party::new(3, false, of_the_first()), Party::new(4, false, everything()));
    assert_eq!(heard(&mut a, &mut b).await, understood);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_have_no_version_in_common_are_told_what_the_other_speaks() {
    let later = Dialects::renamed("/p2pnet/node/31", Version::NEWEST);
    let (mut a, mut b) = (Party::new(1, false, everything()), Party::new(2, false, speaking(later)));
    let address = b.address("/tcp/").await;
    a.dial(b.me, &[address]);
    let other = |input| match input {
        Input::OtherVersion { node, newest } => Some((node, newest)),
        Input::Connected { .. } => panic!("they cannot talk"),
        _ => None,
    };
    assert_eq!(a.until(other).await, (b.me, Some(31)));
    assert_eq!(b.until(other).await, (a.me, Some(Version::NEWEST.number())));
}
