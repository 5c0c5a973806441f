//! How large a job may be. One place, so that documents and messages can name the same numbers.

/// The JSON text of a job, in bytes.
pub const MOST_SOURCE_BYTES: usize = 64 << 20;
/// Items of `data`.
pub const MOST_ITEMS: u64 = 10_000_000;
/// One text item, in bytes.
pub const MOST_ITEM_BYTES: usize = 1 << 20;
/// Numbers of one matrix.
pub const MOST_CELLS: usize = 4 << 20;
/// A kernel that comes with a job, in bytes.
pub const MOST_KERNEL_BYTES: usize = crate::kernel::MOST_MODULE_BYTES;
/// The input of the kinds `kernel` and `command`, in bytes, decoded: in base64 it fits into a job beside its other fields.
pub const MOST_INPUT_BYTES: usize = 46 << 20;
/// The result's JSON text, in bytes.
pub const MOST_RESULT_BYTES: usize = 64 << 20;
/// Bytes of output that a result of the kinds `kernel` and `command` holds, in base64.
pub const MOST_OUTPUT_BYTES: usize = MOST_RESULT_BYTES / 4 * 3;
/// `timeout_seconds`, `retries`, `ram_gb` × 1024.
pub const MOST_TIMEOUT_SECONDS: u32 = 3600;
/// See [`MOST_TIMEOUT_SECONDS`].
pub const MOST_RETRIES: u32 = 20;
/// See [`MOST_TIMEOUT_SECONDS`].
pub const MOST_MEMORY_MIB: u32 = 4096;
/// Largest magnitude of a range's ends.
pub const MOST_RANGE_END: i64 = 1 << 62;
/// Input bytes that go out in one batch.
pub const BATCH_BYTES: usize = 1 << 20;
/// Calls in one batch.
pub const BATCH_CALLS: u64 = 1 << 16;
