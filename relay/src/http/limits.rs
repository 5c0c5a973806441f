//! The bounds of the HTTP side, all in one place; `docs/operators.md` prints them. The bounds of the network side are
//! in `p2pnet_net::limits`.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    crowd::Bounds,
    source::Source,
    turns::{Lane, WaiterBounds},
};

/// The longest request line and headers, together; also what a connection keeps of bytes that are not taken yet.
pub const MOST_HEAD_BYTES: usize = 32 << 10;
/// The largest body of a request: a job with its data or kernel, or a module.
pub const MOST_BODY_BYTES: usize = 32 << 20;
/// The largest body of a job in gzip. Base64 of what does not shrink takes as much room there as the bytes themselves and
/// little more, so that the largest input fits.
pub const MOST_PACKED_BYTES: usize = 48 << 20;
/// A body must come at this many bytes a second on average,
pub const LEAST_BODY_SPEED: usize = 8 << 10;
/// from so long after its start on.
pub const BODY_GRACE: Duration = Duration::from_secs(10);
/// A body that comes at fewer bytes a second than an ordinary line gives (1 Mbit/s; what holds the room by less costs its sender
/// next to nothing) makes room for others first,
pub const ORDINARY_BODY_SPEED: usize = 128 << 10;
/// unless it comes as fast after a pause of so long at most: such pauses are usual where the line is a radio.
pub const ORDINARY_BODY_SPEED_OVER: Duration = Duration::from_secs(3);
/// So many bytes of a body are received though there is no room for them yet. What comes fast brings them at once, and then waits;
/// what does not is slow.
pub const BODY_BYTES_IN_HAND: usize = 64 << 10;
/// Bodies on their way, but for small ones that are here at once, and as many that wait to begin: in all,
pub const BODIES: usize = 512;
/// from one wide network,
pub const BODIES_PER_WIDE_NETWORK: usize = 384;
/// from one network,
pub const BODIES_PER_NETWORK: usize = 256;
/// and from one address.
pub const BODIES_PER_ADDRESS: usize = 64;
/// Bytes of bodies on their way or waiting to be read: in all,
pub const BODY_BYTES: usize = 256 << 20;
/// of one wide network,
pub const BODY_BYTES_PER_WIDE_NETWORK: usize = 192 << 20;
/// of one network,
pub const BODY_BYTES_PER_NETWORK: usize = 144 << 20;
/// and of one address.
pub const BODY_BYTES_PER_ADDRESS: usize = 96 << 20;
/// How long a body waits for room, and once more, when it is here, for its key and for its turn together.
pub const ROOM_PATIENCE: Duration = Duration::from_secs(30);
/// Requests that wait for another one under their `Idempotency-Key`; one more is refused. Whoever asks again because it was
/// not answered needs one or two.
pub const KEY_WAITERS: usize = 8;
/// Work on jobs, modules and results up to so many bytes is small, and never waits for what is larger.
pub const SMALL_WORK_BYTES: usize = 64 << 10;
/// Jobs up to so many bytes are read where their body came in: the way to another thread and back takes longer.
pub const READ_HERE_BYTES: usize = 2 << 10;
/// Modules that are remembered as sound, so that jobs which name them are read fast.
pub const SOUND_MODULES: usize = 1_024;
/// Small ones that are read (unfolded, checked, compiled) at once; later ones wait up to [`ROOM_PATIENCE`].
pub const SMALL_WORK: Lane = Lane { places: 16, bytes: 16 * SMALL_WORK_BYTES };
/// Larger ones, by what they unfold to; of the wide networks that wait, of the networks in one, and of the addresses in one, the
/// one that took least time lately goes first, together with what its next work is expected to take.
pub const LARGE_WORK: Lane = Lane { places: 8, bytes: 256 << 20 };
/// Large work is expected to take so long, until it is over and what it took is known,
pub const EXPECTED_BYTES_A_MICROSECOND: usize = 16;
/// but no longer than this: what a body in gzip unfolds to is not known, and it counts as the most that it may.
pub const LONGEST_EXPECTED: Duration = Duration::from_millis(500);
/// The time that an address, a network or a wide network took for large work counts half after so long,
pub const SPENT_HALVES: Duration = Duration::from_secs(10);
/// that for what was refused so many times as much for the address: those around have nothing to do with it,
pub const REFUSED_COUNTS: u32 = 16;
/// of so many addresses, networks and wide networks, those that took most.
pub const SPENT_ADDRESSES: usize = 1_024;
/// Those who wait for a turn, of what is small and again of what is large. An address may have sent [`POSTS_AT_ONCE`].
pub const TURN_WAITERS: WaiterBounds =
    WaiterBounds { all: 2_048, per_wide_network: 1_536, per_network: 1_024, per_address: 256 };
