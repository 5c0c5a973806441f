//! One end told what happens, step by step; then two ends that tell each other, in every order that chance comes up with.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod two_ends;

use p2pnet_shared::{
    api::Path,
    units::Millis,
    wire::{Extensions, Role},
};

use super::*;

const NODE: NodeId = NodeId([1; 32]);
const OTHER: NodeId = NodeId([2; 32]);
const VIA: Path = Path::Relayed { via: Some(OTHER) };
const START: Moment = Moment(1_000);

fn id(number: usize) -> ConnectionId {
    ConnectionId::new_unchecked(number)
}

fn direct(inbound: bool) -> Made {
    Made { node: NODE, path: Path::Direct, transport: "tcp", inbound }
}

fn relayed(inbound: bool) -> Made {
    Made { node: NODE, path: VIA, transport: "circuit", inbound }
}

fn hello(session: u64) -> Message {
    Message::Hello { role: Role::Client, agent: "test".to_owned(), session, extensions: Extensions::default() }
}

/// The first beginning of the other, and of ours.
const THEIRS: u64 = 70;
const OURS: u64 = START.0;

fn first() -> Beginning {
    Beginning { mine: THEIRS, yours: 0, lost: false }
}

fn says(number: usize, mine: u64, yours: u64, lost: bool) -> Order {
    Order::SayBegins(id(number), Beginning { mine, yours, lost })
}

fn told_direct() -> Order {
    Order::Connected { node: NODE, path: Path::Direct, transport: "tcp" }
}

fn told_relayed() -> Order {
    Order::Connected { node: NODE, path: VIA, transport: "circuit" }
}

fn moved() -> Order {
    Order::Moved { node: NODE, path: Path::Direct, transport: "tcp" }
}

fn gone() -> Order {
    Order::Disconnected { node: NODE }
}

fn heard(message: Message) -> Order {
    Order::Received { from: NODE, message }
}

impl Paths {
    fn orders(&mut self) -> Vec<Order> {
        std::iter::from_fn(|| self.poll_order()).collect()
    }

    /// A connection on which we can speak, as its order of events is. The other side knows marks.
    fn ready(&mut self, number: usize, made: Made) {
        let node = made.node;
        self.connected(id(number), made);
        self.opened(id(number), true);
        self.announce(START, node);
    }

    /// The other side begins to speak, with a Hello.
    fn greeted(&mut self, number: usize) {
        self.began(START, id(number), First::Begins);
        self.begins(START, id(number), first());
        self.received(START, id(number), hello(1));
    }

    fn lost(&mut self, number: usize) {
        self.closed(START, id(number));
        self.announce(START, NODE);
    }

    /// Two that have said Hello over a circuit, and a direct connection on which we can speak.
    fn moving() -> Self {
        let mut paths = Self::default();
        paths.ready(1, relayed(true));
        paths.said(id(1));
        paths.greeted(1);
        paths.orders();
        paths.ready(2, direct(false));
        assert_eq!(paths.orders(), [Order::SayGoesOn(id(2), OURS), Order::End { id: id(1), blobs: false }, moved()]);
        assert_eq!(paths.active(NODE), Some(id(2)));
        paths
    }
}

#[test]
fn the_node_hears_of_a_connection_once_it_can_speak_and_listens_from_then_on() {
    let mut paths = Paths::default();
    paths.connected(id(1), direct(true));
    assert!(!paths.accepted(id(1)), "the node does not know yet who speaks");
    paths.announce(START, NODE);
    assert_eq!(paths.orders(), []);
    paths.opened(id(1), true);
    paths.announce(START, NODE);
    paths.announce(START, NODE);
    assert_eq!(paths.orders(), [says(1, OURS, 0, false), told_direct(), Order::Listen(id(1))]);
    assert!(paths.accepted(id(1)));
    assert_eq!((paths.active(NODE), paths.active(OTHER)), (Some(id(1)), None));
    paths.greeted(1);
    assert_eq!(paths.orders(), [Order::Read(id(1)), heard(hello(1))]);
}

#[test]
fn of_connections_that_wait_the_direct_one_is_spoken_on_and_then_the_oldest() {
    let mut paths = Paths::default();
    for (number, made) in [(1, relayed(false)), (2, direct(false)), (3, direct(true))] {
        paths.connected(id(number), made);
        paths.opened(id(number), true);
    }
    paths.announce(START, NODE);
    assert_eq!(paths.active(NODE), Some(id(2)));
    paths.lost(2);
    assert_eq!(paths.active(NODE), Some(id(3)));
}

