//! Every bound of the network in one place. `docs/operators.md` prints this table; nothing a stranger can make grow
//! lacks a line here.

use std::time::Duration;

use p2pnet_shared::units::Millis;

// Connections.

/// Connections that a native node holds at once. When all are taken, whoever holds most gives one up for those who hold less.
pub const NATIVE_CONNECTIONS: usize = 8_192;
/// Connections that a tab holds at once.
pub const BROWSER_CONNECTIONS: usize = 128;
/// How long a connection that is given up or hung up on may take to say goodbye.
pub const CLOSING_TIMEOUT: Duration = Duration::from_secs(1);
/// How long what came last on a connection that is gone may still be read from its streams where others hold them, as circuits
/// do: the last of a result reaches who reads slowly.
pub const LAST_BYTES_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections that are doing so because they made room for others. Beyond, none makes room.
pub const CONNECTIONS_GOING: usize = 1_024;
/// Connections to one node. More than one exists only while two nodes dial each other, or one reconnects.
pub const CONNECTIONS_PER_NODE: usize = 8;
/// Incoming connections from one address (IPv4 address, IPv6 /64).
pub const CONNECTIONS_PER_ADDRESS: usize = 512;
/// Incoming connections from one prefix (IPv4 /24, IPv6 /48). From this machine itself, where proxies are, twice as many.
pub const CONNECTIONS_PER_PREFIX: usize = 2_048;
/// Incoming connections in the middle of their handshake. One more always gets in: the oldest that has said nothing goes.
pub const PENDING_INCOMING: usize = 512;
/// The same from one prefix.
pub const PENDING_PER_PREFIX: usize = 384;
/// The same from one address.
pub const PENDING_PER_ADDRESS: usize = 256;
/// An incoming handshake that takes longer has failed.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(6);
/// webrtc-direct connections that a native node holds at once, handshakes included: each costs threads and some files. Who
/// finds no place comes by WebSocket. Fewer where the system leaves few threads to this process; then there are as many fewer
/// from one prefix and from one address.
pub const WEBRTC_CONNECTIONS: usize = 1_024;
/// The same from one prefix.
pub const WEBRTC_CONNECTIONS_PER_PREFIX: usize = 768;
/// The same from one address.
pub const WEBRTC_CONNECTIONS_PER_ADDRESS: usize = 512;
/// Threads of one of them: one always, one more while packets are written,
pub const WEBRTC_THREADS: usize = 2;
/// and so long after the last of them.
pub const WEBRTC_THREAD_IDLE: Duration = Duration::from_secs(1);
/// All of them together take this part of the threads that the system lets this process have.
pub const WEBRTC_PART_OF_THREADS: usize = 4;
/// webrtc-direct handshakes at once. A packet is enough to begin one.
pub const WEBRTC_HANDSHAKES: usize = 160;
/// The same from one prefix.
pub const WEBRTC_HANDSHAKES_PER_PREFIX: usize = 96;
/// The same from one address.
pub const WEBRTC_HANDSHAKES_PER_ADDRESS: usize = 64;
/// webrtc-direct handshakes that came to nothing, after which no more are begun until the port is opened anew. That is done
/// as soon as nobody is connected over webrtc-direct,
pub const WEBRTC_LEFT_OVER: usize = 1_024;
/// but once in this time at most, and after it in any case, which ends the connections.
pub const WEBRTC_FULL_TIME: Duration = Duration::from_secs(10 * 60);
/// Packets of unknown senders that were refused, after which the same is done; after four times as many at once.
pub const WEBRTC_REFUSED: usize = 1 << 18;
/// How soon a port that could not be had again is tried again.
pub const WEBRTC_REOPEN_PAUSE: Duration = Duration::from_secs(1);
/// Nodes of one prefix that were hung up on for nonsense, after which connections from there are taken one at a time.
pub const STRIKES: u32 = 8;
/// How long lies between those.
pub const STRUCK_PAUSE: Millis = Millis(1_000);
/// After how long one of those nodes is forgotten.
pub const STRIKE_FADES: Millis = Millis(60_000);
/// Prefixes remembered for that.
pub const STRUCK_PREFIXES: usize = 4_096;
/// Dials under way at once.
pub const PENDING_OUTGOING: usize = 256;
/// Sockets that wait at the WebSocket door for the loop to take them.
pub const DOOR_QUEUE: usize = 128;
/// A dial that takes longer has failed.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection on which nobody speaks our protocol is closed after this.
pub const SILENT_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection to a node that is no seed of ours, and whose seed we are not, is closed after so long without a message
/// in either direction.
pub const IDLE_TIME: Millis = Millis(5 * 60_000);
/// A second connection to a node that has carried nothing for so long is closed.
pub const SPARE_TIME: Millis = Millis(30_000);
/// A node that goes on over a better connection ends what it said over the old one first. While it says nothing more there for
/// so long and does not, the old connection is closed,
pub const MOVE_QUIET: Millis = Millis(30_000);
/// and after so long in any case. What it says on the new one is not read meanwhile.
pub const MOVE_TIME: Millis = Millis(5 * 60_000);
/// How often a node may say within [`LOSSES_TIME`] that something was lost to it. Beyond, its connection is closed, and it has
/// to come back on a new one.
pub const LOSSES: u32 = 16;
/// See [`LOSSES`].
pub const LOSSES_TIME: Millis = Millis(60_000);
/// How often a connection is asked for a sign of life.
pub const PING_INTERVAL: Duration = Duration::from_secs(8);
/// A ping without an answer for so long has failed.
pub const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// So many failed pings in a row, with nothing moving in between, close the connection. A browser that was killed leaves a webrtc-direct connection
/// that would otherwise linger for minutes.
pub const PING_FAILURES: u32 = 2;