/// Looking through a result for the bytes in it weighs as much as its length, but no more than this, since a part at a time
/// is read.
pub const LARGEST_SURVEY: usize = 256 << 10;
/// So many results that were looked through last need not be again.
pub const SURVEYED_RESULTS: usize = 1_024;
/// So many bytes of a text are decoded at once for each of its readers.
pub const DECODED_AT_ONCE: usize = 32 << 10;
/// Longer answers that are made whole count for their reader until they are read:
pub const SMALL_ANSWER_BYTES: u64 = 16 << 10;
/// those of one address together up to so many bytes,
pub const ANSWER_BYTES_PER_ADDRESS: usize = 64 << 20;
/// those of one network,
pub const ANSWER_BYTES_PER_NETWORK: usize = 128 << 20;
/// and all together; beyond that the slowest is cut off.
pub const ANSWER_BYTES: usize = 256 << 20;
/// Not while it takes so many bytes a second on average,
pub const LEAST_ANSWER_SPEED: usize = 8 << 10;
/// from so long after its start on,
pub const ANSWER_GRACE: Duration = Duration::from_secs(2);
/// which are given out in slices of so many.
pub const ANSWER_SLICE_BYTES: usize = 64 << 10;
/// Answers that are compressed at once, of about half a MiB each until they are read. Beyond, they go out as they are.
pub const ENCODERS: usize = 128;
/// The same for one network.
pub const ENCODERS_PER_NETWORK: usize = 48;
/// The same for one address.
pub const ENCODERS_PER_ADDRESS: usize = 24;
/// Bytes that are compressed before others have their turn.
pub const ENCODED_AT_ONCE: usize = 32 << 10;
/// What still comes after a refusal is taken and forgotten: so many bytes,
pub const DRAIN_BYTES: usize = 256 << 20;
/// for so long,
pub const DRAIN_TIME: Duration = Duration::from_secs(60);
/// unless nothing comes for so long,
pub const DRAIN_SILENCE: Duration = Duration::from_secs(5);
/// and of so many requests at once.
pub const DRAINS: Bounds = Bounds {
    all: 256,
    per_network: 128,
    per_address: 64,
    waiting: 256,
    waiting_per_network: 128,
    waiting_per_address: 64,
};
/// Listeners of `/api/v1/events`; beyond that the oldest of the same address, network or fullest network ends.
pub const LISTENERS: Bounds = Bounds {
    all: 512,
    per_network: 256,
    per_address: 128,
    waiting: 512,
    waiting_per_network: 256,
    waiting_per_address: 128,
};
/// Connections to the HTTP port. One address has its tabs, each with a WebSocket and a few more. Those that have not
/// sent a whole request yet are few, and the oldest of them makes room for a new one.
pub const CONNECTIONS: Bounds = Bounds {
    all: 8_192,
    per_network: 4_096,
    per_address: 1_024,
    waiting: 1_024,
    waiting_per_network: 256,
    waiting_per_address: 128,
};
/// How long a new connection may take for its first request without the body.
pub const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// How long an open connection may take for the next one.
pub const NEXT_REQUEST: Duration = Duration::from_secs(75);
/// A connection on which nothing comes or goes for so long is closed. WebSockets and events speak more often.
pub const SILENCE: Duration = Duration::from_secs(120);
/// WebSockets at `/p2p`, by address (all tabs of a household share one). Those in the middle of libp2p's handshake are
/// few, and the oldest of them makes room for a new one.
pub const SOCKETS: Bounds = Bounds {
    all: 4_096,
    per_network: 2_048,
    per_address: 256,
    waiting: 256,
    waiting_per_network: 128,
    waiting_per_address: 64,
};
/// Jobs that one address may send at once before the pace below applies.
pub const POSTS_AT_ONCE: f64 = 200.0;
/// Jobs that one address may send a second in the long run.
pub const POSTS_PER_SECOND: f64 = 20.0;
/// As many times that does one network get, however many addresses it has.
pub const POSTS_OF_NETWORK: f64 = 8.0;
/// Addresses, and networks, whose pace is remembered; beyond that the one that was silent longest is forgotten.
pub const ADDRESSES: usize = 10_000;
/// Questions that wait for the end of a job.
pub const WAITERS: Bounds = Bounds {
    all: 1_024,
    per_network: 512,
    per_address: 64,
    waiting: 1_024,
    waiting_per_network: 1_024,
    waiting_per_address: 1_024,
};
/// The longest that a question waits; whoever wants more asks again.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How long the node may take to hear that a stop, which is answered then, is on disk.
pub const TOLD_OF_A_STOP: Duration = Duration::from_secs(5);
/// Jobs in a list, unless told otherwise, and at most.
pub const JOBS_IN_A_LIST: usize = 1_000;
/// Bytes of a list; the jobs behind them are on its next page.
pub const LIST_BYTES: usize = 1 << 20;

