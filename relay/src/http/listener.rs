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
    http::{Request, StatusCode},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, Sleep, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use super::{
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
        connections.spawn(connection(stream, peer, place, router.clone(), stopping.clone()));
    }
    connections.close();
    connections.wait().await;
    Ok(())
}

async fn connection(stream: TcpStream, peer: SocketAddr, place: Place, router: Router, stopping: CancellationToken) {
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
        _place: Arc::clone(&place),
    });
    let service = {
        let (place, asked, cut) = (Arc::clone(&place), Arc::clone(&asked), cut.clone());
        service_fn(move |request: Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            place.busy();
            let (router, place, cut) = (router.clone(), Arc::clone(&place), cut.clone());
            async move {
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
    /// Free again when the connection ends, an upgraded one too.
    _place: Arc<Place>,
}

impl Connection {
    /// Ready when nothing has come or gone for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
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
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_silence(cx).map(Err),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Ready(read) => {
                self.active = Instant::now();
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
