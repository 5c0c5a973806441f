//! HTTP: the API, the page, and the door for WebSockets, all on one port. One file for each noun.

pub mod address;
pub mod answer;
pub mod browsers;
pub mod compress;
pub mod compressing;
pub mod crowd;
pub mod docs;
pub mod events;
pub mod forwarded;
pub mod health;
pub mod idempotency;
pub mod intake;
pub mod jobs;
pub mod kernels;
pub mod layers;
pub mod limits;
pub mod list;
pub mod listener;
pub mod metrics;
pub mod nodes;
pub mod openapi;
pub mod outbox;
pub mod owners;
pub mod p2p;
pub mod page;
pub mod preference;
pub mod result;
pub mod source;
pub mod submission;
pub mod texts;
pub mod turns;
pub mod unread;
pub mod wait;
pub mod well_known;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use axum::{
    Router,
    extract::{ConnectInfo, FromRequestParts, Request},
    http::request::Parts,
    middleware,
    routing::{any, get, post, put},
};
use p2pnet_net::{WebSocketDoor, handle::Handle};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::store::Store;

/// What all endpoints share.
pub struct App {
    /// The node.
    pub handle: Handle,
    /// What it keeps.
    pub store: Store,
    /// Where WebSockets go.
    pub door: WebSocketDoor,
    /// libp2p addresses as they stand now.
    pub addresses: watch::Receiver<Vec<String>>,
    /// IP addresses under which this machine is reached beyond its own interfaces.
    pub external: Vec<IpAddr>,
    /// Cancelled when the process begins to stop.
    pub stopping: CancellationToken,
    /// When the process began.
    pub started: Instant,
    /// Idempotency keys under which a job is being taken now.
    pub idempotency: idempotency::Keys,
    /// What one address may do.
    pub allowance: limits::Allowance,
    /// Who may ask, and as whom.
    pub owners: owners::Owners,
    /// The proxies that are believed.
    pub proxies: source::Trust,
    /// The web pages and names that are allowed.
    pub pages: browsers::Pages,
    /// Bodies on their way.
    pub intake: intake::Intake,
    /// Jobs and modules being read now.
    pub turns: turns::Turns,
    /// Modules that jobs may name without having them looked at again.
    pub sound: kernels::Sound,
    /// Results being looked through now, for the bytes in them.
    pub openings: turns::Turns,
    /// Those that were.
    pub surveyed: result::Surveyed,
    /// Lists of jobs being made now.
    pub listings: turns::Turns,
    /// Answers made whole that wait to be read.
    pub outbox: outbox::Outbox,
    /// What compresses answers now.
    pub encoders: compressing::Encoders,
    /// Connections to the HTTP port.
    pub connections: crowd::Crowd,
    /// Requests that were answered before their end.
    pub draining: crowd::Crowd,
    /// Event listeners connected now.
    pub listeners: crowd::Crowd,
    /// WebSockets connected now.
    pub sockets: crowd::Crowd,
    /// The path below which everything stands, unless a proxy says another.
    pub base: address::Base,
    /// Questions that wait for the end of a job.
    pub waiters: crowd::Crowd,
    /// Who tells them of it.
    pub ends: wait::Ends,
    /// What `/metrics` counts.
    pub metrics: metrics::Metrics,
}

/// Who may ask what: what the operator says about it.
pub struct Access {
    /// Whose jobs are whose.
    pub owners: owners::Owners,
    /// The proxies that are believed.
    pub proxies: source::Trust,
    /// The web pages and names that are allowed.
    pub pages: browsers::Pages,
}

/// How this relay is reached, where nobody can see it from inside.
pub struct Entrance {
    /// IP addresses beyond its own interfaces.
    pub external: Vec<IpAddr>,
    /// The path below which everything stands.
    pub base: address::Base,
}