const _: () = {
    use p2pnet_shared::job::kinds::limits::{MOST_INPUT_BYTES, MOST_SOURCE_BYTES};
    // An input in base64 leaves the job's JSON room for other fields, and in gzip, with one part in fifty lost to it, the body.
    assert!(MOST_INPUT_BYTES.div_ceil(3) * 4 + (1 << 20) <= MOST_SOURCE_BYTES);
    assert!(MOST_INPUT_BYTES / 50 * 51 + (1 << 20) <= MOST_PACKED_BYTES);
    assert!(MOST_PACKED_BYTES <= BODY_BYTES_PER_ADDRESS && p2pnet_shared::kernel::MOST_MODULE_BYTES <= MOST_BODY_BYTES);
};

/// How many jobs each address, and each network, may still send: a bucket that fills steadily.
#[derive(Default)]
pub struct Allowance(Mutex<Buckets>);

#[derive(Default)]
struct Buckets {
    addresses: BTreeMap<IpAddr, Bucket>,
    networks: BTreeMap<IpAddr, Bucket>,
}

#[derive(Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Allowance {
    /// Takes one out for `source`; `false` when there is none. This machine itself is not slowed down.
    pub fn take(&self, source: Source, now: Instant) -> bool {
        if source.is_this_machine() {
            return true;
        }
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Buckets { addresses, networks } = &mut *buckets;
        let own = filled(addresses, source.address, 1.0, now);
        let around = filled(networks, source.network, POSTS_OF_NETWORK, now);
        let has_both = own.left >= 1.0 && around.left >= 1.0;
        if has_both {
            own.left -= 1.0;
            around.left -= 1.0;
        }
        has_both
    }
}

/// The bucket of somebody who gets so many times what one address does, as it is now.
fn filled(buckets: &mut BTreeMap<IpAddr, Bucket>, whose: IpAddr, times: f64, now: Instant) -> &mut Bucket {
    if buckets.len() >= ADDRESSES && !buckets.contains_key(&whose) {
        let silent = buckets.iter().min_by_key(|(_, bucket)| bucket.at).map(|(address, _)| *address);
        silent.map(|address| buckets.remove(&address));
    }
    let bucket = buckets.entry(whose).or_insert(Bucket { left: POSTS_AT_ONCE * times, at: now });
    let more = now.saturating_duration_since(bucket.at).as_secs_f64() * POSTS_PER_SECOND * times;
    bucket.left = (bucket.left + more).min(POSTS_AT_ONCE * times);
    bucket.at = now;
    bucket
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(address: [u8; 4]) -> Source {
        Source::of(address.into())
    }

    #[test]
    fn an_address_gets_its_burst_then_its_pace_and_others_are_not_touched() {
        let allowance = Allowance::default();
        let (a, b) = (of([1, 1, 1, 1]), of([2, 2, 2, 2]));
        let start = Instant::now();
        let taken = (0..1000).filter(|_| allowance.take(a, start)).count();
        assert_eq!(taken, POSTS_AT_ONCE as usize);
        assert!(allowance.take(b, start));
        let later = start + Duration::from_secs(1);
        assert_eq!((0..1000).filter(|_| allowance.take(a, later)).count(), POSTS_PER_SECOND as usize);
        assert!((0..10_000).all(|_| allowance.take(of([127, 0, 0, 1]), start)), "this machine itself");
    }

    #[test]
    fn a_network_of_many_addresses_gets_as_much_as_eight_and_others_are_not_touched() {
        let allowance = Allowance::default();
        let start = Instant::now();
        let near = |n: u16| Source::of(std::net::Ipv6Addr::new(0x2001, 0xdb8, 1, n, 0, 0, 0, 1).into());
        let taken = (0..4_000).filter(|n| allowance.take(near(*n), start)).count();
        assert_eq!(taken, (POSTS_AT_ONCE * POSTS_OF_NETWORK) as usize);
        assert!(allowance.take(Source::of(std::net::Ipv6Addr::new(0x2001, 0xdb8, 2, 1, 0, 0, 0, 1).into()), start));
        let later = start + Duration::from_secs(1);
        let pace = (POSTS_PER_SECOND * POSTS_OF_NETWORK) as usize;
        assert_eq!((0..4_000).filter(|n| allowance.take(near(*n), later)).count(), pace);
    }

    #[test]
    fn the_table_of_addresses_is_bounded() {
        let allowance = Allowance::default();
        let start = Instant::now();
        for n in 0..u32::try_from(ADDRESSES).unwrap() + 100 {
            assert!(allowance.take(of(n.to_be_bytes()), start + Duration::from_millis(u64::from(n))));
        }
        let buckets = allowance.0.lock().unwrap();
        assert!(buckets.addresses.len() == ADDRESSES && buckets.networks.len() <= ADDRESSES);
    }
}
