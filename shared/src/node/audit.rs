//! What always holds inside a node, whatever it was told: counts and sets agree, bounds are kept. Tests look after every
//! fact; nothing in production does. Each role looks at its own books.

use super::{Node, core::Core};

impl Node {
    /// Looks whether the node's books agree with each other and keep their bounds; says what does not. For tests: it
    /// looks at everything.
    pub fn audit(&self) -> Result<(), String> {
        self.core.audit()?;
        self.broker.audit()?;
        self.provider.audit()?;
        self.requester.audit()?;
        Ok(self.core.blobs.audit_pins(self.provider.pins().chain(self.requester.pins()))?)
    }

    /// How many entries [`Node::audit`] looks at, about.
    pub fn audited_entries(&self) -> usize {
        self.provider.audited_entries() + self.requester.audited_entries()
    }
}

/// What does not hold, if it does not.
pub(super) fn holds(right: bool, what: &str) -> Result<(), String> {
    if right { Ok(()) } else { Err(what.to_owned()) }
}

impl Core {
    fn audit(&self) -> Result<(), String> {
        self.manners.audit()?;
        self.blobs.audit()?;
        holds(self.loopback.is_empty(), "a message to this node itself was not taken")
    }
}
