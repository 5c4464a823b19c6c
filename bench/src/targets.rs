//! The targets and what was measured of each.  What compares two things compares them within one run: of
//! figures from two runs, which saw different minutes of the device, none is made.

use crate::args::PACES;
use crate::json::Json;
use crate::report::{fixed, grouped, median, micros};

/// All lines, with ways to find one.
pub struct Lines(pub Vec<Json>);

impl Lines {
    pub fn of<'k, 'a: 'k>(&'a self, kind: &'k str) -> impl Iterator<Item = &'a Json> + 'k {
        self.0.iter().filter(move |line| line.text("kind") == kind)
    }

    /// The line of twal's AUTO; Null if it was not measured.
    fn twal(&self, kind: &str, threads: f64, bytes: f64) -> &Json {
        self.who(kind, "twal auto", threads, bytes)
    }

    fn who(&self, kind: &str, who: &str, threads: f64, bytes: f64) -> &Json {
        let same = |line: &&Json| {
            line.text("contender") == who && line.number("threads") == threads && line.number("bytes") == bytes
        };
        self.of(kind).find(same).unwrap_or(&Json::Null)
    }

    fn how(&self, kind: &str, how: &str, threads: Option<f64>) -> &Json {
        let same = |line: &&Json| line.text("how") == how && threads.is_none_or(|n| line.number("threads") == n);
        self.of(kind).find(same).unwrap_or(&Json::Null)
    }

    /// Contenders of `kind` that are of `class`, each once, in the order of the lines.
    pub fn names(&self, kind: &str, class: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for line in self.of(kind).filter(|line| line.text("class") == class) {
            if !names.iter().any(|name| name == line.text("contender")) {
                names.push(line.text("contender").to_owned());
            }
        }
        names
    }
}

/// How a measured value stands to its target.
enum Bound {
    AtLeast(f64),
    AtMost(f64),
    /// There is no target: the row says what a reader wants to know beside others.
    Open,
}

/// One measured value, of one run.
#[derive(Default)]
struct Figure {
    value: Option<f64>,
    /// The least and the most of the rounds.
    spread: Option<(f64, f64)>,
    /// Whom it compares with, or of how many.
    note: String,
    /// The number of the run.
    run: f64,
    /// Both sides were measured, in different runs.
    not_one_run: bool,
}

impl Figure {
    fn of(line: &Json, value: f64) -> Figure {
        Figure {
            value: Some(value).filter(|value| !value.is_nan()),
            run: line.number("run_number"),
            ..Figure::default()
        }
    }

    /// What the line says under `name`, with its spread.
    fn named(line: &Json, name: &str) -> Figure {
        let (min, max) = (line.number(&format!("{name}_min")), line.number(&format!("{name}_max")));
        Figure { spread: Some((min, max)).filter(|(min, max)| min < max), ..Figure::of(line, line.number(name)) }
    }

    /// A comparison with one of the peers, who is named under `who`.
    fn to_peer(lines: &Lines, kind: &str, line: &Json, name: &str, who: &str) -> Figure {
        let mut figure = Figure { note: line.text(who).to_owned(), ..Figure::named(line, name) };
        let peers = lines.of(kind).filter(|other| other.text("class") == "peer");
        let same = |other: &Json| ["threads", "bytes"].iter().all(|key| other.number(key) == line.number(key));
        // The run that measured twal did not measure a peer; another one did.
        figure.not_one_run = figure.value.is_none() && *line != Json::Null && peers.into_iter().any(same);
        figure
    }

    /// The rate of one line to that of another, round by round.
    fn rates(over: &Json, under: &Json) -> Figure {
        if *over == Json::Null || *under == Json::Null {
            return Figure::default();
        }
        if over.text("run") != under.text("run") {
            return Figure { not_one_run: true, ..Figure::default() };
        }
        let ratios: Vec<f64> = rounds(over).iter().zip(rounds(under)).map(|(over, under)| over / under).collect();
        let least = ratios.iter().copied().fold(f64::NAN, f64::min);
        let most = ratios.iter().copied().fold(f64::NAN, f64::max);
        Figure { spread: Some((least, most)).filter(|_| ratios.len() > 1), ..Figure::of(over, median(&ratios)) }
    }

    fn noted(self, note: String) -> Figure {
        Figure { note, ..self }
    }

    fn cell(&self, shown: fn(f64) -> String) -> String {
        let Some(value) = self.value else {
            return if self.not_one_run { "not measured in one run" } else { "not measured" }.into();
        };
        let mut text = shown(value);
        if let Some((least, most)) = self.spread {
            text += &format!(" ({} … {})", shown(least), shown(most));
        }
        if !self.note.is_empty() {
            text += &format!(", {}", self.note);
        }
        text
    }
}