// Addresses.

/// Addresses of one node that are dialled; more are ignored.
pub const ADDRESSES_PER_NODE: usize = 8;
/// Seeds that a node knows; more are ignored.
pub const SEEDS: usize = 64;
/// Seeds whose circuits are tried for one node.
pub const CIRCUITS_PER_DIAL: usize = 4;
/// How long direct addresses are tried alone before circuits are tried beside them.
pub const DIRECT_HEAD_START: Millis = Millis(1_000);
/// A node counts as connected to its seed only once the seed accepted its reservation, or after so long:
/// whoever hears of the node from the seed can then reach it.
pub const RESERVATION_WAIT: Millis = Millis(1_500);
/// A reservation that was refused or lost is asked for again after so long.
pub const RESERVATION_RETRY: Millis = Millis(5_000);

// Messages. The longest frame is `p2pnet_shared::wire::MOST_FRAME` (1 MiB).

/// Messages from all nodes that wait for the loop; each node may have one more under way. When it is full, the readers
/// wait, and the senders with them.
pub const INCOMING_QUEUE: usize = 64;
/// Bytes that may wait to be sent to one node, blobs included. A node that reads so slowly that more piles up is hung up on.
pub const OUTGOING_BYTES: usize = 32 << 20;
/// Bytes that may wait to be sent to all nodes together. Beyond it, the node with the longest queue is hung up on.
pub const OUTGOING_BYTES_TOTAL: usize = 512 << 20;
/// A node that takes none of what waits for it for so long is hung up on.
pub const STALLED_TIME: Millis = Millis(30_000);
/// Small frames are written together up to so many bytes.
pub const WRITE_BATCH: usize = 64 << 10;
/// How much is read from a stream at once.
pub const READ_CHUNK: usize = 16 << 10;
/// Frames that are no message after which a node is hung up on.
pub const GARBLED_FRAMES: u32 = 16;
/// Frames of kinds that only later builds know after which a node is hung up on: such a build says what we do not know now and
/// then, not all the time.
pub const UNKNOWN_FRAMES: u32 = 1_024;
/// How long a node that speaks no version of ours has to say which it speaks, and then to hear which we speak.
pub const IDENTIFY_TIME: Millis = Millis(3_000);
/// Streams of our protocol that a node may open on one connection, and as many for blobs.
pub const STREAMS_PER_CONNECTION: usize = 1;
/// Streams of one connection, of both sides together; yamux ends a connection beyond. More than both may have, since yamux lets
/// go of one that was dropped a little later.
pub const STREAMS: usize = 1_280;
/// Streams that this node opens on one connection; who wants more waits. Each circuit to a node is one.
pub const STREAMS_OPEN: usize = 640;
/// Streams that the other side opens on one connection; more are refused. Each circuit that it opens is one.
pub const STREAMS_TAKEN: usize = 320;
/// Streams of one connection that are saying what they are for. More wait.
pub const STREAMS_BEGINNING: usize = 32;
/// Streams of one connection that begin while others are not forgotten yet; beyond, it ends. Twice those that yamux has: where
/// a socket always has something left to send, those are not forgotten of which nothing is said any more while bytes lie in them.
/// As many are known besides that are over on both sides.
pub const STREAMS_BEGUN: usize = 2 * STREAMS;
/// Bytes that may lie unread in the streams of one connection over TCP, WebSocket or a circuit, and [`STREAM_WINDOW`] more for
/// each that this node opened; beyond, it ends. Everything that a node was told it may send has room: in the circuits that
/// others open to it, whose sources may be slow, in those that it opens, in a few other streams, and by what windows grow.
pub const UNREAD_BYTES: usize = (CIRCUITS_PER_NODE + 16) * STREAM_WINDOW + WINDOW_GROWTH;
/// Bytes that the other side may send in a stream before any are read.
pub const STREAM_WINDOW: usize = 256 << 10;
/// The same as [`UNREAD_BYTES`], of all such connections. Beyond it, one of whoever holds most ends.
pub const UNREAD_BYTES_TOTAL: usize = 256 << 20;
/// What a connection holds is known to the others in steps of so many bytes.
pub const UNREAD_UNIT: usize = 4 << 10;
/// What it costs to hold a frame, besides its bytes. Against the bound of its connection that counts only beyond a frame for each
/// [`SHORT_FRAME`]: who answers pings in a circuit that nobody reads fills it with short ones.
pub const UNREAD_FRAME: usize = 64;
/// Bytes that honest frames have at least: a ping within a circuit has 30.
pub const SHORT_FRAME: usize = 24;
/// The longest frame of yamux, in bytes. Our own have 16 KiB.
pub const YAMUX_FRAME: usize = 256 << 10;
/// By how many bytes the windows of a connection's streams may grow together, where it carries much and the way is long.
pub const WINDOW_GROWTH: usize = 4 << 20;
/// Bytes that may lie unread in a stream over QUIC, as many as [`STREAM_WINDOW`],
pub const QUIC_STREAM_UNREAD: u32 = 256 << 10;
/// and in all streams of such a connection: beyond, all of it waits, pings too, so that slow circuits must not fill it.
pub const QUIC_UNREAD: u32 = 24 << 20;
/// The longest write on a WebRTC data channel, framing not counted. Native libp2p-webrtc kills a stream on a message
/// above 8 KiB.
pub const DATA_CHANNEL_WRITE: usize = (8 << 10) - 64;

