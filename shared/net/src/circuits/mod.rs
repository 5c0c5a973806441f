//! What a seed relays for those who cannot be dialled, and for how many: of one node, of one prefix, in all. libp2p counts
//! by node, and a name costs nothing; what a node opens, and what the nodes of a prefix hold together, is counted in the
//! [`book`], which this keeps around libp2p's relay.

mod book;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroU32,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    relay,
    swarm::{
        CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler,
        THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, behaviour::ConnectionEstablished,
    },
};

use crate::{limits, origin::Origin, platform};
use book::{Book, Bounds, From, Patience, Turn};

/// The bounds by prefix.
const BOUNDS: Bounds = Bounds {
    reservations: limits::RESERVATIONS_PER_PREFIX,
    circuits: limits::CIRCUITS_PER_PREFIX,
    all_circuits: limits::CIRCUITS,
};
const PATIENCE: Patience = Patience {
    turn: limits::CIRCUIT_REQUEST_TURN,
    answer: limits::CIRCUIT_REQUEST_TIMEOUT,
    accept: limits::CIRCUIT_ACCEPT_TIMEOUT,
};

type Action = ToSwarm<relay::Event, THandlerInEvent<relay::Behaviour>>;

/// libp2p's relay with bounds by prefix.
pub(crate) struct Relay {
    inner: relay::Behaviour,
    /// The relay asks it; nobody else holds it while it is asked.
    book: Arc<Mutex<Book>>,
    /// What the relay wants, once it is in the book.
    actions: VecDeque<Action>,
    /// What connections of destinations are asked.
    requests: BTreeMap<ConnectionId, Requests>,
    /// How many requests ended before their turn, by source and destination. libp2p's relay keeps a line of each until one of both
    /// connections is gone.
    ended: BTreeMap<(ConnectionId, ConnectionId), usize>,
    /// Until the circuits that wait for somebody are looked at. Nothing else ends a wait for their sources, and
    /// until then what their destinations sent lies here, and nobody looks at it.
    timer: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// How long they may wait.
    patience: Patience,
}

/// Requests for circuits to one connection.
#[derive(Default)]
struct Requests {
    /// How many it has not answered.
    open: usize,
    /// Those that it gets once it has. Where their sources are takes turns, those first whose turn is next: many requests from
    /// one place hold up those of another by one each.
    waiting: VecDeque<(From, VecDeque<Request>)>,
}

/// A request for a circuit that waits for its turn.
struct Request {
    source: ConnectionId,
    since: Instant,
    /// What libp2p's relay would tell the destination; it holds the stream of the source, which ends with it.
    action: Action,
}

impl Requests {
    fn wait(&mut self, from: From, request: Request) {
        match self.waiting.iter_mut().find(|(known, _)| *known == from) {
            Some((_, queue)) => queue.push_back(request),
            None => self.waiting.push_back((from, VecDeque::from([request]))),
        }
    }

    fn next(&mut self) -> Option<Request> {
        let (from, mut queue) = self.waiting.pop_front()?;
        let next = queue.pop_front();
        if !queue.is_empty() {
            self.waiting.push_back((from, queue));
        }
        next
    }

    /// Ends those that have waited for so long; gives their sources.
    fn end(&mut self, now: Instant, patience: Duration) -> Vec<ConnectionId> {
        let mut sources = Vec::new();
        for (_, queue) in &mut self.waiting {
            while let Some(request) = queue.pop_front_if(|request| now.duration_since(request.since) >= patience) {
                sources.push(request.source);
            }
        }
        self.waiting.retain(|(_, queue)| !queue.is_empty());
        sources
    }

    /// A source is gone.
    fn forget(&mut self, gone: ConnectionId) {
        self.waiting.iter_mut().for_each(|(_, queue)| queue.retain(|request| request.source != gone));
        self.waiting.retain(|(_, queue)| !queue.is_empty());
    }
}

impl Relay {
    /// The relay of this node.
    pub(crate) fn new(me: PeerId) -> Self {
        Self::with(me, BOUNDS)
    }

