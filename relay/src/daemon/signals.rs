//! Ctrl-C and SIGTERM: the first asks to stop, the second does not wait. And the signal of a file that may not grow, which
//! is no reason to die: the write fails, and whoever wrote says so.

use tokio_util::sync::CancellationToken;

use crate::cli::output::aside;

/// A token that the first signal cancels; the second one ends the process at once.
pub fn stop_token() -> CancellationToken {
    let token = CancellationToken::new();
    let stopping = token.clone();
    outlive_full_files();
    tokio::spawn(async move {
        signal().await;
        stopping.cancel();
        aside("stopping; press Ctrl-C again to stop at once");
        signal().await;
        std::process::exit(130);
    });
    token
}

/// A listener takes the place of the signal's default action, the end of the process.
#[cfg(target_os = "linux")]
fn outlive_full_files() {
    use tokio::signal::unix::{SignalKind, signal};
    if let Err(error) = signal(SignalKind::from_raw(libc::SIGXFSZ)) {
        tracing::warn!(%error, "a bound on the size of files would end this process");
    }
}

#[cfg(not(target_os = "linux"))]
fn outlive_full_files() {}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn signal() {
    let _ = tokio::signal::ctrl_c().await;
}
