//! Calls itself as deep as the first argument says.

const std = @import("std");

const Link = struct { next: ?*const Link, value: u64 };

fn total(first: ?*const Link) u64 {
    const link = first orelse return 1;
    return total(link.next) *% 3 +% link.value;
}

pub fn main(init: std.process.Init) !void {
    const arena = init.arena.allocator();
    const arguments = try init.minimal.args.toSlice(arena);
    const depth = if (arguments.len > 1) try std.fmt.parseInt(u64, arguments[1], 10) else 10;
    var first: ?*Link = null;
    for (0..@intCast(depth)) |at| {
        const link = try arena.create(Link);
        link.* = .{ .next = first, .value = at * 7 };
        first = link;
    }
    var out_buffer: [100]u8 = undefined;
    var output = std.Io.File.stdout().writerStreaming(init.io, &out_buffer);
    try output.interface.print("{d} deep: {d}\n", .{ depth, total(first) });
    try output.interface.flush();
}
