// A Zig program outside the project: built by run.sh against the installed
// library, with the header as `zig translate-c` makes it, and run.  It appends
// 100 records to the log in $TWAL_CONSUMER_DIR and reads them all back.
const c = @import("twal");

extern fn getenv(name: [*:0]const u8) ?[*:0]const u8;
extern fn printf(format: [*:0]const u8, ...) c_int;

const Failed = error{Failed};

fn check(code: c_int) Failed!void {
    if (code == c.TWAL_OK) return;
    _ = printf("twal: %s\n", c.twal_strerror(code));
    return error.Failed;
}

fn count(log: ?*c.twal_log) Failed!u64 {
    var iter: ?*c.twal_iter = null;
    try check(c.twal_recover_iter(log, 0, &iter));
    defer c.twal_iter_close(iter);
    var found: u64 = 0;
    while (true) {
        var record: c.twal_record = undefined;
        const answer = c.twal_iter_next(iter, &record);
        if (answer != 1) {
            try check(answer);
            return found;
        }
        found += 1;
        if (record.seq != found or record.len != 8) return error.Failed;
        const data: *const u64 = @ptrCast(@alignCast(record.data.?));
        if (data.* != found) return error.Failed;
    }
}

fn run() Failed!void {
    const dir = getenv("TWAL_CONSUMER_DIR") orelse return error.Failed;
    var options: c.twal_options = undefined;
    @memset(@as([*]u8, @ptrCast(&options))[0..@sizeOf(c.twal_options)], 0);
    options.struct_size = @sizeOf(c.twal_options);
    options.segment_size = 1 << 20;

    var log: ?*c.twal_log = null;
    try check(c.twal_open(dir, &options, &log));
    var n: u64 = 0;
    while (n < 100) : (n += 1) {
        var payload: u64 = c.twal_last_seq(log) + 1;
        var seq: u64 = 0;
        try check(c.twal_append(log, &payload, 8, &seq));
        if (seq != payload) return error.Failed;
    }
    const last = c.twal_last_seq(log);
    try check(c.twal_close(log));

    try check(c.twal_open(dir, &options, &log));
    const found = try count(log);
    try check(c.twal_close(log));
    if (found != last) return error.Failed;
    _ = printf("twal %s from Zig: %llu records\n", c.twal_version_string(), @as(c_ulonglong, found));
}

pub fn main() u8 {
    run() catch return 1;
    return 0;
}
