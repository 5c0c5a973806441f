//! `p2pnet node list`

use p2pnet_client::Client;
use p2pnet_shared::api::{NetworkView, Path};

use super::{
    failure::{Failure, word},
    output::{put, say},
    text,
};

/// Prints the nodes that the relay knows.
pub async fn list(client: &Client, json: bool) -> Result<(), Failure> {
    if json {
        say(client.nodes_text().await?)?;
        return Ok(());
    }
    let view: NetworkView = client.nodes().await?;
    let rows: Vec<Vec<String>> = view
        .nodes
        .iter()
        .map(|node| {
            let lends = match &node.offer {
                Some(offer) => format!("{} × {} %, {} idle", offer.cores, offer.cpu_percent, offer.idle_cores),
                None => "-".into(),
            };
            let path = match (&node.path, &node.transport) {
                (Some(Path::Direct), Some(transport)) => transport.clone(),
                (Some(Path::Direct), None) => "direct".into(),
                (Some(Path::Relayed { via: _ }), _) => "relayed".into(),
                (None, _) => "not connected".into(),
            };
            vec![
                node.node.to_string(),
                node.role.map_or_else(|| "-".into(), |role| word(&role)),
                lends,
                path,
                node.round_trip_millis.map_or_else(|| "-".into(), |millis| format!("{millis} ms")),
                node.agent.clone(),
            ]
        })
        .collect();
    say(format_args!("relay {} ({}), {} node(s) known", view.me, word(&view.role), view.nodes_total))?;
    if view.records_not_understood > 0 {
        say(format_args!(
            "{} record(s) of its store are damaged or of a later version; they are left as they are",
            view.records_not_understood
        ))?;
    }
    let lending = &view.provider.settings;
    if lending.lending {
        say(format_args!("it lends {} core(s), {} % of each", lending.cores, lending.cpu_percent))?;
    }
    if rows.is_empty() {
        say(format_args!("no other node is connected: open {} in a browser, or run `p2pnet node`", client.url()))?;
    } else {
        put(format_args!("{}", text::table(&["NODE", "ROLE", "LENDS (CORES)", "PATH", "ROUND TRIP", "AGENT"], &rows)))?;
    }
    Ok(())
}
