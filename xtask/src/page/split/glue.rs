//! Has the JavaScript that wasm-bindgen made know of a program's further parts.

use anyhow::{Result, ensure};

const GLUE: &str = include_str!("glue.js");

/// What is put in place of what, and how often that stands there.
const CHANGES: [(&str, &str, usize); 2] = [
    ("const imports = __wbg_get_imports();", "const imports = withParts(__wbg_get_imports());", 2),
    (
        "const { instance, module } = await __wbg_load(await module_or_path, imports);\n",
        "const { instance, module } = await __wbg_load(await module_or_path, imports);\n    await beforeStart(instance.exports);\n",
        1,
    ),
];

/// The JavaScript of a program whose further parts are in these files beside it.
pub(super) fn with_parts(script: &str, files: &[&str]) -> Result<String> {
    let mut script = script.to_owned();
    for (known, instead, times) in CHANGES {
        ensure!(
            script.matches(known).count() == times,
            "wasm-bindgen's JavaScript has changed: {known:?} is not in it"
        );
        script = script.replace(known, instead);
    }
    Ok(script + &GLUE.replace("PARTS", &format!("{files:?}")))
}