/// Bytes that a tab keeps unread of one data channel. Data channels have no back-pressure towards the sender; beyond
/// this the stream breaks.
pub const DATA_CHANNEL_UNREAD: usize = 4 << 20;
/// Bytes that may wait inside the browser to leave through one data channel; a writer waits beyond it.
pub const DATA_CHANNEL_UNSENT: u32 = 1 << 20;
/// A waiting writer goes on once so few bytes wait.
pub const DATA_CHANNEL_LOW: u32 = 256 << 10;
/// Data channels that the other side has opened and the connection has not taken yet.
pub const DATA_CHANNELS_WAITING: usize = 16;
/// How much later than the WebSocket a tab dials webrtc-direct. A WebSocket that answers at once is the better link:
/// it carries more and shows at once when the other side dies.
pub const WEBRTC_DELAY: Duration = Duration::from_millis(250);
/// WebRTC connections that a tab dials in its life. Chromium refuses more than about 500 that it has not yet collected.
pub const WEBRTC_DIALS: u32 = 300;

/// Bytes that a tab keeps unread of one WebSocket. The windows of yamux bound what an honest node sends; beyond this the
/// connection ends.
pub const WEBSOCKET_UNREAD: usize = 64 << 20;
/// Bytes that may wait inside the browser to leave through one WebSocket; a writer waits beyond it.
pub const WEBSOCKET_UNSENT: u32 = 4 << 20;
/// How soon a waiting writer looks whether the browser has sent.
pub const WEBSOCKET_LOOK_AGAIN: Duration = Duration::from_millis(5);

// The loop.