fn rounds(line: &Json) -> Vec<f64> {
    let Json::List(rates) = line.get("rounds_per_second") else { return Vec::new() };
    rates.iter().filter_map(|rate| if let Json::Number(rate) = rate { Some(*rate) } else { None }).collect()
}

struct Target {
    what: String,
    target: &'static str,
    figure: Figure,
    bound: Bound,
    shown: fn(f64) -> String,
}

pub fn times(value: f64) -> String {
    fixed(value, 2)
}

fn milli(us: f64) -> String {
    format!("{} ms", fixed(us / 1e3, 2))
}

fn micro(us: f64) -> String {
    format!("{} µs", micros(us))
}

fn micro_exact(us: f64) -> String {
    format!("{} µs", fixed(us, 3))
}

fn mega_rate(rate: f64) -> String {
    format!("{} M/s", fixed(rate / 1e6, 2))
}

fn mebi(kib: f64) -> String {
    format!("{} MiB", fixed(kib / 1024.0, 1))
}

pub fn whole(number: f64) -> String {
    grouped(number)
}

pub fn four(number: f64) -> String {
    fixed(number, 4)
}

/// The table of the targets, as Markdown.
pub fn table(lines: &Lines) -> String {
    let mut out =
        String::from("| what | target | measured (rounds: least … most) | met | run |\n|---|---|---:|---|---:|\n");
    let all = [waited_for(lines), not_waited_for(lines), read_and_rolled(lines), transactions(lines)];
    for row in all.into_iter().flatten() {
        let met = match (row.figure.value, row.bound) {
            (None, _) | (_, Bound::Open) => "–",
            (Some(value), Bound::AtLeast(least)) if value >= least => "yes",
            (Some(value), Bound::AtMost(most)) if value <= most => "yes",
            _ => "no",
        };
        let run = row.figure.value.map_or("–".into(), |_| grouped(row.figure.run));
        out += &format!("| {} | {} | {} | {met} | {run} |\n", row.what, row.target, row.figure.cell(row.shown));
    }
    out
}

fn row(
    what: impl Into<String>,
    target: &'static str,
    figure: Figure,
    bound: Bound,
    shown: fn(f64) -> String,
) -> Target {
    Target { what: what.into(), target, figure, bound, shown }
}

use Bound::{AtLeast, AtMost, Open};

fn waited_for(lines: &Lines) -> Vec<Target> {
    let line = |kind: &str, threads: f64| lines.twal(kind, threads, 128.0);
    let sync = |threads: f64, name: &str| Figure::named(line("sync", threads), name);
    let loaded = |threads: f64, name: &str| Figure::named(line("loaded", threads), name);
    let to_peer = |kind: &'static str, threads: f64| {
        Figure::to_peer(lines, kind, line(kind, threads), "rate_to_best_peer", "best_peer")
    };
    let slowest = sync(256.0, "slowest_to_fastest");
    let big = Figure::named(lines.twal("sync", 1.0, 65536.0), "p50_to_limit");
    let to_64 = Figure::rates(line("sync", 256.0), line("sync", 64.0));
    let mut rows = vec![
        row("SYNC, 1 thread: p50 to bare p50", "≤ 1.10", sync(1.0, "p50_to_limit"), AtMost(1.10), times),
        row("SYNC, 1 thread: p99 to bare p99", "≤ 1.3", sync(1.0, "p99_to_limit"), AtMost(1.3), times),
        row("SYNC, 1 thread: to the best peer", "≥ 0.97", to_peer("sync", 1.0), AtLeast(0.97), times),
        row("SYNC, 2 threads: to L", "≥ 1.4", sync(2.0, "rate_to_limit"), AtLeast(1.4), times),
        row("SYNC, 8 threads: to L", "≥ 4.5", sync(8.0, "rate_to_limit"), AtLeast(4.5), times),
        row("SYNC, 8 threads: to the best peer", "≥ 1.4", to_peer("sync", 8.0), AtLeast(1.4), times),
        row("SYNC, 8 threads: p99 to bare p50", "≤ 5", sync(8.0, "p99_to_limit_p50"), AtMost(5.0), times),
        row("SYNC, 64 threads: to L", "≥ 20", sync(64.0, "rate_to_limit"), AtLeast(20.0), times),
        row("SYNC, 64 threads: to the best peer", "≥ 2", to_peer("sync", 64.0), AtLeast(2.0), times),
        row("SYNC, 64 threads: p99 to bare p50", "≤ 8", sync(64.0, "p99_to_limit_p50"), AtMost(8.0), times),
        row("SYNC, 64 threads: flushes a record", "≤ 0.05", sync(64.0, "flushes_per_record"), AtMost(0.05), four),
        row("SYNC, 256 threads: to 64 threads", "≥ 1", to_64, AtLeast(1.0), times),
        row("SYNC, 256 threads: slowest to fastest thread", "≥ 0.5", slowest, AtLeast(0.5), times),
        row("SYNC, 64 KiB, 1 thread: p50 to a bare write of that size", "≤ 1.2", big, AtMost(1.2), times),
        row(
            "CPUs busy, 1 thread: to L under the same load",
            "≥ 0.85",
            loaded(1.0, "rate_to_limit"),
            AtLeast(0.85),
            times,
        ),
        row("CPUs busy, 8 threads: to the best peer", "≥ 1.2", to_peer("loaded", 8.0), AtLeast(1.2), times),
        row("CPUs busy, 8 threads: p99", "≤ 10 ms", loaded(8.0, "p99_us"), AtMost(1e4), milli),
    ];
    for threads in [1.0, 8.0, 64.0] {
        let what = format!(
            "AUTO to the better engine, {}",
            if threads > 1.0 { format!("{threads} threads") } else { "1 thread".into() }
        );
        rows.push(row(what, "≥ 0.95", sync(threads, "rate_to_better_engine"), AtLeast(0.95), times));
    }
    let device_bytes =
        |kind: &'static str| Figure::to_peer(lines, kind, line(kind, 8.0), "device_bytes_to_least_peer", "least_peer");
    rows.extend([
        row(
            "device bytes a record of 128 B at 8 threads, to the best peer's, segments recycled",
            "≤ 1",
            device_bytes("sync"),
            AtMost(1.0),
            times,
        ),
        row(
            "device bytes a record of 128 B at 8 threads, to the best peer's, fresh segments",
            "≤ 2",
            device_bytes("fresh"),
            AtMost(2.0),
            times,
        ),
    ]);
    rows
}