#[test]
fn a_break_where_messages_may_be_lost_is_told_also_where_another_connection_remains() {
    let mut paths = Paths::default();
    paths.ready(1, direct(false));
    paths.ready(2, relayed(true));
    paths.greeted(2);
    paths.orders();
    paths.lost(1);
    assert_eq!(paths.orders(), [gone(), says(2, OURS + 1, THEIRS, true), told_relayed(), Order::Listen(id(2))]);
    paths.lost(2);
    assert_eq!(paths.orders(), [gone()]);
    assert!(paths.between.is_empty() && paths.known.is_empty());
}

#[test]
fn the_end_of_a_connection_on_which_nothing_was_said_is_nobodys_concern() {
    let mut paths = Paths::default();
    paths.ready(1, direct(false));
    paths.ready(2, relayed(true));
    paths.orders();
    assert!(paths.is_spare(id(2)) && !paths.is_spare(id(1)));
    paths.lost(2);
    paths.received(START, id(2), hello(1));
    assert_eq!(paths.orders(), [], "nor what it still delivers");
    paths.ready(3, relayed(true));
    paths.greeted(3);
    assert!(!paths.is_spare(id(3)));
    paths.orders();
    paths.lost(3);
    assert_eq!(paths.orders()[0], gone());
}

#[test]
fn who_dials_again_in_the_same_way_has_lost_its_connection() {
    for (old, new, closes) in [
        (direct(true), direct(true), true),
        (relayed(true), relayed(true), true),
        (direct(true), relayed(true), false),
        (direct(false), direct(true), false),
        (direct(true), direct(false), false),
    ] {
        let mut paths = Paths::default();
        paths.ready(1, old.clone());
        paths.orders();
        paths.ready(2, new.clone());
        let expected = if closes { vec![Order::Close(id(1))] } else { vec![] };
        assert_eq!(paths.orders(), expected, "{old:?}, then {new:?}");
    }
}

#[test]
fn who_greets_on_another_connection_has_lost_the_first_before_we_saw_it() {
    let mut paths = Paths::default();
    paths.ready(1, direct(true));
    paths.greeted(1);
    paths.ready(2, direct(false));
    paths.orders();
    paths.began(START, id(2), First::Begins);
    assert_eq!(paths.orders(), [Order::Read(id(2))]);
    paths.begins(START, id(2), Beginning { mine: THEIRS + 1, yours: OURS, lost: true });
    assert_eq!(paths.orders(), [Order::Close(id(1)), gone()]);
    paths.received(START, id(1), Message::Withdraw);
    paths.announce(START, NODE);
    paths.received(START, id(2), hello(2));
    let [first, second] = [1, 2].map(|number| Order::Listen(id(number)));
    assert_eq!(paths.orders(), [says(2, OURS + 1, THEIRS + 1, false), told_direct(), first, second, heard(hello(2))]);
    paths.lost(1);
    assert_eq!(paths.orders(), [], "that was told already");
}

#[test]
fn a_better_path_is_read_after_the_end_of_the_worse_which_is_then_closed() {
    let mut paths = Paths::moving();
    paths.began(START, id(2), First::GoesOn(THEIRS));
    paths.received(START, id(1), Message::Withdraw);
    assert_eq!(paths.orders(), [heard(Message::Withdraw)], "the new one waits");
    paths.ended(START, id(1), false);
    assert_eq!(paths.orders(), [Order::Acknowledge(id(1)), Order::Read(id(2))]);
    paths.received(START, id(2), hello(9));
    assert_eq!(paths.orders(), [heard(hello(9))]);
    paths.acknowledged(id(1));
    assert_eq!(paths.orders(), [Order::Close(id(1))]);
    paths.lost(1);
    assert_eq!(paths.orders(), []);
}

#[test]
fn an_old_stream_that_ends_before_the_new_one_begins_and_an_early_acknowledgement_come_to_the_same() {
    let mut paths = Paths::moving();
    paths.acknowledged(id(1));
    paths.ended(START, id(1), false);
    assert_eq!(paths.orders(), [Order::Acknowledge(id(1)), Order::Close(id(1))]);
    paths.lost(1);
    paths.began(START, id(2), First::GoesOn(THEIRS));
    assert_eq!(paths.orders(), [Order::Read(id(2))]);
}

#[test]
fn a_new_stream_may_come_before_the_first_word_of_the_old() {
    let mut paths = Paths::default();
    paths.ready(1, relayed(true));
    paths.ready(2, direct(false));
    paths.orders();
    paths.began(START, id(2), First::GoesOn(THEIRS));
    assert_eq!(paths.orders(), [], "its Hello is on its way");
    paths.greeted(1);
    paths.ended(START, id(1), false);
    let orders = paths.orders();
    assert_eq!(orders[..2], [Order::Read(id(1)), heard(hello(1))]);
    assert!(orders.contains(&Order::Read(id(2))));
}

