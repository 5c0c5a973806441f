//! HTTP: the API, the page, and the door for WebSockets, all on one port. One file for each noun.

pub mod address;
pub mod answer;
pub mod body;
pub mod compress;
pub mod docs;
pub mod events;
pub mod health;
pub mod idempotency;
pub mod jobs;
pub mod kernels;
pub mod layers;
pub mod limits;
pub mod list;
pub mod listener;
pub mod metrics;
pub mod nodes;
pub mod openapi;
pub mod p2p;
pub mod page;
pub mod submission;
pub mod wait;
pub mod well_known;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{any, get, post, put},
    serve::ListenerExt as _,
};
use p2pnet_net::{WebSocketDoor, handle::Handle};
use tokio::sync::{Semaphore, watch};
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
    /// Jobs being received or read now.
    pub uploads: Arc<Semaphore>,
    /// Event listeners connected now.
    pub listeners: Arc<Semaphore>,
    /// WebSockets connected now.
    pub sockets: limits::Places,
    /// The path below which everything stands, unless a proxy says another.
    pub base: address::Base,
    /// Questions that wait for the end of a job.
    pub waiters: limits::Places,
    /// Who tells them of it.
    pub ends: wait::Ends,
    /// What `/metrics` counts.
    pub metrics: metrics::Metrics,
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
        stopping: CancellationToken,
    ) -> Arc<Self> {
        let Entrance { external, base } = entrance;
        Arc::new(Self {
            ends: wait::Ends::of(&handle),
            waiters: limits::Places::new(limits::WAITERS, limits::WAITERS_PER_ADDRESS),
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
            uploads: Arc::new(Semaphore::new(limits::UPLOADS_AT_ONCE)),
            listeners: Arc::new(Semaphore::new(limits::LISTENERS)),
            sockets: limits::Places::new(limits::SOCKETS, limits::SOCKETS_PER_ADDRESS),
            metrics: metrics::Metrics::default(),
        })
    }
}

/// Every address that the relay answers.
pub fn router(app: Arc<App>) -> Router {
    let hold = || middleware::from_fn_with_state(Arc::clone(&app), wait::hold);
    let api = Router::new()
        .route("/api/v1/jobs", post(jobs::create).get(list::list))
        .route("/api/v1/jobs/{id}", get(jobs::describe).delete(jobs::stop).layer(hold()))
        .route("/api/v1/jobs/{id}/result", get(jobs::result).layer(hold()))
        .route("/api/v1/kernels", put(kernels::keep))
        .route("/api/v1/nodes", get(nodes::list))
        .route("/api/v1/events", get(events::listen))
        .route("/api/v1/openapi.json", get(openapi::document))
        .route("/api", any(answer::not_found))
        .route("/api/{*rest}", any(answer::not_found))
        .route("/healthz", get(health::check))
        .route("/.well-known/p2pnet.json", get(well_known::document))
        // Before the layer, so that it sees OPTIONS, which no endpoint takes.
        .method_not_allowed_fallback(answer::method_not_allowed)
        .layer(layers::cross_origin());
    let rest = Router::new()
        .route("/api/v1/docs", get(docs::page))
        .route("/metrics", get(metrics::text))
        .route("/p2p", get(p2p::enter))
        .method_not_allowed_fallback(answer::method_not_allowed)
        .fallback(page::file);
    let routes = api
        .merge(rest)
        .layer(compress::answers())
        .layer(DefaultBodyLimit::max(limits::MOST_BODY_BYTES))
        .layer(layers::catch_panics())
        .layer(middleware::from_fn_with_state(Arc::clone(&app), layers::observe))
        .with_state(Arc::clone(&app));
    // Around the routes: it decides which of them a request means.
    Router::new().fallback_service(routes).layer(middleware::from_fn_with_state(app, address::resolve))
}

/// Serves until [`App::stopping`] is cancelled, then ends streams and returns once the last answer is out.
pub async fn serve(listener: tokio::net::TcpListener, app: Arc<App>) -> std::io::Result<()> {
    let stopping = app.stopping.clone();
    let service = router(app).into_make_service_with_connect_info::<SocketAddr>();
    // The closure does nothing: axum knows the peer's address of such listeners only.
    let listener = listener::Bounded::new(listener).tap_io(|_| {});
    axum::serve(listener, service).with_graceful_shutdown(stopping.cancelled_owned()).await
}