fn not_waited_for(lines: &Lines) -> Vec<Target> {
    let line = |kind: &str, threads: f64| lines.twal(kind, threads, 128.0);
    let produced = |threads: f64, name: &str| Figure::named(line("async", threads), name);
    let to_peer = |kind: &'static str, threads: f64| {
        Figure::to_peer(lines, kind, line(kind, threads), "rate_to_best_peer", "best_peer")
    };
    let batched = |threads: f64| {
        let line = lines.who("async", "twal auto, 64 a call", threads, 128.0);
        Figure::to_peer(lines, "async", line, "rate_to_best_peer", "best_peer")
    };
    let to_bare_batch = Figure::named(line("batch1000", 1.0), "p50_to_limit");
    let bandwidth = |kind: &str| Figure::named(lines.twal(kind, 1.0, 1024.0), "rate_to_limit");
    let mut rows = vec![
        row("async, 128 B, 1 producer", "≥ 8 M/s", produced(1.0, "per_second"), AtLeast(8e6), mega_rate),
        row("async, 128 B, 2 producers", "≥ 10 M/s", produced(2.0, "per_second"), AtLeast(10e6), mega_rate),
        row("async, 1 producer: to the best peer", "≥ 1.5", to_peer("async", 1.0), AtLeast(1.5), times),
        row("async, 2 producers: to the best peer", "≥ 1.5", to_peer("async", 2.0), AtLeast(1.5), times),
        row("async, 1 producer, 64 records a call: to the best peer", "–", batched(1.0), Open, times),
        row("async, 2 producers, 64 records a call: to the best peer", "–", batched(2.0), Open, times),
        row(
            "async, CPU an append, all threads, 1 producer",
            "≤ 0.12 µs",
            produced(1.0, "cpu_us_per_record"),
            AtMost(0.12),
            micro_exact,
        ),
        row(
            "async, CPU an append, all threads, 2 producers",
            "≤ 0.12 µs",
            produced(2.0, "cpu_us_per_record"),
            AtMost(0.12),
            micro_exact,
        ),
        row("batches of 1,000, 1 producer: to the best peer", "≥ 1.2", to_peer("batch1000", 1.0), AtLeast(1.2), times),
        row("batches of 1,000: p50 to a bare write of the same bytes", "≤ 1.6", to_bare_batch, AtMost(1.6), times),
        row("batches of 1,000, 2 producers: to the best peer", "≥ 1.3", to_peer("batch1000", 2.0), AtLeast(1.3), times),
        row(
            "async, 1 KiB, steady, segments recycled: payload to bare durable bandwidth",
            "≥ 0.70",
            bandwidth("steady"),
            AtLeast(0.70),
            times,
        ),
        row(
            "async, 1 KiB, steady, fresh segments: payload to bare durable bandwidth",
            "≥ 0.40",
            bandwidth("fresh"),
            AtLeast(0.40),
            times,
        ),
    ];
    for pace in PACES {
        let million = lines.of("offered").find(|line| {
            let numbers = [line.number("rate"), line.number("threads"), line.number("bytes")];
            numbers == [1e6, 1.0, 128.0] && line.text("class") == "twal" && line.text("how") == pace
        });
        let figure = |name| Figure::named(million.unwrap_or(&Json::Null), name);
        let what = |rest: &str| format!("offered 1 M/s of 128 B, pace {pace}: {rest}");
        rows.push(row(what("p99 from due to durable"), "< 1 ms", figure("p99_us"), AtMost(1e3), milli));
        rows.push(row(what("p50 to bare p50"), "≤ 2", figure("p50_to_limit"), AtMost(2.0), times));
    }
    rows
}

