//! Measures how many jobs a second a relay takes, and on Linux how much processor time each costs it: small ones, over many
//! connections that stay open. Run it by `cargo xtask bench submissions`; further relays on the command line are measured in
//! turn with the built one, which is the only way to compare two on a machine that others use too.
#![expect(clippy::unwrap_used, clippy::expect_used)]

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

/// What Linux counts processor time in.
const TICK_MICROS: f64 = 10_000.0;

const JOB: &str = r#"{"kind":"range_reduce","start":1,"end":1000,"map":"x","reduce":"sum"}"#;

#[tokio::main]
async fn main() {
    p2pnet_native::install_crypto();
    let relays: Vec<String> = env::args().skip(1).collect();
    assert!(!relays.is_empty(), "name the program of a relay");
    let mut rates = vec![Vec::new(); relays.len()];
    let mut costs = vec![Vec::new(); relays.len()];
    for _ in 0..TURNS {
        for ((program, rates), costs) in relays.iter().zip(&mut rates).zip(&mut costs) {
            let (rate, cost) = measure(program).await;
            rates.push(rate);
            costs.extend(cost);
        }
    }
    for ((program, rates), costs) in relays.iter().zip(&mut rates).zip(&mut costs) {
        rates.sort_by(f64::total_cmp);
        costs.sort_by(f64::total_cmp);
        let (least, median, most) = (rates[0], rates[TURNS / 2], rates[TURNS - 1]);
        let cost =
            costs.get(TURNS / 2).map_or(String::new(), |micros| format!(", {micros:.0} µs of the processor each"));
        println!("{median:.0} submissions/s ({least:.0} to {most:.0}){cost}: {program}");
    }
}

/// Accepted jobs a second, and microseconds of the relay's processor time for each, the time for clearing up left out.
async fn measure(program: &str) -> (f64, Option<f64>) {
    let folder = env::temp_dir().join(format!("p2pnet-submissions-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    let (mut relay, url) = start(program, folder.to_str().unwrap());
    let http = Client::new();
    let jobs = format!("{url}api/v1/jobs");
    let (mut spent, mut worked) = (Duration::ZERO, Some(0));
    for _ in 0..BURSTS {
        let (began, before) = (Instant::now(), ticks(relay.id()));
        let ids: Vec<String> =
            stream::iter(0..BURST).map(|_| post(&http, &jobs)).buffer_unordered(CONNECTIONS).collect().await;
        spent += began.elapsed();
        worked = worked.zip(before).zip(ticks(relay.id())).map(|((worked, before), after)| worked + after - before);
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
    let jobs = (BURSTS * BURST) as f64;
    (jobs / spent.as_secs_f64(), worked.map(|ticks| ticks as f64 * TICK_MICROS / jobs))
}

/// How much a process worked so far, where the system tells.
fn ticks(process: u32) -> Option<u64> {
    let about = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the name, which may hold anything: user and system time are the 12th and 13th.
    let fields: Vec<&str> = about.rsplit(')').next()?.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
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
