//! A map that grows while lines are read and printed.

const std = @import("std");

pub fn main(init: std.process.Init) !void {
    var in_buffer: [1 << 16]u8 = undefined;
    var out_buffer: [64]u8 = undefined;
    var input = std.Io.File.stdin().readerStreaming(init.io, &in_buffer);
    var output = std.Io.File.stdout().writerStreaming(init.io, &out_buffer);
    const arena = init.arena.allocator();
    var counts: std.StringArrayHashMapUnmanaged(usize) = .empty;
    while (try input.interface.takeDelimiter('\n')) |line| {
        var words = std.mem.tokenizeAny(u8, line, " \t\r");
        while (words.next()) |word| {
            const entry = try counts.getOrPut(arena, word);
            if (!entry.found_existing) {
                entry.key_ptr.* = try arena.dupe(u8, word);
                entry.value_ptr.* = 0;
            }
            entry.value_ptr.* += 1;
            try output.interface.print("{s} {d}\n", .{ word, entry.value_ptr.* });
        }
    }
    for (counts.keys(), counts.values()) |word, count| try output.interface.print("{s}: {d}\n", .{ word, count });
    try output.interface.flush();
}
