//! What can be said on the command line.
//!
//! Knows nothing but clap: `tests/tool/` makes the manual page and the completions
//! of these very definitions, so what stands here is what the manual says.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

/// Looks at write-ahead logs, and keeps them in order.
///
/// A log is the directory that a program opened with twal_open(3).  Everything but trim, hold, repair, receive, import and
/// bench only reads it, takes no writer's lock, and may run beside the program that writes it; so do hold list, and hold
/// set and drop of a log that has holds.  A repair without --apply changes nothing, but keeps writers out meanwhile.
#[derive(Parser)]
#[command(name = "twal", version, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    Info(InfoArgs),
    Segments(SegmentsArgs),
    Dump(DumpArgs),
    Tail(TailArgs),
    Stats(StatsArgs),
    Verify(VerifyArgs),
    Repair(RepairArgs),
    Trim(TrimArgs),
    #[command(subcommand)]
    Hold(HoldCommand),
    Copy(CopyArgs),
    Ship(ShipArgs),
    Receive(ReceiveArgs),
    #[command(subcommand)]
    Txn(TxnCommand),
    Import(ImportArgs),
    Export(ExportArgs),
    Doctor(DoctorArgs),
    Bench(BenchArgs),
}

/// Where the log is.
#[derive(Args)]
pub struct LogArg {
    /// Directory of the log.
    #[arg(value_hint = ValueHint::DirPath)]
    pub log: PathBuf,
}

/// Which file systems are taken by what writes.
#[derive(Args)]
pub struct FileSystemArgs {
    /// Accept a file system that cannot keep the promise of a durable write.
    #[arg(long)]
    pub allow_any_fs: bool,
    /// Accept a file system without direct I/O.
    #[arg(long)]
    pub allow_buffered: bool,
}

/// What a log holds, how it ends, and who writes it.
///
/// Looks at what opening looks at; every byte is read by verify.
#[derive(Args)]
pub struct InfoArgs {
    #[command(flatten)]
    pub log: LogArg,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Each segment: state, numbers, size, and what holds it back.
///
/// What a transaction manager holds, only its own process knows.
#[derive(Args)]
pub struct SegmentsArgs {
    #[command(flatten)]
    pub log: LogArg,
    /// Print one JSON object a segment.
    #[arg(long)]
    pub json: bool,
}

/// Which records are wanted.
#[derive(Args)]
pub struct FilterArgs {
    /// Only records of this stream; may be given several times.
    #[arg(long, value_name = "STREAM", value_parser = number)]
    pub stream: Vec<u64>,
    /// Only records of this type; may be given several times.
    #[arg(long = "type", value_name = "TYPE", value_parser = kind)]
    pub kind: Vec<u16>,
}

/// How records are printed.
#[derive(Args)]
pub struct FormatArgs {
    /// How payloads are printed.
    #[arg(long, value_enum, default_value_t = Format::Hex)]
    pub format: Format,
    /// Headers alone: payloads are neither printed nor verified.
    #[arg(long)]
    pub headers_only: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line for the header, then offset, bytes and characters
    Hex,
    /// A line for the header, then the text; what is no UTF-8, and control characters but tabs and line ends, as escapes
    Utf8,
    /// The payloads alone, one directly behind the other
    Raw,
    /// A line of JSON a record, payloads as hexadecimal digits
    Json,
}

/// Prints records that are durable.
///
/// Ends with what was durable when it began.  Numbers may be decimal or, with 0x, hexadecimal.
#[derive(Args)]
pub struct DumpArgs {
    #[command(flatten)]
    pub log: LogArg,
    /// Number of the first record; the oldest, unless given.
    #[arg(long, value_name = "SEQ", value_parser = number)]
    pub from: Option<u64>,
    /// Number of the last record.
    #[arg(long, value_name = "SEQ", value_parser = above_0)]
    pub to: Option<u64>,
    /// Begin with this segment.
    #[arg(long, value_name = "INDEX", conflicts_with = "from", value_parser = above_0)]
    pub segment: Option<u64>,
    /// Most records.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    #[command(flatten)]
    pub filter: FilterArgs,
    #[command(flatten)]
    pub format: FormatArgs,
    /// Pass over damage and count it, instead of ending there.
    #[arg(long, conflicts_with = "headers_only")]
    pub skip_damaged: bool,
}

/// Prints the last records, and with --follow each new one.
///
/// With --follow it goes on until SIGINT or SIGTERM ends it, which is no failure.
#[derive(Args)]
pub struct TailArgs {
    #[command(flatten)]
    pub log: LogArg,
    /// Of the last so many numbers.
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 10)]
    pub lines: u64,
    /// Wait for new records.
    #[arg(short, long)]
    pub follow: bool,
    #[command(flatten)]
    pub filter: FilterArgs,
    #[command(flatten)]
    pub format: FormatArgs,
}

