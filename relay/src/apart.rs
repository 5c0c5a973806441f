//! Tests of what holds for a whole process and for ever, such as fences and limits, each in a process of its own.
#![expect(clippy::unwrap_used)]

use std::{env, fs, path::Path, process::Command};

/// Where the process has its folder, which tells it that it is the one.
const FOLDER: &str = "P2PNET_TEST_APART";

/// Does `inside` in a process of its own, which is the test called `test` started again, with an empty folder; `afterwards`
/// then looks at what is left in that. To be all that the test does.
pub(crate) fn run(test: &str, inside: impl FnOnce(&Path), afterwards: impl FnOnce(&Path)) {
    if let Some(folder) = env::var_os(FOLDER) {
        return inside(Path::new(&folder));
    }
    let folder = env::temp_dir().join(format!("p2pnet-apart-{}-{}", test.replace("::", "-"), std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let other = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(FOLDER, &folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&other.stdout).into_owned() + &String::from_utf8_lossy(&other.stderr);
    assert!(other.status.success() && said.contains("1 passed"), "{said}");
    afterwards(&folder);
    fs::remove_dir_all(folder).unwrap();
}
