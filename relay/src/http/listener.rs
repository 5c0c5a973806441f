//! The HTTP port: who may be connected, and for how long without asking anything.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    extract::ConnectInfo,
    http::{HeaderValue, Request, Response, StatusCode, header},
    response::IntoResponse as _,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use p2pnet_shared::refusal::{Code, Refusal};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, Sleep, sleep},
};
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFutureOwned},
    task::TaskTracker,
};
use tower::ServiceExt as _;

use super::{
    answer::Refused,
    crowd::{Crowd, Place},
    limits,
    outbox::Cut,
    source::{Source, Trust},
};

/// A pause after an accept that failed, for want of file descriptors most likely.
const BREATH: Duration = Duration::from_millis(50);

/// The address of this machine that a connection came in at.
#[derive(Clone, Copy, Debug)]
pub struct ArrivedAt(pub IpAddr);

/// Serves until `stopping`, then returns once the last answer is out.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    crowd: Crowd,
    proxies: &Trust,
    stopping: CancellationToken,
) -> io::Result<()> {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopping.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                crowd.shrink();
                sleep(BREATH).await;
                continue;
            }
        };
        let source = Source::of(peer.ip());
        let Some(place) = crowd.enter(source, source.is_this_machine() || proxies.holds(peer.ip())) else {
            // Dropped, which closes it: there is nothing to spare for an answer.
            tracing::debug!(%peer, "a connection beyond the bounds");
            continue;
        };
        connections.spawn(connection(stream, peer, place, proxies.clone(), router.clone(), stopping.clone()));
    }
    connections.close();
    connections.wait().await;
    Ok(())
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    proxies: Trust,
    router: Router,
    stopping: CancellationToken,
) {
    // Small answers and WebSocket messages go at once.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection without TCP_NODELAY");
    }
    let Ok(local) = stream.local_addr() else { return };
    let place = Arc::new(place);
    let asked = Arc::new(AtomicBool::new(false));
    let cut = Cut::default();
    let io = TokioIo::new(Connection {
        stream,
        idle: Box::pin(sleep(limits::SILENCE)),
        active: Instant::now(),
        gone: Box::pin(place.gone()),
        place: Arc::clone(&place),
    });
    let service = {
        let (place, asked, cut) = (Arc::clone(&place), Arc::clone(&asked), cut.clone());
        service_fn(move |request: Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            let is_too_long = head_bytes(&request) > limits::MOST_HEAD_BYTES;
            let client = proxies.client(peer, request.headers());
            let source = Source::of(client);
            let has_room = place.busy_for(source, source.is_this_machine() || proxies.holds(client));
            let (router, place, cut) = (router.clone(), Arc::clone(&place), cut.clone());
            async move {
                if is_too_long {
                    return Ok(too_long().map(|body| Busy { body, _works: Some(Works(place)) }));
                }
                if !has_room {
                    return Ok(no_room().map(|body| Busy { body, _works: Some(Works(place)) }));
                }
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(ConnectInfo(peer));
                request.extensions_mut().insert(ArrivedAt(local.ip()));
                request.extensions_mut().insert(cut);
                let answer = router.oneshot(request).await?;
                // An upgraded connection works as long as it lives; others until the answer's body is out.
                let works = (answer.status() != StatusCode::SWITCHING_PROTOCOLS).then(|| Works(place));
                Ok::<_, std::convert::Infallible>(answer.map(|body| Busy { body, _works: works }))
            }
        })
    };
    let mut serving = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits::NEXT_REQUEST)
            .max_buf_size(limits::MOST_HEAD_BYTES)
            .serve_connection(io, service)
            .with_upgrades()
    );
    let mut first = pin!(sleep(limits::FIRST_REQUEST));
    let mut gone = pin!(place.gone());
    let mut stop = pin!(stopping.cancelled());
    let (mut may_be_late, mut is_stopping) = (true, false);
    loop {
        tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::trace!(%peer, %error, "a connection broke");
                }
                return;
            }
            () = gone.as_mut() => return,
            () = cut.0.cancelled() => {
                tracing::debug!(%peer, "an answer that was not read made room for others");
                return;
            }
            () = first.as_mut(), if may_be_late => {
                if !asked.load(Ordering::Relaxed) {
                    return;
                }
                may_be_late = false;
            }
            () = stop.as_mut(), if !is_stopping => {
                serving.as_mut().graceful_shutdown();
                is_stopping = true;
            }
        }
    }
}