/// Counts records and bytes, by stream and by type.
///
/// Reads every header.  What only the process that writes the log knows (queues, times, refusals) it tells by
/// twal_stats_get(3).
#[derive(Args)]
pub struct StatsArgs {
    #[command(flatten)]
    pub log: LogArg,
    /// Most streams that are shown, the busiest first.
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    pub streams: usize,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Reads every byte and tells every spot that is damaged.
///
/// Of each: the file, the offset, the numbers, the stream, what should be there and what is, and whether it was
/// acknowledged as durable.  A half-written end that nobody was promised is told, and is no damage.  Of a follower's copy
/// it reads what is in front of its position, beside receive too.
#[derive(Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub log: LogArg,
    /// Segments read at the same time; as many as there are processors, 4 at most, unless given.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: Option<u16>,
    /// Print one JSON object a finding, then one that sums up.
    #[arg(long)]
    pub json: bool,
}

/// Says what it takes to make a damaged log whole, and with --apply does it.
///
/// The log keeps everything in front of the first damage.  Without --apply nothing is changed.  Nobody may have the log
/// open for writing.
#[derive(Args)]
pub struct RepairArgs {
    #[command(flatten)]
    pub log: LogArg,
    /// Carry the plan out.
    #[arg(long, requires = "backup")]
    pub apply: bool,
    /// Directory for a copy of every file that is changed or goes; made if it is missing.
    #[arg(long, value_name = "DIR", requires = "apply", value_hint = ValueHint::DirPath)]
    pub backup: Option<PathBuf>,
    /// The decision that records which were acknowledged, or may have been, are dropped.
    #[arg(long)]
    pub drop_acknowledged: bool,
    #[command(flatten)]
    pub file_system: FileSystemArgs,
}

/// Releases whole segments below a number, as twal_trim(3).
///
/// Nothing that a hold keeps is released, and nothing that transactions which are not finished need: to know that, a log
/// without a checkpoint is read from its beginning to its end.  Nobody may have the log open for writing.
#[derive(Args)]
pub struct TrimArgs {
    #[command(flatten)]
    pub log: LogArg,
    /// Number of the first record that stays.
    #[arg(long, value_name = "SEQ", value_parser = number)]
    pub below: u64,
    /// Archived segments that are kept; the others are removed.  All, unless given.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub retain: Option<u64>,
    #[command(flatten)]
    pub file_system: FileSystemArgs,
}

/// Names and numbers: nothing from the number on is given back.
#[derive(Subcommand)]
pub enum HoldCommand {
    /// Print the holds.
    List {
        #[command(flatten)]
        log: LogArg,
        /// Print one JSON object a hold.
        #[arg(long)]
        json: bool,
    },
    /// Set a hold, or move it forward.
    ///
    /// Works beside a writer, but for the very first hold of a log, which only its writer sets.
    Set {
        #[command(flatten)]
        log: LogArg,
        /// Name of the hold.
        name: String,
        /// Everything from this number on is kept; 0: from the oldest on.
        #[arg(value_parser = number)]
        seq: u64,
        #[command(flatten)]
        file_system: FileSystemArgs,
    },
    /// Drop a hold.
    Drop {
        #[command(flatten)]
        log: LogArg,
        /// Name of the hold.
        name: String,
    },
    /// Begin with no hold at all, whatever there was: where the holds were damaged or lost.
    ///
    /// Nobody may have the log open for writing.
    Reset {
        #[command(flatten)]
        log: LogArg,
        #[command(flatten)]
        file_system: FileSystemArgs,
    },
}

/// Copies a log, as it is durable now, into another directory.
///
/// Works beside the log's writer.  The copy has the same records and a history of its own from there on, so it may be
/// written; what was copied is never mixed up with what was not.  Interrupted, it goes on where it was.  Of a log whose
/// writer releases segments meanwhile, a hold keeps them until they are copied.
#[derive(Args)]
pub struct CopyArgs {
    #[command(flatten)]
    pub log: LogArg,
    /// Directory of the copy; made if it is missing.
    #[arg(value_hint = ValueHint::DirPath)]
    pub to: PathBuf,
    /// Leave it a follower's copy, which takes more of the same log later and is no log of its own.
    #[arg(long)]
    pub follower: bool,
    #[command(flatten)]
    pub file_system: FileSystemArgs,
}

/// Writes a log's durable bytes to standard output, for receive.
///
/// Works beside the log's writer.  A hold keeps what a follower has not taken yet: see hold.  Behind the last piece comes a
/// mark that this is all: where it was not sent, because ship has failed, receive fails, too, and promotes nothing.  With
/// --follow a signal ends it, and the mark is sent then.
#[derive(Args)]
pub struct ShipArgs {
    #[command(flatten)]
    pub log: LogArg,
    /// Go on from here: what receive --position has printed.
    #[arg(long, value_name = "POSITION")]
    pub from: Option<String>,
    /// Go on with what becomes durable, until SIGINT or SIGTERM.
    #[arg(short, long)]
    pub follow: bool,
}

