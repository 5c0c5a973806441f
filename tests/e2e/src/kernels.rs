//! Kernels of a user's own, as a job carries them: in base64.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// A kernel that turns a-z into A-Z where they stand.
pub fn upper_case() -> String {
    STANDARD.encode(p2pnet_test_kernels::upper_case())
}

/// A kernel that never ends.
pub fn endless() -> String {
    STANDARD.encode(p2pnet_test_kernels::endless())
}