/// Bytes of a request's head, without the spaces that may stand around its values. What comes at once is read as a whole
/// before anybody counts, so that more of it may be here than a connection keeps.
fn head_bytes<B>(request: &Request<B>) -> usize {
    const LINE: usize = "  HTTP/1.1\r\n".len();
    const FIELD: usize = ": \r\n".len();
    const END: usize = "\r\n".len();
    let uri = request.uri();
    let parts = [uri.scheme_str(), uri.authority().map(|authority| authority.as_str()), uri.query()];
    let separators = [3, 0, 1]; // `://` and `?`
    let rest = parts.iter().zip(separators).filter_map(|(part, more)| part.map(|part| part.len() + more));
    let line = LINE + request.method().as_str().len() + uri.path().len() + rest.sum::<usize>();
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD);
    line + fields.sum::<usize>() + END
}

/// The answer to a head that is too long, as bare as where its end is not here yet.
fn too_long() -> Response<Body> {
    let mut answer = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response();
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// The refusal of a connection too many of one who comes through a proxy.
fn no_room() -> Response<Body> {
    let message = "as many connections are open for your address, or your network, as it may have here";
    let refusal = Refusal::new(Code::RateLimited, message, "wait until some of your requests are answered");
    let mut answer = Refused(refusal).into_response();
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// Makes the connection idle when the answer is out.
struct Works(Arc<Place>);

impl Drop for Works {
    fn drop(&mut self) {
        self.0.idle();
    }
}

/// An answer's body, until whose end the connection works.
struct Busy {
    body: Body,
    _works: Option<Works>,
}

impl HttpBody for Busy {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// A connection that ends when nothing comes or goes for [`limits::SILENCE`].
struct Connection {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    active: Instant,
    /// Completes when the place was given to another, which ends an upgraded connection too.
    gone: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Free again when the connection ends, an upgraded one too.
    place: Arc<Place>,
}

impl Connection {
    /// Ready when nothing has come or gone for too long, or the place is another's.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.gone.as_mut().poll(cx).is_ready() {
            return Poll::Ready(io::ErrorKind::ConnectionAborted.into());
        }
        while self.idle.as_mut().poll(cx).is_ready() {
            let until = self.active + limits::SILENCE;
            if Instant::now() >= until {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            self.idle.as_mut().reset(until);
        }
        Poll::Pending
    }

    fn wrote(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match wrote {
            Poll::Ready(result) => {
                self.active = Instant::now();
                self.place.moved(result.as_ref().map_or(0, |bytes| *bytes));
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_silence(cx).map(Err),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Ready(read) => {
                self.active = Instant::now();
                self.place.moved(buffer.filled().len().saturating_sub(before));
                Poll::Ready(read)
            }
            Poll::Pending => self.poll_silence(cx).map(Err),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(cx, wrote)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::{super::crowd::Bounds, *};

    const BOUNDS: Bounds =
        Bounds { all: 5, per_network: 4, per_address: 2, waiting: 5, waiting_per_network: 5, waiting_per_address: 5 };

    /// A port behind which `/held` is counted and never answered, and `/` always; it believes this machine's proxies.
    async fn port(held: Arc<AtomicUsize>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let hold = move || {
            held.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<()>()
        };
        let router = Router::new().route("/", get(|| async { "here" })).route("/held", get(hold));
        let proxies = Trust::read(&["127.0.0.0/8".to_owned()]).unwrap();
        tokio::spawn(
            async move { serve(listener, router, Crowd::new(BOUNDS), &proxies, CancellationToken::new()).await },
        );
        at
    }

    async fn ask(at: SocketAddr, path: &str, client: &str) -> TcpStream {
        let mut stream = TcpStream::connect(at).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    async fn status(at: SocketAddr, client: &str) -> String {
        let mut head = [0; 12];
        ask(at, "/", client).await.read_exact(&mut head).await.unwrap();
        String::from_utf8(head[9..].to_vec()).unwrap()
    }

    #[tokio::test]
    async fn clients_behind_a_proxy_have_shares_of_their_own_and_who_holds_most_makes_room() {
        let counted = Arc::new(AtomicUsize::new(0));
        let at = port(Arc::clone(&counted)).await;
        let mut held = Vec::new();
        for client in ["192.0.2.1", "192.0.2.1", "192.0.2.2", "203.0.113.1", "203.0.113.2"] {
            held.push(ask(at, "/held", client).await);
            while counted.load(Ordering::Relaxed) < held.len() {
                tokio::task::yield_now().await;
            }
            if held.len() == 3 {
                assert_eq!(status(at, "192.0.2.1").await, "429", "it has its share");
                assert_eq!(status(at, "198.51.100.1").await, "200");
            }
        }
        assert_eq!(status(at, "198.51.100.1").await, "200", "all places are busy, and one is given up");
        let closed = held[0].read(&mut [0]).await;
        assert!(closed.is_err() || closed.is_ok_and(|bytes| bytes == 0), "of whoever held most");
    }
}