#[test]
fn who_has_not_moved_yet_does_so_although_the_other_has_left() {
    let mut paths = Paths::default();
    paths.ready(1, relayed(true));
    paths.said(id(1));
    paths.greeted(1);
    paths.connected(id(2), direct(true));
    paths.ended(START, id(1), false);
    paths.began(START, id(2), First::GoesOn(THEIRS));
    paths.orders();
    paths.opened(id(2), true);
    assert_eq!(paths.orders(), [Order::SayGoesOn(id(2), OURS), Order::End { id: id(1), blobs: false }, moved()]);
}

#[test]
fn a_break_of_the_old_before_its_end_is_told_and_what_was_said_before_the_next_beginning_is_dropped() {
    let mut paths = Paths::moving();
    paths.began(START, id(2), First::GoesOn(THEIRS));
    paths.lost(1);
    let back = [gone(), Order::Read(id(2)), says(2, OURS + 1, THEIRS, true), told_direct(), Order::Listen(id(2))];
    assert_eq!(paths.orders(), back);
    paths.received(START, id(2), Message::Withdraw);
    assert_eq!(paths.orders(), [], "what came before it is lost");
    // The other saw the same, before it heard that we did.
    paths.begins(START, id(2), Beginning { mine: THEIRS + 1, yours: OURS, lost: true });
    paths.received(START, id(2), hello(2));
    paths.received(START, id(2), Message::Withdraw);
    assert_eq!(paths.orders(), [heard(hello(2)), heard(Message::Withdraw)], "that is one break for each");
}

#[test]
fn a_loss_that_only_the_other_sees_is_told_here_too() {
    let mut paths = Paths::moving();
    paths.began(START, id(2), First::GoesOn(THEIRS));
    paths.ended(START, id(1), false);
    paths.orders();
    paths.lost(1);
    assert_eq!(paths.orders(), [], "for us all is well");
    paths.begins(START, id(2), Beginning { mine: THEIRS + 1, yours: OURS, lost: true });
    paths.announce(START, NODE);
    paths.received(START, id(2), hello(2));
    let back = [gone(), says(2, OURS + 1, THEIRS + 1, false), told_direct(), Order::Listen(id(2)), heard(hello(2))];
    assert_eq!(paths.orders(), back);
    paths.begins(START, id(2), Beginning { mine: THEIRS + 2, yours: OURS + 1, lost: false });
    assert_eq!(paths.orders(), [], "an answer is no loss");
}

#[test]
fn one_who_lives_anew_is_told_from_one_who_goes_on() {
    for (mine, yours, is_new) in
        [(THEIRS + 1, OURS, false), (THEIRS, 0, true), (THEIRS, OURS, true), (THEIRS + 1, 0, true)]
    {
        let mut paths = Paths::default();
        paths.ready(1, direct(true));
        paths.greeted(1);
        paths.orders();
        paths.begins(START, id(1), Beginning { mine, yours, lost: false });
        assert_eq!(paths.orders() == [gone()], is_new, "{mine} and {yours}");
    }
}

#[test]
fn when_the_new_one_breaks_nothing_remains_of_the_old() {
    let mut paths = Paths::moving();
    paths.lost(2);
    assert_eq!(paths.orders(), [gone(), Order::Close(id(1))], "our stream there has ended");
    assert_eq!(paths.active(NODE), None);
    paths.lost(1);
    assert_eq!(paths.orders(), []);
}

#[test]
fn whoever_never_ends_its_old_stream_loses_that_connection_in_time() {
    let quiet = START + limits::MOVE_QUIET;
    let mut paths = Paths::moving();
    paths.began(START, id(2), First::GoesOn(THEIRS));
    paths.tick(Moment(quiet.0 - 1));
    assert_eq!(paths.orders(), []);
    paths.tick(quiet);
    assert_eq!(paths.orders(), [Order::Close(id(1))]);

    // Who says something there now and then has longer, but not for ever.
    let mut paths = Paths::moving();
    paths.began(START, id(2), First::GoesOn(THEIRS));
    let end = START + limits::MOVE_TIME;
    let mut now = START;
    while now < end {
        paths.received(now, id(1), Message::Withdraw);
        paths.orders();
        paths.tick(now);
        assert_eq!(paths.orders(), [], "at {now:?}");
        now = now + Millis(limits::MOVE_QUIET.0 / 2);
    }
    paths.tick(end);
    assert_eq!(paths.orders(), [Order::Close(id(1))]);
}

