//! The hooks by which browser tests find things: the values of `data-testid`. Never rename one without its test.
//!
//! Routes: `/` Donate, `/jobs`, `/jobs/new`, `/jobs/<id>`, `/network`, `/about`.
//! `job-state` and `job-row` also carry `data-state` with the API's word (`queued`, `running`, …), `connected` carries
//! `data-connected` (`true`, `false`), `job-result` holds the result's JSON text, and `job-node` carries `data-node`.

/// The big button of Donate; `aria-pressed` says whether lending is on.
pub const DONATE_TOGGLE: &str = "donate-toggle";
/// The sentence below it: what runs, or why nothing does.
pub const DONATE_STATUS: &str = "donate-status";
/// Slider: cores.
pub const CORES: &str = "cores";
/// Slider: share of time in percent.
pub const SHARE: &str = "share";
/// How many tasks this tab has computed; the plain number is in `data-count`.
pub const TASKS_DONE: &str = "tasks-done";
/// The banner shown on battery.
pub const BANNER_BATTERY: &str = "banner-battery";
/// The button in it that lends all the same.
pub const BATTERY_OVERRIDE: &str = "battery-override";
/// The connection's state, in the header.
pub const CONNECTED: &str = "connected";
/// This node's id, in full, on Network.
pub const NODE_ID: &str = "node-id";
/// The banner of a page that has no version of the protocol in common with its relay.
pub const OTHER_VERSION: &str = "other-version";
/// The language switch.
pub const LANG_SWITCH: &str = "lang-switch";
/// The theme switch.
pub const THEME_SWITCH: &str = "theme-switch";
/// The tab of New job that takes JSON. Tabs of kinds: `tab-<kind>`.
pub const TAB_JSON: &str = "tab-json";
/// The text area in it.
pub const JOB_JSON: &str = "job-json";
/// The name of the file that was given for a field.
pub fn file(field: &str) -> String {
    format!("file-{field}")
}
/// The button of the example at this place, from 0, of the open tab.
pub fn example(place: usize) -> String {
    format!("example-{place}")
}
/// Unfolds the fields for name and labels. Every field of New job: `field-<name in JSON>`.
pub const NAMING: &str = "naming";
/// Submits the job of whichever tab is open.
pub const SUBMIT_JOB: &str = "submit-job";
/// What is wrong with the job as typed; absent when it is right.
pub const JOB_PROBLEM: &str = "job-problem";
/// The button that tries a few parts in this tab.
pub const DRY_RUN: &str = "dry-run";
/// What came of it.
pub const DRY_RUN_RESULT: &str = "dry-run-result";
/// One job in the list; carries `data-job`.
pub const JOB_ROW: &str = "job-row";
/// The job's state as a word.
pub const JOB_STATE: &str = "job-state";
/// Why the job waits.
pub const JOB_WAITING: &str = "job-waiting";
/// The button beside it that lends in this tab, where nobody else does.
pub const LEND_HERE: &str = "lend-here";
/// Why the job failed; carries `data-code`.
pub const JOB_ERROR: &str = "job-error";
/// The result so far.
pub const JOB_PARTIAL: &str = "job-partial";
/// The final result.
pub const JOB_RESULT: &str = "job-result";
/// Saves a result of bytes as a file.
pub const DOWNLOAD_BYTES: &str = "download-bytes";
/// What a program wrote to standard error, as text.
pub const JOB_ERRORS: &str = "job-errors";
/// Says how much of it is not kept.
pub const JOB_ERRORS_CUT: &str = "job-errors-cut";
/// Says that not all of it is text.
pub const JOB_ERRORS_BYTES: &str = "job-errors-bytes";
/// Saves standard error as it was written, as a file.
pub const DOWNLOAD_ERRORS: &str = "download-errors";
/// The parts of a program that failed.
pub const JOB_FAILED_PARTS: &str = "job-failed-parts";
/// A node that worked on the job.
pub const JOB_NODE: &str = "job-node";
/// Cancels the job.
pub const CANCEL_JOB: &str = "cancel-job";
/// Takes the finished job out of the list.
pub const REMOVE_JOB: &str = "remove-job";
/// Runs the same job again.
pub const RUN_AGAIN: &str = "run-again";
/// The map of tasks.
pub const TASK_MAP: &str = "task-map";
/// A node in the table of Network; carries `data-node`.
pub const NETWORK_NODE: &str = "network-node";
/// Says that this browser keeps nothing, and why.
pub const NOTHING_KEPT: &str = "nothing-kept";
/// Says that a part of the page did not arrive, and offers to try again.
pub const PIECE_AWAY: &str = "piece-away";
/// Says that no worker starts here, and why.
pub const NO_WORKERS: &str = "no-workers";
