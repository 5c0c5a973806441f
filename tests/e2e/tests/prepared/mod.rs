//! Kernels that are prepared once for many calls, in a tab.

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use p2pnet_e2e::{relay::Relay, stage::Stage};
use p2pnet_test_kernels::prepared::{by_table, table};
use serde_json::{Value, json};

use super::JOB;

/// Calls of the job, and bytes of each.
const CALLS: usize = 400;
const BYTES: usize = 16;

#[tokio::test]
async fn a_tab_prepares_a_kernel_once_a_core_and_computes_with_it_what_a_native_node_does() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let shared = b"what a model or a table is made of".to_vec();
        let input: Vec<u8> = (0..CALLS * BYTES).map(|at| (at * 31 % 251).to_le_bytes()[0]).collect();
        let split = format!("bytes:{BYTES}");
        let job = json!({"kind":"kernel","kernel":STANDARD.encode(table()),"common":STANDARD.encode(&shared),
            "input":STANDARD.encode(&input),"split":split,"merge":"concat"});
        let expected = json!(STANDARD.encode(by_table(&shared, &input)));

        let donor = stage.people[0].become_donor(stage.relay.url()).await?;
        let id = stage.relay.submit(&job).await?;
        ensure!(stage.relay.result(&id, JOB).await? == expected, "a tab computed something else");
        let in_tab = stage.relay.job(&id).await?;
        ensure!(in_tab["nodes"][0]["node"] == donor.as_str() && in_tab["nodes"][0]["tasks"] == CALLS, "{in_tab:#}");
        ensure!(engines(&in_tab) == ["browser"], "computed by {:?}: {in_tab:#}", engines(&in_tab));
        let cores = lent_cores(&stage.relay, &donor).await?;
        let (instances, gas_in_tab) = prepared(&in_tab)?;
        ensure!(
            (1..=cores).contains(&instances),
            "{CALLS} calls on {cores} cores were prepared {instances} times: {in_tab:#}"
        );

        let native = Relay::with_provider()?;
        let id = native.submit(&job).await?;
        ensure!(native.result(&id, JOB).await? == expected, "a native node computed something else");
        let natively = native.job(&id).await?;
        ensure!(engines(&natively).contains(&"wasmtime"), "computed by {:?}: {natively:#}", engines(&natively));
        ensure!(natively["progress"]["gas"] == in_tab["progress"]["gas"], "the gas differs: {natively:#} {in_tab:#}");
        let (prepared_natively, gas_natively) = prepared(&natively)?;
        // At most a core has one on each engine: on wasmi while wasmtime compiles, and on wasmtime.
        ensure!(
            (1..=2).contains(&prepared_natively),
            "{CALLS} calls on one core were prepared {prepared_natively} times: {natively:#}"
        );
        ensure!(
            gas_natively * instances == gas_in_tab * prepared_natively,
            "an instance took {gas_in_tab} / {instances} of gas in a tab, and {gas_natively} / {prepared_natively} natively"
        );
        println!(
            "{CALLS} calls: {instances} instances in a tab that lends {cores} cores, {prepared_natively} natively"
        );
        Ok(())
    };
    Stage::new(1).await?.play(story).await
}

/// The engines of the attempts that were accepted, each once.
fn engines(job: &Value) -> Vec<&str> {
    let attempts = job["attempts"].as_array().into_iter().flatten();
    let accepted = attempts.filter(|attempt| attempt["state"] == "accepted");
    let mut engines: Vec<&str> = accepted.filter_map(|attempt| attempt["engine"].as_str()).collect();
    engines.sort_unstable();
    engines.dedup();
    engines
}

/// Instances that were prepared for a job, and the gas of that.
fn prepared(job: &Value) -> Result<(u64, u64)> {
    let prepared = &job["progress"]["prepared"];
    let number =
        |name: &str| prepared[name].as_u64().with_context(|| format!("no {name} of what was prepared: {job:#}"));
    Ok((number("instances")?, number("gas")?))
}

async fn lent_cores(relay: &Relay, node: &str) -> Result<u64> {
    let network = relay.get("/api/v1/nodes").await?;
    let nodes = network["nodes"].as_array().into_iter().flatten();
    let lends = nodes.filter(|other| other["node"] == node).find_map(|other| other["offer"]["cores"].as_u64());
    lends.with_context(|| format!("{node} lends nothing: {network:#}"))
}