#[test]
fn what_goes_on_with_an_earlier_life_of_ours_is_dropped_up_to_a_beginning() {
    let mut paths = Paths::default();
    paths.ready(1, direct(true));
    paths.said(id(1));
    paths.orders();
    paths.began(START, id(1), First::GoesOn(THEIRS));
    assert_eq!(paths.orders(), [Order::Read(id(1)), gone()]);
    paths.announce(START, NODE);
    paths.received(START, id(1), Message::Withdraw);
    assert_eq!(paths.orders(), [says(1, OURS + 1, 0, true), told_direct(), Order::Listen(id(1))]);
    paths.begins(START, id(1), Beginning { mine: THEIRS + 5, yours: OURS, lost: false });
    paths.received(START, id(1), hello(1));
    assert_eq!(paths.orders(), [heard(hello(1))]);

    // Also where another connection, on which nothing is said, keeps it waiting.
    let mut paths = Paths::default();
    paths.ready(1, direct(true));
    paths.ready(2, direct(false));
    paths.orders();
    paths.began(START, id(2), First::GoesOn(THEIRS));
    paths.tick(START + Millis(limits::MOVE_QUIET.0 - 1));
    assert_eq!(paths.orders(), []);
    paths.tick(START + limits::MOVE_QUIET);
    assert_eq!(paths.orders(), [Order::Read(id(2)), gone()]);
}

#[test]
fn blobs_are_read_in_their_order_across_a_move_and_the_old_connection_stays_until_they_are() {
    let part = || Message::Chunk { hash: p2pnet_shared::id::Hash([1; 32]), offset: 0, total: 1, bytes: vec![1] };
    let mut paths = Paths::default();
    paths.ready(1, relayed(true));
    paths.said(id(1));
    paths.greeted(1);
    assert!(paths.blobs_opened(id(1)));
    paths.orders();
    paths.blobs_began(id(1));
    paths.blob(id(1), part());
    assert_eq!(paths.orders(), [Order::ReadBlobs(id(1)), heard(part())]);
    paths.ready(2, direct(false));
    let ends = Order::End { id: id(1), blobs: true };
    assert_eq!(paths.orders(), [Order::SayGoesOn(id(2), OURS), ends, moved()]);
    // Everything is acknowledged, messages have moved, and blobs on the new connection wait for those on the old.
    paths.acknowledged(id(1));
    paths.blobs_acknowledged(id(1));
    paths.began(START, id(2), First::GoesOn(THEIRS));
    paths.blobs_began(id(2));
    paths.ended(START, id(1), true);
    assert_eq!(paths.orders(), [Order::Acknowledge(id(1)), Order::Read(id(2))]);
    paths.blobs_ended(id(1));
    assert_eq!(paths.orders(), [Order::AcknowledgeBlobs(id(1)), Order::ReadBlobs(id(2)), Order::Close(id(1))]);
    paths.lost(1);
    assert_eq!(paths.orders(), []);
}

#[test]
fn blobs_that_are_on_their_way_when_messages_have_moved_are_waited_for_and_lost_with_their_connection() {
    for arrives in [true, false] {
        let mut paths = Paths::moving();
        paths.acknowledged(id(1));
        paths.began(START, id(2), First::GoesOn(THEIRS));
        paths.ended(START, id(1), true);
        assert_eq!(paths.orders(), [Order::Acknowledge(id(1)), Order::Read(id(2))]);
        paths.blobs_began(id(2));
        assert_eq!(paths.orders(), []);
        if arrives {
            paths.blobs_began(id(1));
            assert_eq!(paths.orders(), [Order::ReadBlobs(id(1))]);
        } else {
            paths.lost(1);
            assert_eq!(paths.orders()[0], gone());
        }
    }
}

#[test]
fn a_part_of_a_blob_is_for_nobody_before_its_sender_has_begun() {
    let part = Message::Chunk { hash: p2pnet_shared::id::Hash([1; 32]), offset: 0, total: 1, bytes: vec![1] };
    let mut paths = Paths::default();
    paths.ready(1, direct(true));
    paths.orders();
    paths.blobs_began(id(1));
    assert_eq!(paths.orders(), [], "who sends it is not read yet");
    paths.began(START, id(1), First::Begins);
    assert_eq!(paths.orders(), [Order::Read(id(1))]);
    paths.begins(START, id(1), first());
    assert_eq!(paths.orders(), [Order::ReadBlobs(id(1))]);
    paths.blob(id(1), part.clone());
    assert_eq!(paths.orders(), [heard(part.clone())]);
    // Nor while the sender does not know that something was lost.
    paths.ready(2, relayed(true));
    paths.began(START, id(2), First::GoesOn(THEIRS));
    paths.lost(2);
    paths.orders();
    paths.blob(id(1), part);
    assert_eq!(paths.orders(), []);
}

