//! Reads everything and says what it was.

const std = @import("std");

pub fn main(init: std.process.Init) !void {
    var in_buffer: [4096]u8 = undefined;
    var out_buffer: [100]u8 = undefined;
    var input = std.Io.File.stdin().readerStreaming(init.io, &in_buffer);
    var output = std.Io.File.stdout().writerStreaming(init.io, &out_buffer);
    const text = try input.interface.allocRemaining(init.gpa, .unlimited);
    defer init.gpa.free(text);
    const lines = std.mem.count(u8, text, "\n");
    const mixed = std.hash.Fnv1a_64.hash(text);
    try output.interface.print("{d} bytes, {d} lines, {x:0>16}\n", .{ text.len, lines, mixed });
    try output.interface.print("{x}\n", .{text[text.len -| 8..]});
    try output.interface.flush();
}