fn read_and_rolled(lines: &Lines) -> Vec<Target> {
    let replay = |bytes: f64, name: &str| Figure::named(lines.twal("replay", 1.0, bytes), name);
    let opened = |how: &str, name: &str| Figure::named(lines.how("open", how, None), name);
    let rolling = |how: &str, name: &str| {
        let line = lines.how("rollover", how, Some(1.0));
        let note = format!(
            "{} crossings in {} appends a round",
            whole(line.number("crossings")),
            whole(line.number("records"))
        );
        Figure::named(line, name).noted(note)
    };
    let idle = lines.of("idle").next().unwrap_or(&Json::Null);
    let allocations = lines.of("allocations").next().unwrap_or(&Json::Null);
    let allocated = Figure::named(allocations, "allocations");
    let appends = format!("in {} appends", whole(allocations.number("records")));
    let calls = |who: &str| {
        let line = lines.of("calls").find(|line| line.text("contender") == who).unwrap_or(&Json::Null);
        let mean = fixed(line.number("calls_mean"), 2);
        Figure::named(line, "calls_median")
            .noted(format!("median of {} appends, mean {mean}", whole(line.number("records"))))
    };
    let twals = lines.0.iter().filter(|line| line.text("class") == "twal");
    let most = |lines: &mut dyn Iterator<Item = &Json>, name: &str| {
        let of = lines.filter(|line| !line.number(name).is_nan());
        let line = of.max_by(|a, b| a.number(name).total_cmp(&b.number(name))).unwrap_or(&Json::Null).clone();
        Figure::of(&line, line.number(name))
    };
    let cached = most(&mut twals.into_iter(), "page_cache_pages");
    let memory =
        most(&mut [128.0, 4096.0, 65536.0].into_iter().map(|bytes| lines.twal("replay", 1.0, bytes)), "peak_rss_kib");
    vec![
        row("pages of twal's files in the page cache, the most of all workloads", "0", cached, AtMost(0.0), whole),
        row("allocations after open, all threads", "0", allocated.noted(appends), AtMost(0.0), whole),
        row(
            "system calls of the appending thread, alone, SYNC, blocking",
            "1",
            calls("twal blocking"),
            AtMost(1.0),
            whole,
        ),
        row("system calls of the appending thread, alone, SYNC, uring", "1", calls("twal uring"), AtMost(1.0), whole),
        row(
            "replay, 128 B: log bytes to the best bare read",
            "≥ 0.85",
            replay(128.0, "rate_to_limit"),
            AtLeast(0.85),
            times,
        ),
        row(
            "replay, 4 KiB: log bytes to the best bare read",
            "≥ 0.85",
            replay(4096.0, "rate_to_limit"),
            AtLeast(0.85),
            times,
        ),
        row("replay, records up to 64 KiB: most memory of the process", "≤ 32 MiB", memory, AtMost(32768.0), mebi),
        row(
            "open of a clean log beyond a read of its active segment",
            "≤ 50 ms",
            opened("clean", "us_to_segment_read"),
            AtMost(5e4),
            milli,
        ),
        row(
            "open after a kill -9 beyond a read of its active segment",
            "≤ 100 ms",
            opened("killed", "us_to_segment_read"),
            AtMost(1e5),
            milli,
        ),
        row("open of a new log", "≤ 50 ms", opened("new", "open_us"), AtMost(5e4), milli),
        row(
            "rollover, 64 MiB: p99.9 of all appends to that without",
            "≤ 1.1",
            rolling("64 MiB", "p999_to_without"),
            AtMost(1.1),
            times,
        ),
        row("rollover, 64 MiB: p50 of crossing appends", "–", rolling("64 MiB", "crossing_p50_us"), Open, micro),
        row("rollover, 64 MiB: slowest crossing append", "–", rolling("64 MiB", "crossing_max_us"), Open, milli),
        row(
            "rollover, 2 MiB: p50 of crossing appends to bare p50",
            "≤ 6",
            rolling("2 MiB", "crossing_p50_to_limit"),
            AtMost(6.0),
            times,
        ),
        row(
            "rollover, 2 MiB: slowest crossing append",
            "≤ 20 ms",
            rolling("2 MiB", "crossing_max_us"),
            AtMost(2e4),
            milli,
        ),
        row(
            "idle log: resident memory of the process",
            "≤ 24 MiB",
            Figure::named(idle, "rss_kib"),
            AtMost(24576.0),
            mebi,
        ),
        row(
            "idle log: context switches of twal's threads",
            "0",
            Figure::named(idle, "context_switches"),
            AtMost(0.0),
            whole,
        ),
    ]
}