#[test]
fn a_stream_of_blobs_that_opens_after_the_move_ends_at_once() {
    let mut paths = Paths::moving();
    assert!(!paths.blobs_opened(id(1)));
    paths.acknowledged(id(1));
    paths.ended(START, id(1), false);
    paths.orders();
    paths.blobs_acknowledged(id(1));
    assert_eq!(paths.orders(), [Order::Close(id(1))]);
}

#[test]
fn nobody_moves_away_from_or_to_one_who_knows_no_marks_and_no_mark_is_said_to_it() {
    for (old, new) in [(false, true), (true, false), (false, false)] {
        let mut paths = Paths::default();
        paths.connected(id(1), relayed(true));
        paths.opened(id(1), old);
        paths.announce(START, NODE);
        paths.orders();
        paths.connected(id(2), direct(true));
        paths.opened(id(2), new);
        assert_eq!((paths.orders(), paths.active(NODE)), (vec![], Some(id(1))));
    }
    let mut paths = Paths::default();
    paths.connected(id(1), direct(true));
    paths.opened(id(1), false);
    paths.announce(START, NODE);
    paths.said(id(1));
    paths.connected(id(2), direct(false));
    paths.began(START, id(2), First::Message);
    paths.orders();
    paths.lost(2);
    assert_eq!(paths.orders(), [gone(), told_direct(), Order::Listen(id(1))]);
    paths.began(START, id(1), First::Message);
    paths.received(START, id(1), hello(1));
    assert_eq!(paths.orders(), [Order::Read(id(1)), heard(hello(1))]);
}

#[test]
fn one_who_knows_no_marks_and_greets_on_another_connection_has_lost_the_first() {
    let mut paths = Paths::default();
    for (number, made) in [(1, direct(true)), (2, relayed(false))] {
        paths.connected(id(number), made);
        paths.opened(id(number), false);
        paths.announce(START, NODE);
    }
    paths.began(START, id(1), First::Message);
    paths.received(START, id(1), hello(1));
    paths.orders();
    paths.began(START, id(2), First::Message);
    paths.announce(START, NODE);
    paths.received(START, id(2), hello(1));
    let listens = [1, 2].map(|number| Order::Listen(id(number)));
    let [first, second] = listens;
    let back = [Order::Close(id(1)), gone(), Order::Read(id(2)), told_relayed(), first, second, heard(hello(1))];
    assert_eq!(paths.orders(), back);
}

#[test]
fn whoever_tells_of_losses_all_the_time_has_to_connect_anew() {
    let mut paths = Paths::default();
    paths.ready(1, direct(true));
    paths.greeted(1);
    paths.orders();
    for _ in 0..limits::LOSSES {
        paths.begins(START, id(1), first());
        paths.announce(START, NODE);
        assert!(!paths.orders().contains(&Order::Close(id(1))));
    }
    paths.begins(START, id(1), first());
    assert_eq!(paths.orders(), [Order::Close(id(1)), gone()]);
    paths.announce(START, NODE);
    paths.orders();
    paths.begins(START + limits::LOSSES_TIME, id(1), first());
    assert_eq!(paths.orders(), [gone()]);
}

#[test]
fn a_worse_path_replaces_nothing() {
    let mut paths = Paths::default();
    paths.ready(1, direct(true));
    paths.orders();
    paths.ready(2, relayed(false));
    paths.ready(3, direct(false));
    assert_eq!((paths.orders(), paths.active(NODE)), (vec![], Some(id(1))));
}

#[test]
fn connections_are_found_by_what_they_are() {
    let mut paths = Paths::default();
    paths.connected(id(1), relayed(true));
    assert_eq!((paths.direct(NODE), paths.is_connected(NODE), paths.is_connected(OTHER)), (None, true, false));
    paths.connected(id(2), direct(false));
    paths.connected(id(3), Made { node: OTHER, ..direct(true) });
    assert_eq!(paths.direct(NODE), Some(id(2)));
    assert_eq!(paths.all_direct().collect::<Vec<_>>(), [(id(2), NODE), (id(3), OTHER)]);
    assert_eq!(paths.inbound(NODE).collect::<Vec<_>>(), [id(1)]);
    assert_eq!(paths.node(id(3)), Some(OTHER));
}