/// Inputs that the loop takes from one source before it looks at the others.
pub const TURN: usize = 64;
/// How often the loop looks for stalled, idle and spare connections.
pub const MAINTENANCE_INTERVAL: Millis = Millis(250);
/// Least time between two rounds of events to listeners. The first after a quiet time goes at once.
pub const EVENTS_INTERVAL: Millis = Millis(50);
/// The same where a job has ended, which somebody may wait for.
pub const ENDS_INTERVAL: Millis = Millis(5);
/// Listeners for events.
pub const LISTENERS: usize = 1_024;
/// How long a stopping node waits until its goodbye is written, looking this often, and how long it gives it to arrive.
pub const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);
/// See [`GOODBYE_TIMEOUT`].
pub const GOODBYE_LOOK: Duration = Duration::from_millis(10);
/// See [`GOODBYE_TIMEOUT`].
pub const GOODBYE_ARRIVES: Duration = Duration::from_millis(100);
/// Bytes of events that may lie in the queue of a listener who has not taken them, besides one event more.
pub const LISTENER_UNREAD: usize = 128 << 10;
/// Jobs that a listener may have yet to hear of; one that is further behind is let go and begins anew,
pub const LISTENER_BEHIND: usize = 16_384;
/// and so is whoever is furthest behind while all together are further behind than this.
pub const LISTENERS_BEHIND: usize = 262_144;
/// Jobs that the loop looks at before others' questions have their turn, when a list is asked for.
pub const LOOKED_AT: usize = 512;
/// How long a stopping node waits for its connections to close.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(1);

// Circuits: what a seed relays for nodes that cannot be dialled.

/// Reservations in all (one a browser or NATed node).
pub const RESERVATIONS: usize = 4_096;
/// Reservations of one node.
pub const RESERVATIONS_PER_NODE: usize = 4;
/// How long a reservation lasts; clients renew it.
pub const RESERVATION_DURATION: Duration = Duration::from_secs(3_600);
/// Reservations that one node may ask for in [`RATE_INTERVAL`] times this number, that is 60 at once and one more
/// every 2 s.
pub const RESERVATION_RATE: u32 = 60;
/// Reservations of the nodes of one prefix. All browsers of a household share an address, so it is wide.
pub const RESERVATIONS_PER_PREFIX: usize = 1_024;
/// Circuits that the nodes of one prefix open, those included that wait for their destination's answer.
pub const CIRCUITS_PER_PREFIX: usize = 2_048;
/// Circuits in all.
pub const CIRCUITS: usize = 8_192;
/// Circuits that one node opens. Those that others open to it do not count.
pub const CIRCUITS_PER_NODE: usize = 64;
/// How long the source of a circuit may leave unread that it is there, before its connection is closed: a tab on a slow line
/// reads what else waits for it first, in one queue,
pub const CIRCUIT_ACCEPT_TIMEOUT: Duration = Duration::from_secs(60);
/// and how often that is looked at.
pub const CIRCUIT_ACCEPT_LOOK: Duration = Duration::from_secs(1);
/// Requests for circuits that one connection of a destination is told of and has not answered; libp2p's relay would drop what
/// is beyond that, and never say so. The others wait.
pub const CIRCUIT_REQUESTS: usize = 10;
/// How long a destination may leave such a request unanswered, before its connection is closed. libp2p ends what it has not
/// dropped within 70 seconds.
pub const CIRCUIT_REQUEST_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a request waits until its destination is asked, after others: a source gives its dial up after [`CONNECT_TIMEOUT`].
pub const CIRCUIT_REQUEST_TURN: Duration = Duration::from_secs(20);
/// Requests that ended so while both connections are there; beyond, those of whoever has most end. libp2p's relay keeps some
/// hundred bytes of each.
pub const CIRCUIT_REQUESTS_ENDED: usize = 16_384;
/// Circuits that one node may open at once; one more every [`RATE_INTERVAL`].
pub const CIRCUIT_RATE: u32 = 240;
/// How long it takes until one more reservation or circuit may be asked for, once the burst is used up.
pub const RATE_INTERVAL: Duration = Duration::from_secs(2);
/// How long a circuit may last. Jobs run for hours.
pub const CIRCUIT_DURATION: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Bytes that a circuit may carry; 0 is no limit. Compute carries data.
pub const CIRCUIT_BYTES: u64 = 0;