impl App {
    /// An app around a running node.
    pub fn new(
        handle: Handle,
        store: Store,
        door: WebSocketDoor,
        addresses: watch::Receiver<Vec<String>>,
        entrance: Entrance,
        access: Access,
        stopping: CancellationToken,
    ) -> Arc<Self> {
        let Entrance { external, base } = entrance;
        let Access { owners, proxies, pages } = access;
        Arc::new(Self {
            ends: wait::Ends::of(&handle),
            waiters: crowd::Crowd::new(limits::WAITERS),
            base,
            handle,
            idempotency: idempotency::Keys::default(),
            store,
            door,
            addresses,
            external,
            stopping,
            started: Instant::now(),
            allowance: limits::Allowance::default(),
            owners,
            proxies,
            pages,
            intake: intake::Intake::default(),
            turns: turns::Turns::default(),
            sound: kernels::Sound::default(),
            openings: turns::Turns::default(),
            surveyed: result::Surveyed::default(),
            listings: turns::Turns::default(),
            outbox: outbox::Outbox::default(),
            encoders: compressing::Encoders::default(),
            connections: crowd::Crowd::new(limits::CONNECTIONS),
            draining: crowd::Crowd::new(limits::DRAINS),
            listeners: crowd::Crowd::new(limits::LISTENERS),
            sockets: crowd::Crowd::new(limits::SOCKETS),
            metrics: metrics::Metrics::default(),
        })
    }
}

/// Every address that the relay answers.
pub fn router(app: Arc<App>) -> Router {
    let hold = || middleware::from_fn_with_state(Arc::clone(&app), wait::hold);
    let plain = || middleware::from_fn(wait::without_query);
    let api = Router::new()
        .route("/api/v1/jobs", post(jobs::create).layer(plain()).get(list::list))
        .route("/api/v1/jobs/{id}", get(jobs::describe).delete(jobs::stop).layer(hold()))
        .route("/api/v1/jobs/{id}/result", get(result::result).layer(hold()))
        .route("/api/v1/jobs/{id}/result/{stream}", get(result::standard_stream).layer(hold()))
        .route("/api/v1/kernels", put(kernels::keep).layer(plain()))
        .route("/api/v1/nodes", get(nodes::list).layer(plain()))
        .route("/api/v1/events", get(events::listen).layer(plain()))
        .route("/api/v1/openapi.json", get(openapi::document))
        .route("/api", any(answer::not_found))
        .route("/api/{*rest}", any(answer::not_found))
        .route("/healthz", get(health::check))
        .route("/.well-known/p2pnet.json", get(well_known::document))
        .method_not_allowed_fallback(answer::method_not_allowed)
        // The first one is outside of all that refuses: a page that may ask may also read why it is refused.
        .layer((
            app.pages.cross_origin(),
            layers::catch_panics(),
            middleware::from_fn_with_state(Arc::clone(&app), layers::guard),
        ));
    let rest = Router::new()
        .route("/api/v1/docs", get(docs::page))
        .route("/metrics", get(metrics::text))
        .route("/p2p", get(p2p::enter))
        .method_not_allowed_fallback(answer::method_not_allowed)
        .fallback(page::file)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), browsers::check));
    // Together, and few: each request gets a copy of every layer, and of all those within it.
    let routes = api
        .merge(rest)
        .layer((
            middleware::from_fn_with_state(Arc::clone(&app), layers::observe),
            layers::catch_panics(),
            middleware::from_fn(layers::settle),
            middleware::from_fn_with_state(Arc::clone(&app), compressing::take_turns),
            compress::answers(),
            middleware::from_fn_with_state(Arc::clone(&app), compressing::find_place),
        ))
        .with_state(Arc::clone(&app));
    // Around the routes: it decides which of them a request means.
    Router::new().fallback_service(routes).layer(middleware::from_fn_with_state(app, address::resolve))
}

/// Whom a request counts for.
fn source_of(app: &App, request: &Request) -> source::Source {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0);
    source::Source::of(match peer {
        Some(peer) => app.proxies.client(peer, request.headers()),
        None => std::net::Ipv4Addr::UNSPECIFIED.into(),
    })
}

impl FromRequestParts<Arc<App>> for source::Source {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0);
        let unknown = std::net::Ipv4Addr::UNSPECIFIED.into();
        Ok(Self::of(peer.map_or(unknown, |peer| app.proxies.client(peer, &parts.headers))))
    }
}

impl FromRequestParts<Arc<App>> for owners::Asker {
    type Rejection = answer::Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, answer::Refused> {
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map_or(unknown, |peer| peer.0);
        Ok(app.owners.asker(&app.proxies, peer, &parts.headers)?)
    }
}

/// Serves until [`App::stopping`] is cancelled, then ends streams and returns once the last answer is out.
pub async fn serve(listener: tokio::net::TcpListener, app: Arc<App>) -> std::io::Result<()> {
    let (connections, stopping) = (app.connections.clone(), app.stopping.clone());
    listener::serve(listener, router(Arc::clone(&app)), connections, &app.proxies, stopping).await
}
