//! Questions about the relay itself and the nodes around it.

use p2pnet_shared::api::{NetworkView, WellKnown};
use serde::{Deserialize, de::IgnoredAny};

use crate::{Client, Error};

/// What every answer about nodes has.
#[derive(Deserialize)]
struct Nodes {
    #[serde(rename = "nodes")]
    _nodes: Vec<IgnoredAny>,
}

impl Client {
    /// The nodes that the relay knows.
    ///
    /// # Errors
    /// The relay said no, or none answered.
    pub async fn nodes(&self) -> Result<NetworkView, Error> {
        self.get("api/v1/nodes").await
    }

    /// The same as the relay's own JSON, checked to be about nodes.
    ///
    /// # Errors
    /// As for [`Self::nodes`].
    pub async fn nodes_text(&self) -> Result<String, Error> {
        self.get_text::<Nodes>("api/v1/nodes").await
    }

    /// How nodes reach the relay.
    ///
    /// # Errors
    /// As for [`Self::nodes`].
    pub async fn well_known(&self) -> Result<WellKnown, Error> {
        self.get(".well-known/p2pnet.json").await
    }
}
