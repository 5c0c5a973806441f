//! What a webrtc-direct connection lives in: a runtime on a thread of its own, which ends everything that was begun in it.
//! Nobody is left then to tell those who read and write the connection's streams, so the streams are told here: they would
//! wait for ever, with all that they hold.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{
    AsyncRead, AsyncWrite, FutureExt,
    channel::oneshot,
    future::{FusedFuture, Shared},
};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::limits;

/// What the threads are called.
const NAME: &str = "webrtc";

/// Resolves when a house falls, or what it stands on.
pub(crate) type Fallen = Shared<oneshot::Receiver<()>>;

/// What a thread is to do.
type Work = Box<dyn FnOnce() + Send>;

/// A runtime on a thread of its own. Dropped, it ends every task that was begun in it, and the streams that live in it.
pub(crate) struct House {
    runtime: Handle,
    fallen: Fallen,
    _standing: oneshot::Sender<()>,
}

impl House {
    /// A new one.
    ///
    /// # Errors
    /// The system has no thread or no file left for it.
    pub(crate) async fn build() -> io::Result<Self> {
        Self::build_by(begin_thread).await
    }

    async fn build_by(begin: impl FnOnce(Work) -> io::Result<()>) -> io::Result<Self> {
        let (standing, fallen) = oneshot::channel::<()>();
        let fallen = fallen.shared();
        let until = fallen.clone();
        let (give, given) = oneshot::channel::<io::Result<Handle>>();
        // Built where it runs: dropped here, because the thread could not begin, a runtime would panic.
        begin(Box::new(move || match new_runtime() {
            Ok(runtime) => {
                // Whoever wanted it may be gone; then the house has fallen already.
                let _ = give.send(Ok(runtime.handle().clone()));
                // Ends when nobody holds the other end.
                let _ = runtime.block_on(until);
            }
            Err(error) => {
                let _ = give.send(Err(error));
            }
        }))?;
        let runtime = given.await.map_err(io::Error::other)??;
        Ok(Self { runtime, fallen, _standing: standing })
    }

    /// Where what belongs to the house is begun.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// A stream that ends with the house, and with the ground that it stands on.
    pub(crate) fn stream<S>(&self, stream: S, ground: Fallen) -> HousedStream<S> {
        HousedStream { stream, read_until: self.fallen.clone(), written_until: self.fallen.clone(), ground }
    }
}

fn begin_thread(work: Work) -> io::Result<()> {
    std::thread::Builder::new().name(NAME.to_owned()).spawn(work).map(|_| ())
}

fn new_runtime() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        // The library writes each packet down on a thread beside, which would stay for ten seconds after each.
        .max_blocking_threads(limits::WEBRTC_THREADS - 1)
        .thread_keep_alive(limits::WEBRTC_THREAD_IDLE)
        .thread_name(NAME)
        .build()
}

/// A stream that ends with the house that it lives in.
pub(crate) struct HousedStream<S> {
    stream: S,
    /// Two, because who reads and who writes may wait in different tasks.
    read_until: Fallen,
    written_until: Fallen,
    /// What the house stands on.
    ground: Fallen,
}

/// An error when the house has fallen; else whoever asks is woken then.
fn standing(fallen: &mut Fallen, cx: &mut Context<'_>) -> io::Result<()> {
    // What has ended may not be asked again.
    if fallen.is_terminated() || fallen.poll_unpin(cx).is_ready() {
        return Err(ended());
    }
    Ok(())
}

fn has_fallen(fallen: &Fallen) -> bool {
    fallen.is_terminated() || fallen.clone().now_or_never().is_some()
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "its connection has ended")
}

impl<S: AsyncRead + Unpin> AsyncRead for HousedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        standing(&mut self.read_until, cx)?;
        let read = std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        // The library gives a stream whose sockets are gone the same end as one that was written to its end.
        if read == 0 && !into.is_empty() && [&self.read_until, &self.ground].into_iter().any(has_fallen) {
            return Poll::Ready(Err(ended()));
        }
        Poll::Ready(Ok(read))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HousedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        standing(&mut self.written_until, cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        standing(&mut self.written_until, cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        standing(&mut self.written_until, cx)?;
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use futures::{AsyncReadExt, AsyncWriteExt, future::join_all};
    use tokio_util::compat::TokioAsyncReadCompatExt;

    use super::*;

    #[tokio::test]
    async fn whoever_reads_or_writes_a_stream_hears_that_its_house_has_fallen() {
        let house = House::build().await.unwrap();
        // Nothing comes, and no more than a byte is taken.
        let (ours, _theirs) = tokio::io::duplex(1);
        let (_ground, firm) = oneshot::channel();
        let (mut read, mut write) = house.stream(ours.compat(), firm.shared()).split();
        let reading = tokio::spawn(async move {
            let first = read.read(&mut [0; 8]).await.map(|_| ());
            [first, read.read(&mut [0; 8]).await.map(|_| ())]
        });
        let writing = tokio::spawn(async move {
            let first = write.write_all(&[0; 8]).await;
            [first, write.close().await]
        });
        tokio::task::yield_now().await;
        drop(house);
        let ends = tokio::time::timeout(Duration::from_secs(60), futures::future::join(reading, writing)).await;
        let (read, written) = ends.unwrap();
        for end in read.unwrap().into_iter().chain(written.unwrap()) {
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        }
    }

    #[tokio::test]
    async fn a_stream_that_its_port_has_ended_is_not_read_to_its_end() {
        for goes in [true, false] {
            let house = House::build().await.unwrap();
            let (ours, theirs) = tokio::io::duplex(1);
            let (ground, firm) = oneshot::channel();
            let mut stream = house.stream(ours.compat(), firm.shared());
            if goes {
                ground.send(()).unwrap();
            }
            drop(theirs);
            let read = stream.read_to_end(&mut Vec::new()).await.map_err(|error| error.kind());
            assert_eq!(read, if goes { Err(io::ErrorKind::ConnectionReset) } else { Ok(0) });
        }
    }

    #[tokio::test]
    async fn a_thread_that_cannot_be_had_is_an_error() {
        let refused = |_: Work| Err(io::Error::from(io::ErrorKind::WouldBlock));
        assert_eq!(House::build_by(refused).await.err().unwrap().kind(), io::ErrorKind::WouldBlock);
        // One that begins and ends at once.
        let dropped = |work: Work| {
            drop(work);
            Ok(())
        };
        assert!(House::build_by(dropped).await.is_err());
    }

    #[tokio::test]
    async fn all_that_blocks_in_a_house_has_one_thread() {
        let house = House::build().await.unwrap();
        let running = Arc::new(AtomicUsize::new(0));
        let works = (0..32).map(|_| {
            let running = running.clone();
            house.runtime().spawn_blocking(move || {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                std::thread::sleep(Duration::from_millis(1));
                running.fetch_sub(1, Ordering::SeqCst);
                now
            })
        });
        let most = join_all(works).await.into_iter().map(Result::unwrap).max();
        assert_eq!(most, Some(limits::WEBRTC_THREADS - 1));
    }
}
