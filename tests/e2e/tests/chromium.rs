//! What a person does, each in one sentence, in real Chromium against the real relay.
#![allow(clippy::unwrap_used, clippy::panic)]

use p2pnet_e2e::browser::Browser;

#[tokio::test]
async fn a_console_error_is_noticed() {
    let mut browser = Browser::headless().await.unwrap();
    browser.open("data:text/html,<script>console.error('as planned')</script>").await.unwrap();
    assert!(browser.no_errors().await.unwrap_err().to_string().contains("as planned"));
    browser.no_errors_but(&["as planned"]).await.unwrap();
}