/// None of these has a target: what one is beside the appends that it needs.
fn transactions(lines: &Lines) -> Vec<Target> {
    let line = |kind: &'static str, how: &'static str, threads: f64| {
        let same = move |line: &&Json| {
            let is_twal = line.text("class") == "twal" && line.text("how") == how;
            is_twal && (threads.is_nan() || line.number("threads") == threads)
        };
        lines.of(kind).find(same).unwrap_or(&Json::Null)
    };
    let figure = |kind, how, threads, name: &str| Figure::named(line(kind, how, threads), name);
    let mut rows = Vec::new();
    for (kind, what) in [("sagas", "sagas"), ("commits2pc", "two-phase commits")] {
        for threads in [1.0, 64.0] {
            let told =
                format!("{what}, decisions waited for, {threads} coordinator{}", if threads > 1.0 { "s" } else { "" });
            let rate = figure(kind, "decisions", threads, "rate_to_appends");
            let flushes = figure(kind, "decisions", threads, "flushes_per_record");
            rows.push(row(format!("{told}: to bare appends"), "–", rate, Open, times));
            rows.push(row(format!("{told}: flushes each"), "–", flushes, Open, times));
        }
    }
    let compaction = |name| figure("compaction", "", f64::NAN, name);
    rows.extend([
        row(
            "replay of transactions: to reading every record once",
            "–",
            figure("txn_replay", "recover", 1.0, "rate_to_read"),
            Open,
            times,
        ),
        row("compaction beside 8 appenders: their p99 to that without", "–", compaction("p99_to_without"), Open, times),
    ]);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[&str]) -> Lines {
        Lines(text.iter().map(|line| Json::parse(line).unwrap()).collect())
    }

    fn row_of(lines: &Lines, what: &str) -> String {
        let table = table(lines);
        table.lines().find(|line| line.starts_with(&format!("| {what} |"))).unwrap_or_default().to_owned()
    }

    const AT_64: &str = r#"{"kind":"sync","run":"a","run_number":1,"contender":"twal auto","class":"twal","threads":64,"bytes":128,"rounds_per_second":[10,20,30]}"#;
    const AT_256: &str = r#"{"kind":"sync","run":"a","run_number":1,"contender":"twal auto","class":"twal","threads":256,"bytes":128,"rounds_per_second":[20,10,45]}"#;

    #[test]
    fn a_ratio_is_of_the_rounds_of_one_run() {
        let what = "SYNC, 256 threads: to 64 threads";
        let both = lines(&[AT_64, AT_256]);
        assert_eq!(row_of(&both, what), format!("| {what} | ≥ 1 | 1.50 (0.50 … 2.00) | yes | 1 |"));
        let other = AT_256.replace(r#""run":"a""#, r#""run":"b""#);
        let two_runs = lines(&[AT_64, &other]);
        assert_eq!(row_of(&two_runs, what), format!("| {what} | ≥ 1 | not measured in one run | – | – |"));
    }

    #[test]
    fn a_peer_of_another_run_is_no_comparison() {
        let what = "SYNC, 64 threads: to the best peer";
        let peer = r#"{"kind":"sync","run":"b","run_number":2,"contender":"p","class":"peer","threads":64,"bytes":128,"per_second":1}"#;
        assert!(row_of(&lines(&[AT_64]), what).contains("| not measured |"));
        assert!(row_of(&lines(&[AT_64, peer]), what).contains("| not measured in one run |"));
        let compared = AT_64.replace("\"threads\"", r#""rate_to_best_peer":3,"best_peer":"p","threads""#);
        assert!(row_of(&lines(&[&compared]), what).contains("| 3.00, p | yes | 1 |"));
    }
}
