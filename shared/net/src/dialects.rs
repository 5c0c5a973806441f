//! The versions of the protocol that a node speaks, by the names under which libp2p negotiates them. Each stream has its
//! own: both ends take the first of the opener's that the other knows too.

use libp2p::StreamProtocol;
use p2pnet_shared::wire::Version;

/// All that a node speaks, what it likes best first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialects(Vec<(StreamProtocol, Version)>);

impl Default for Dialects {
    /// All versions of this build.
    fn default() -> Self {
        Self::of(Version::spoken())
    }
}

impl Dialects {
    /// These versions, under their own names.
    pub fn of(versions: impl IntoIterator<Item = Version>) -> Self {
        Self(versions.into_iter().map(|version| (StreamProtocol::new(version.protocol()), version)).collect())
    }

    /// One version under another name: what a build speaks that knows nothing of this one.
    pub fn renamed(protocol: &'static str, version: Version) -> Self {
        Self(vec![(StreamProtocol::new(protocol), version)])
    }

    /// Their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = StreamProtocol> {
        self.0.iter().map(|(name, _)| name.clone())
    }

    /// The version of a stream of this name.
    pub(crate) fn version(&self, name: &StreamProtocol) -> Option<Version> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, version)| *version)
    }

    /// Whether parts of blobs may have a stream of their own: so it is from the version on that knows marks.
    pub(crate) fn has_blobs(&self) -> bool {
        self.0.iter().any(|(_, version)| version.knows_marks())
    }
}
