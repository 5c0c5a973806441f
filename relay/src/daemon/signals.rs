//! Ctrl-C and SIGTERM: the first asks to stop, the second does not wait.

use tokio_util::sync::CancellationToken;

/// A token that the first signal cancels; the second one ends the process at once.
pub fn stop_token() -> CancellationToken {
    let token = CancellationToken::new();
    let stopping = token.clone();
    tokio::spawn(async move {
        signal().await;
        eprintln!("stopping; press Ctrl-C again to stop at once");
        stopping.cancel();
        signal().await;
        std::process::exit(130);
    });
    token
}

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
