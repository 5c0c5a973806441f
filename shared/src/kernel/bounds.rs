//! How large a kernel may be in each respect, so that a hostile one is refused before it costs anything.
//!
//! Today's compilers stay far below each of these. The sum of work over a module is linear in its length, because every
//! count that an instruction can multiply (parameters, results, nesting) has a small bound of its own.

/// A module's length in bytes.
pub const MOST_MODULE_BYTES: usize = 32 << 20;
/// One function body in bytes.
pub(super) const MOST_BODY_BYTES: u64 = 2 << 20;
/// Function types.
pub(super) const MOST_TYPES: u32 = 20_000;
/// Functions that a program may import: each becomes a function of the kernel. WASI has 46.
pub const MOST_IMPORTS: u32 = 200;
/// Parameters of a function type.
pub(super) const MOST_PARAMS: usize = 64;
/// Results of a function type.
pub(super) const MOST_RESULTS: usize = 16;
/// Functions.
pub(super) const MOST_FUNCTIONS: u32 = 100_000;
/// Globals.
pub(super) const MOST_GLOBALS: u32 = 10_000;
/// Exports.
pub(super) const MOST_EXPORTS: u32 = 10_000;
/// Tables.
pub const MOST_TABLES: u32 = 8;
/// Elements of all tables together, at the start and ever.
pub const MOST_TABLE_ELEMENTS: u64 = 1 << 20;
/// Labels of one `br_table` beside its default: what V8 takes.
pub(super) const MOST_LABELS: u32 = 65_520;
/// Memories: a program's own, and one for what lies beside it.
pub const MOST_MEMORIES: u32 = 2;
/// Pages of one memory, at the start and ever: all that 32-bit addresses reach.
pub(super) const MOST_PAGES: u64 = 65_536;
/// Element segments.
pub(super) const MOST_ELEMENT_SEGMENTS: u32 = 10_000;
/// Data segments.
pub(super) const MOST_DATA_SEGMENTS: u32 = 200_000;
/// Data segments from which on they are merged.
pub(super) const MOST_SEGMENTS_UNMERGED: u32 = 50_000;
/// Data segments that engines take.
pub(super) const MOST_SEGMENTS_WRITTEN: u32 = 100_000;
/// Locals of one function, parameters included.
pub(super) const MOST_LOCALS: u32 = 8_000;
/// Blocks, loops and ifs inside one another.
pub(super) const MOST_NESTING: usize = 4_000;
/// Weight of one frame in bytes; see [`FRAME_BYTES`].
pub(super) const MOST_FRAME_BYTES: u64 = 64 << 10;

/// Stack that a call of a kernel may use, in bytes as the rewrite weighs frames: twice what Linux gives a program, since every
/// local weighs something here, and compilers without optimisation declare one for each intermediate value. 10,000 calls
/// inside one another fit where each has up to 190 locals and operands. wasmi and wasmtime keep it; where V8's own stack, half
/// a megabyte in a Web Worker, ends earlier, the tab asks wasmi.
pub const STACK_BYTES: u64 = 16 << 20;
/// Weight of an empty frame in bytes: return address, saved registers, engine's own fields, the rewrite's locals. wasmi holds
/// each local in its frame, used or not, so each one weighs.
pub(super) const FRAME_BYTES: u64 = 96;
/// Weight of a local or operand in bytes.
pub(super) const SLOT_BYTES: u64 = 8;
/// The same in a function that handles vectors.
pub(super) const VECTOR_SLOT_BYTES: u64 = 16;

/// Bytes of one rewritten body: V8 refuses functions of more than 7,654,321.
pub(super) const MOST_WRITTEN_BODY_BYTES: usize = 7_000_000;

/// Bytes of all rewritten bodies.
pub(super) const MOST_WRITTEN_BYTES: usize = 128 << 20;

/// Gas that a function which calls no other may take without looking whether there is any: a caller can call such
/// functions a million times in a row without looking either.
pub(super) const MOST_UNSEEN_GAS: u64 = 128;

/// What a program has more of, when it has become a kernel, than its author gave it: counted beside each of the bounds above, so
/// that these hold for what people write.
pub(super) mod added {
    use super::MOST_IMPORTS;

    /// Types: one for each function that is no import.
    pub(crate) const TYPES: u32 = OWN_FUNCTIONS;
    /// Functions: one for each import, and those that serve all of them.
    pub(crate) const FUNCTIONS: u32 = MOST_IMPORTS + OWN_FUNCTIONS;
    /// Globals: what is kept of the run.
    pub(crate) const GLOBALS: u32 = 17;
    /// Exports: what a kernel must have, and how it ends.
    pub(crate) const EXPORTS: u32 = 7;
    /// Bytes: the functions above, and longer names of exports.
    pub(crate) const MODULE_BYTES: usize = 1 << 20;

    const OWN_FUNCTIONS: u32 = 15;
}
