//! The ways in which a program can end, after it has put something out.

const std = @import("std");

pub fn main(init: std.process.Init) !void {
    const arguments = try init.minimal.args.toSlice(init.arena.allocator());
    const how = if (arguments.len > 1) arguments[1] else "return";
    const number = if (arguments.len > 2) try std.fmt.parseInt(u8, arguments[2], 10) else 0;
    var out_buffer: [100]u8 = undefined;
    var output = std.Io.File.stdout().writerStreaming(init.io, &out_buffer);
    try output.interface.print("ending by {s}\n", .{how});
    if (!std.mem.eql(u8, how, "unflushed")) try output.interface.flush();
    if (std.mem.eql(u8, how, "abort")) std.process.abort();
    if (std.mem.eql(u8, how, "trap")) @trap();
    if (std.mem.eql(u8, how, "outside")) @panic("as asked");
    if (std.mem.eql(u8, how, "error")) return error.AsAsked;
    std.process.exit(number);
}