    fn with(me: PeerId, bounds: Bounds) -> Self {
        let book = Arc::new(Mutex::new(Book::new(bounds)));
        let mut config = by_node();
        // Behind all others: what these let pass, libp2p takes in.
        let asked = Arc::clone(&book);
        config.reservation_rate_limiters.push(Box::new(move |_: PeerId, address: &Multiaddr, _: Instant| {
            lock(&asked, |book| book.may_reserve(Origin::of(address).map(|origin| origin.prefix)))
        }));
        // Before all others, so that a node that may open no more does not use up its rate.
        let asked = Arc::clone(&book);
        let may_open_more = move |node: PeerId, _: &Multiaddr, _: Instant| {
            lock(&asked, |book| book.opened_by(node) < limits::CIRCUITS_PER_NODE)
        };
        config.circuit_src_rate_limiters.insert(0, Box::new(may_open_more));
        let asked = Arc::clone(&book);
        config.circuit_src_rate_limiters.push(Box::new(move |_: PeerId, address: &Multiaddr, _: Instant| {
            lock(&asked, |book| book.may_open(Origin::of(address).map(|origin| origin.prefix)))
        }));
        Self {
            inner: relay::Behaviour::new(me, config),
            book,
            actions: VecDeque::new(),
            requests: BTreeMap::new(),
            ended: BTreeMap::new(),
            timer: None,
            patience: PATIENCE,
        }
    }

    /// Ends requests whose turn does not come, and hangs up on sources that do not take that their circuit is there, and on
    /// destinations that do not say whether they take one.
    fn end_late(&mut self, cx: &mut Context<'_>) {
        while lock(&self.book, |book| book.awaits()) {
            let timer = self.timer.get_or_insert_with(|| Box::pin(platform::sleep(limits::CIRCUIT_ACCEPT_LOOK)));
            if timer.as_mut().poll(cx).is_pending() {
                return;
            }
            self.timer = None;
            let now = Instant::now();
            self.end_requests(now);
            let late = lock(&self.book, |book| book.overdue(now, self.patience));
            self.actions.extend(late.into_iter().map(|(connection, peer_id)| {
                tracing::debug!(%peer_id, "closing a connection that does not take a circuit");
                ToSwarm::CloseConnection { peer_id, connection: CloseConnection::One(connection) }
            }));
        }
    }

    /// Ends requests that have waited for too long behind others: their sources have given them up, and they hold places of
    /// theirs, which whoever answers slowly, or nobody, would take from them.
    fn end_requests(&mut self, now: Instant) {
        for (to, requests) in &mut self.requests {
            for source in requests.end(now, self.patience.turn) {
                lock(&self.book, |book| book.gave_up(source, *to));
                *self.ended.entry((source, *to)).or_default() += 1;
            }
        }
        let mut excess = self.ended.values().sum::<usize>().saturating_sub(limits::CIRCUIT_REQUESTS_ENDED);
        if excess == 0 {
            return;
        }
        let mut by_source: BTreeMap<ConnectionId, usize> = BTreeMap::new();
        for ((source, _), count) in &self.ended {
            *by_source.entry(*source).or_default() += count;
        }
        let mut most: Vec<(ConnectionId, usize)> = by_source.into_iter().collect();
        most.sort_unstable_by_key(|(_, count)| std::cmp::Reverse(*count));
        for (connection, count) in most {
            let Some(peer_id) = lock(&self.book, |book| book.node(connection)) else { continue };
            tracing::debug!(%peer_id, "closing a connection whose requests for circuits ended before their turn");
            self.actions.push_back(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::One(connection) });
            excess = excess.saturating_sub(count);
            if excess == 0 {
                return;
            }
        }
    }

    /// Takes what the relay wants because of what it was just told, by this connection if by one.
    #[expect(clippy::wildcard_enum_match_arm, reason = "libp2p may add events")]
    fn take_actions(&mut self, speaks: Option<ConnectionId>) {
        // It only queues: no wake comes of this, and `poll` leaves the true waker there.
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(action) = self.inner.poll(&mut cx) {
            let (connection, turn) = lock(&self.book, |book| match &action {
                ToSwarm::NotifyHandler { handler: NotifyHandler::One(connection), .. } => {
                    (Some(*connection), book.turns_to(*connection))
                }
                ToSwarm::GenerateEvent(event) => {
                    book.happened(event);
                    (None, Turn::Other)
                }
                // libp2p's own enum, open-ended; the rest is about no connection.
                _ => (None, Turn::Other),
            });
            match (turn, speaks, connection) {
                (Turn::Asks { from }, Some(source), Some(to)) => {
                    let request = Request { source, since: Instant::now(), action };
                    self.requests.entry(to).or_default().wait(from, request);
                    self.ask(to);
                }
                (Turn::Answers, Some(to), _) => {
                    self.actions.push_back(action);
                    if let Some(requests) = self.requests.get_mut(&to) {
                        requests.open = requests.open.saturating_sub(1);
                    }
                    self.ask(to);
                }
                (Turn::Asks { .. } | Turn::Answers | Turn::Other, ..) => self.actions.push_back(action),
            }
        }
    }

    /// Asks a connection for as many circuits as it may be asked for at once.
    fn ask(&mut self, to: ConnectionId) {
        let Some(requests) = self.requests.get_mut(&to) else { return };
        while requests.open < limits::CIRCUIT_REQUESTS
            && let Some(request) = requests.next()
        {
            requests.open += 1;
            lock(&self.book, |book| book.asked(request.source, to));
            self.actions.push_back(request.action);
        }
        if requests.open == 0 {
            self.requests.remove(&to);
        }
    }

    /// A connection is gone, and with it what it asked for and was to be asked.
    fn forget_requests(&mut self, connection: ConnectionId) {
        self.requests.remove(&connection);
        for requests in self.requests.values_mut() {
            requests.forget(connection);
        }
        self.ended.retain(|(source, to), _| *source != connection && *to != connection);
    }
}

