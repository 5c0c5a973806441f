//! An estimate of pi: each line of standard input is a number of darts to throw at a square with a circle in it.
//!
//! Chance is seeded by the part of the input that the run got, so that every node throws the same darts for the same
//! part, and other ones for another.

const std = @import("std");

pub fn main(init: std.process.Init) !void {
    const io = init.io;
    var in_buffer: [4096]u8 = undefined;
    var out_buffer: [4096]u8 = undefined;
    var err_buffer: [256]u8 = undefined;
    var input = std.Io.File.stdin().readerStreaming(io, &in_buffer);
    var output = std.Io.File.stdout().writerStreaming(io, &out_buffer);
    var errors = std.Io.File.stderr().writerStreaming(io, &err_buffer);

    var seed: u64 = undefined;
    io.random(std.mem.asBytes(&seed));
    var generator = std.Random.DefaultPrng.init(seed);
    const random = generator.random();

    while (try input.interface.takeDelimiter('\n')) |line| {
        const text = std.mem.trim(u8, line, " \r\t");
        if (text.len == 0) continue;
        const darts = std.fmt.parseInt(usize, text, 10) catch {
            try errors.interface.print("darts: {s} is no number of darts\n", .{text});
            try errors.interface.flush();
            std.process.exit(1);
        };
        var inside: usize = 0;
        for (0..darts) |_| {
            const x = random.float(f64);
            const y = random.float(f64);
            inside += @intFromBool(x * x + y * y < 1);
        }
        const pi = 4 * @as(f64, @floatFromInt(inside)) / @as(f64, @floatFromInt(@max(darts, 1)));
        try output.interface.print("{d} of {d} inside, pi is about {d:.6}\n", .{ inside, darts, pi });
    }
    try output.interface.flush();
}
