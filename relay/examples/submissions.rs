//! Measures how many jobs a second a relay takes: small ones, over many connections that stay open. Run it by
//! `cargo xtask bench submissions`; further relays on the command line are measured in turn with the built one, which is
//! the only way to compare two on a machine that others use too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use reqwest::{Client, StatusCode};

/// Connections at once.
const CONNECTIONS: usize = 64;
/// Jobs of one burst: fewer than a relay takes at once.
const BURST: usize = 192;
/// Bursts of one turn, and turns.
const BURSTS: usize = 10;
const TURNS: usize = 5;

const JOB: &str = r#"{"kind":"range_reduce","start":1,"end":1000,"map":"x","reduce":"sum"}"#;

#[tokio::main]
async fn main() {
    p2pnet_native::install_crypto();
    let relays: Vec<String> = env::args().skip(1).collect();
    assert!(!relays.is_empty(), "name the program of a relay");
    let mut rates = vec![Vec::new(); relays.len()];
    for _ in 0..TURNS {
        for (program, rates) in relays.iter().zip(&mut rates) {
            rates.push(measure(program).await);
        }
    }
    for (program, rates) in relays.iter().zip(&mut rates) {
        rates.sort_by(f64::total_cmp);
        let (least, median, most) = (rates[0], rates[TURNS / 2], rates[TURNS - 1]);
        println!("{median:.0} submissions/s ({least:.0} to {most:.0}): {program}");
    }
}

/// Accepted jobs a second, the time for clearing up left out.
async fn measure(program: &str) -> f64 {
    let folder = env::temp_dir().join(format!("p2pnet-submissions-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    let (mut relay, url) = start(program, folder.to_str().unwrap());
    let http = Client::new();
    let jobs = format!("{url}api/v1/jobs");
    let mut spent = Duration::ZERO;
    for _ in 0..BURSTS {
        let began = Instant::now();
        let ids: Vec<String> =
            stream::iter(0..BURST).map(|_| post(&http, &jobs)).buffer_unordered(CONNECTIONS).collect().await;
        spent += began.elapsed();
        // Cancels, then removes.
        for _ in 0..2 {
            let stop = |id: &String| http.delete(format!("{jobs}/{id}")).send();
            stream::iter(&ids)
                .map(stop)
                .buffer_unordered(CONNECTIONS)
                .for_each(async |answer| _ = answer.unwrap())
                .await;
        }
    }
    relay.kill().unwrap();
    relay.wait().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    (BURSTS * BURST) as f64 / spent.as_secs_f64()
}

async fn post(http: &Client, jobs: &str) -> String {
    let answer = http.post(jobs).body(JOB).send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert_eq!(status, StatusCode::ACCEPTED, "{text}");
    serde_json::from_str::<serde_json::Value>(&text).unwrap()["id"].as_str().unwrap().to_owned()
}

/// A relay that lends nothing, and where it is.
fn start(program: &str, folder: &str) -> (Child, String) {
    let mut child = Command::new(program)
        .args(["relay", "--host", "127.0.0.1", "--port", "0", "--p2p-port", "0", "--webrtc-port", "0"])
        .args(["--no-provider", "--data-dir", folder])
        .env("RUST_LOG", "warn")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = lines.next().expect("it ended before it was ready").unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    (child, url)
}