/// The bounds by node, and in all.
fn by_node() -> relay::Config {
    // libp2p asks of a node whether it holds more than so many before it grants the next.
    let reservations = limits::RESERVATIONS_PER_NODE.saturating_sub(1);
    // Circuits are counted in the book; libp2p's relay counts those, too, that ended before their turn.
    let circuits = limits::CIRCUITS + 2 * limits::CIRCUIT_REQUESTS_ENDED;
    let mut config = relay::Config {
        max_reservations: limits::RESERVATIONS,
        max_reservations_per_peer: reservations,
        reservation_duration: limits::RESERVATION_DURATION,
        reservation_rate_limiters: Vec::new(),
        max_circuits: circuits,
        // It counts those to a node with those of it, so that strangers could take the places of others; ours does not.
        max_circuits_per_peer: circuits,
        max_circuit_duration: limits::CIRCUIT_DURATION,
        max_circuit_bytes: limits::CIRCUIT_BYTES,
        circuit_src_rate_limiters: Vec::new(),
    };
    if let Some(rate) = NonZeroU32::new(limits::RESERVATION_RATE) {
        config = config.reservation_rate_per_peer(rate, limits::RATE_INTERVAL);
    }
    if let Some(rate) = NonZeroU32::new(limits::CIRCUIT_RATE) {
        config = config.circuit_src_per_peer(rate, limits::RATE_INTERVAL);
    }
    config
}

fn lock<R>(book: &Mutex<Book>, with: impl FnOnce(&mut Book) -> R) -> R {
    with(&mut book.lock().unwrap_or_else(PoisonError::into_inner))
}

impl NetworkBehaviour for Relay {
    type ConnectionHandler = <relay::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = relay::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(id, peer, address, role, port)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "libp2p may add events")]
    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        lock(&self.book, |book| {
            book.speaks(None);
            match &event {
                FromSwarm::ConnectionEstablished(ConnectionEstablished { connection_id, peer_id, .. }) => {
                    book.opened(*connection_id, *peer_id);
                }
                FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => book.closed(*connection_id),
                // The enum is libp2p's and open-ended.
                _ => {}
            }
        });
        if let FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) = &event {
            self.forget_requests(*connection_id);
        }
        self.inner.on_swarm_event(event);
        self.take_actions(None);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        lock(&self.book, |book| book.speaks(Some(id)));
        self.inner.on_connection_handler_event(peer, id, event);
        self.take_actions(Some(id));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.end_late(cx);
        match self.actions.pop_front() {
            Some(action) => Poll::Ready(action),
            None => self.inner.poll(cx),
        }
    }
}
