//! The piece of the page that its workers run: it checks, rewrites and runs kernels. Brought up in the page itself, it
//! checks kernels that somebody wants to submit.

use p2pnet_shared::kernel::{GivenAs, check_given};
use wasm_bindgen::prelude::wasm_bindgen;

fn main() {
    p2pnet_browser::run_in_worker();
}

/// Why nodes cannot run a kernel that was given, or made of a program that was given, as a refusal in JSON; nothing if they can.
#[wasm_bindgen]
pub fn check(kernel: &[u8], is_program: bool) -> Option<String> {
    let given = if is_program { GivenAs::Program } else { GivenAs::Kernel };
    check_given(kernel, given).err().map(|refusal| serde_json::to_string(&refusal).unwrap_or_default())
}
