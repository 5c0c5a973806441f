//! The bounds of the HTTP side, all in one place; `docs/operators.md` prints them. The bounds of the network side are
//! in `p2pnet_net::limits`.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::http::HeaderMap;

/// The largest body of a request: a job with its data or kernel.
pub const MOST_BODY_BYTES: usize = 32 << 20;
/// Of a larger body so much is read and thrown away, so that its sender comes to see the answer.
pub const MOST_BYTES_BEYOND: usize = 32 << 20;
/// How long a body may take to arrive.
pub const BODY_PATIENCE: Duration = Duration::from_secs(300);
/// Jobs being received or read at once; later ones wait.
pub const UPLOADS_AT_ONCE: usize = 16;
/// Listeners of `/api/v1/events` at once.
pub const LISTENERS: usize = 512;
/// Connections to the HTTP port.
pub const CONNECTIONS: usize = 8_192;
/// Connections to the HTTP port from one address: its tabs, each with a WebSocket and a few more.
pub const CONNECTIONS_PER_ADDRESS: usize = 1_024;
/// A connection on which nothing comes or goes for so long is closed. WebSockets and events speak more often.
pub const SILENCE: Duration = Duration::from_secs(120);
/// WebSockets at `/p2p` from one address (all tabs of a household share one).
pub const SOCKETS_PER_ADDRESS: usize = 256;
/// WebSockets at `/p2p` in all.
pub const SOCKETS: usize = 4_096;
/// Jobs that one address may send at once before the pace below applies.
pub const POSTS_AT_ONCE: f64 = 200.0;
/// Jobs that one address may send a second in the long run.
pub const POSTS_PER_SECOND: f64 = 20.0;
/// Addresses whose pace is remembered; beyond that the one that was silent longest is forgotten.
pub const ADDRESSES: usize = 10_000;
/// Questions that wait for the end of a job, from one address.
pub const WAITERS_PER_ADDRESS: usize = 64;
/// Questions that wait for the end of a job in all.
pub const WAITERS: usize = 1_024;
/// The longest that a question waits; whoever wants more asks again.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Jobs in a list, unless told otherwise, and at most.
pub const JOBS_IN_A_LIST: usize = 1_000;

/// The address a request counts for: the peer, or, when that is a proxy on this machine, whom the proxy named last.
/// `None` is this machine itself, which no limit protects from itself.
pub fn client_address(peer: SocketAddr, headers: &HeaderMap) -> Option<IpAddr> {
    if !peer.ip().to_canonical().is_loopback() {
        return Some(group(peer.ip()));
    }
    let named = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    let last = named.rsplit(',').next()?.trim();
    last.parse().ok().or_else(|| last.parse::<SocketAddr>().ok().map(|address| address.ip())).map(group)
}

/// The address a connection counts for; `None` is this machine itself, where proxies are.
pub fn peer_address(peer: SocketAddr) -> Option<IpAddr> {
    if peer.ip().to_canonical().is_loopback() { None } else { Some(group(peer.ip())) }
}

/// A household gets one IPv4 address or one IPv6 /64.
fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// How many jobs each address may still send: a bucket that fills steadily.
#[derive(Default)]
pub struct Allowance {
    buckets: Mutex<BTreeMap<IpAddr, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Allowance {
    /// Takes one out for `address`; `false` when there is none.
    pub fn take(&self, address: Option<IpAddr>, now: Instant) -> bool {
        let Some(address) = address else { return true };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= ADDRESSES && !buckets.contains_key(&address) {
            let silent = buckets.iter().min_by_key(|(_, bucket)| bucket.at).map(|(address, _)| *address);
            silent.map(|address| buckets.remove(&address));
        }
        let bucket = buckets.entry(address).or_insert(Bucket { left: POSTS_AT_ONCE, at: now });
        let filled = now.saturating_duration_since(bucket.at).as_secs_f64() * POSTS_PER_SECOND;
        bucket.left = (bucket.left + filled).min(POSTS_AT_ONCE);
        bucket.at = now;
        if bucket.left < 1.0 {
            return false;
        }
        bucket.left -= 1.0;
        true
    }
}

/// A bounded number of things that last (connections, WebSockets), counted by address.
#[derive(Clone)]
pub struct Places {
    all: usize,
    per_address: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    by_address: HashMap<Option<IpAddr>, usize>,
    all: usize,
}

/// One of [`Places`]; free again when dropped.
pub struct Place {
    address: Option<IpAddr>,
    places: Places,
}

impl Places {
    /// `all` places, of which one address takes at most `per_address`; this machine itself may take all.
    pub fn new(all: usize, per_address: usize) -> Self {
        Self { all, per_address, taken: Arc::default() }
    }

    /// A place for one more from `address`, if there is one.
    pub fn enter(&self, address: Option<IpAddr>) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let here = taken.by_address.get(&address).copied().unwrap_or(0);
        if taken.all >= self.all || (address.is_some() && here >= self.per_address) {
            return None;
        }
        taken.by_address.insert(address, here + 1);
        taken.all += 1;
        Some(Place { address, places: self.clone() })
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        match taken.by_address.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_its_burst_then_its_pace_and_others_are_not_touched() {
        let allowance = Allowance::default();
        let (a, b) = (Some(IpAddr::from([1, 1, 1, 1])), Some(IpAddr::from([2, 2, 2, 2])));
        let start = Instant::now();
        let taken = (0..1000).filter(|_| allowance.take(a, start)).count();
        assert_eq!(taken, POSTS_AT_ONCE as usize);
        assert!(allowance.take(b, start));
        let later = start + Duration::from_secs(1);
        assert_eq!((0..1000).filter(|_| allowance.take(a, later)).count(), POSTS_PER_SECOND as usize);
        assert!((0..10_000).all(|_| allowance.take(None, start)), "this machine itself");
    }

    #[test]
    fn the_table_of_addresses_is_bounded() {
        let allowance = Allowance::default();
        let start = Instant::now();
        for n in 0..u32::try_from(ADDRESSES).unwrap() + 100 {
            assert!(allowance.take(Some(IpAddr::V4(n.into())), start + Duration::from_millis(u64::from(n))));
        }
        assert_eq!(allowance.buckets.lock().unwrap().len(), ADDRESSES);
    }

    #[test]
    fn a_proxy_on_this_machine_is_believed_and_no_other() {
        let mut headers = HeaderMap::new();
        let local: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let far: SocketAddr = "[2001:db8:1:2:3::1]:1".parse().unwrap();
        assert_eq!(client_address(local, &headers), None);
        headers.insert("x-forwarded-for", "6.6.6.6, 9.9.9.9".parse().unwrap());
        assert_eq!(client_address(local, &headers), Some(IpAddr::from([9, 9, 9, 9])));
        assert_eq!(client_address(far, &headers).unwrap().to_string(), "2001:db8:1:2::");
    }

    #[test]
    fn places_are_bounded_and_given_back() {
        let places = Places::new(10, 4);
        let address = Some(IpAddr::from([1, 1, 1, 1]));
        let mine: Vec<Place> = (0..9).filter_map(|_| places.enter(address)).collect();
        assert_eq!(mine.len(), 4);
        let local: Vec<Place> = (0..9).filter_map(|_| places.enter(None)).collect();
        assert_eq!((local.len(), places.taken()), (6, 10), "this machine takes what there is, and no more");
        drop(mine);
        assert!(places.taken() == 6 && places.enter(address).is_some());
    }
}