/// Takes what ship writes from standard input into a follower's directory.
///
/// Checks every byte; takes nothing of another log, and nothing that leaves a gap.  What has come is durable when no more
/// is there to be read.  Prints the position that it has come to at ship's mark that this is all.  An input that ends in
/// front of the mark is a failure, exit status 4: what has come stays, and is durable, and nothing is promoted.
///
/// A position is one word of ten parts with colons between: the ids of the log, of its history and of the segment's file;
/// the segment's index; how often it was compacted; the offset in it; the last frame's identity; the last record's
/// number; the number for hold set, which keeps all that is still needed; and 1 if the segment is complete, else 0.
#[derive(Args)]
pub struct ReceiveArgs {
    /// Directory of the follower's copy; made if it is missing.
    #[arg(value_hint = ValueHint::DirPath)]
    pub to: PathBuf,
    /// Only print where to go on, for ship --from; the beginning, if nothing is there yet.  Changes nothing, and works
    /// beside a receive.
    #[arg(long, conflicts_with = "promote")]
    pub position: bool,
    /// Make the copy a log of its own at the end.
    #[arg(long)]
    pub promote: bool,
    /// Take nothing: to promote a copy whose source is gone.
    #[arg(long, requires = "promote")]
    pub no_input: bool,
    #[command(flatten)]
    pub file_system: FileSystemArgs,
}

/// Sagas and two-phase commits that are not finished.
#[derive(Subcommand)]
pub enum TxnCommand {
    /// Print each operation that is not finished, and what a recovery does about it.
    Ls {
        #[command(flatten)]
        log: LogArg,
        /// Print one JSON object an operation.
        #[arg(long)]
        json: bool,
    },
    /// Print one operation with its steps or participants.
    Show {
        #[command(flatten)]
        log: LogArg,
        /// Which kind: ids of the two are apart.
        #[arg(value_enum)]
        family: FamilyArg,
        /// Its id.
        #[arg(value_parser = number)]
        id: u64,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FamilyArg {
    /// Steps that are undone by compensation
    Saga,
    /// Two-phase commit
    Transaction,
}

/// Appends the transactions in files of the v2.6 layout.
///
/// If the files are refused, the log is as it was, or is not made.  Nobody else may have the log open for writing.
#[derive(Args)]
pub struct ImportArgs {
    #[command(flatten)]
    pub log: LogArg,
    /// Directory of the files.
    #[arg(value_hint = ValueHint::DirPath)]
    pub files: PathBuf,
    /// Make the log if there is none.
    #[arg(long)]
    pub create: bool,
    /// Stream of the records that are written.
    #[arg(long, value_name = "STREAM", value_parser = number, default_value_t = 0)]
    pub stream: u64,
    /// Pass over damage in the files and count it.
    #[arg(long)]
    pub skip_damaged: bool,
    /// Do not look at the checksums of payloads: their writer could switch them off.
    #[arg(long)]
    pub ignore_checksums: bool,
    #[command(flatten)]
    pub file_system: FileSystemArgs,
}

/// Writes a log's transactions as files of the v2.6 layout.
///
/// The files are there when all of them are whole and durable.
#[derive(Args)]
pub struct ExportArgs {
    #[command(flatten)]
    pub log: LogArg,
    /// Directory of the files, not a log's; made if it is missing.
    #[arg(value_hint = ValueHint::DirPath)]
    pub files: PathBuf,
    /// Number of the first record.
    #[arg(long, value_name = "SEQ", value_parser = number)]
    pub from: Option<u64>,
    /// The decision that what the layout cannot hold is left out, and counted.
    #[arg(long)]
    pub leave_out: bool,
}

/// Says what this machine can do for a log in a directory, and ends with advice.
///
/// io_uring and which policy forbids it, direct I/O, the file system, the device's cache, the engine that is chosen, and
/// who has the log open.
#[derive(Args)]
pub struct DoctorArgs {
    /// Directory of a log, or one in which a log is to be made.
    #[arg(value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
}

/// Measures appends for a moment, in a directory of its own that it removes.
#[derive(Args)]
pub struct BenchArgs {
    /// Where the directory is made.
    #[arg(value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// Seconds for each of the measurements.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub seconds: u64,
    /// Threads that append.
    #[arg(long, value_name = "COUNT", default_value = "1,8", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Vec<u16>,
    /// Bytes of a record.
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(0..=1 << 20))]
    pub bytes: u32,
    /// Engine that is used.
    #[arg(long, value_enum, default_value_t = EngineArg::Auto)]
    pub engine: EngineArg,
    #[command(flatten)]
    pub file_system: FileSystemArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EngineArg {
    /// What suits the device best
    Auto,
    /// io_uring
    Uring,
    /// pwritev2 and fdatasync on the calling thread
    Blocking,
}

/// A number, decimal or with 0x hexadecimal.
fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|error| error.to_string())
}

/// The same, of what is counted from 1: 0 would be taken for nothing said.
fn above_0(text: &str) -> Result<u64, String> {
    match number(text)? {
        0 => Err("numbers begin with 1".to_owned()),
        number => Ok(number),
    }
}

/// A record's type.
fn kind(text: &str) -> Result<u16, String> {
    u16::try_from(number(text)?).map_err(|_| "a type has 16 bits".to_owned())
}
