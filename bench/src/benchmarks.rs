//! docs/BENCHMARKS.md and its plots, made of the lines of results: no measuring here.

use std::fs;
use std::path::Path;

use crate::json::Json;
use crate::report::{fixed, grouped, micros};
use crate::scene::Failure;
use crate::svg::{Plot, Series};

/// All lines, with ways to find one.
struct Lines(Vec<Json>);

impl Lines {
    fn of<'k, 'a: 'k>(&'a self, kind: &'k str) -> impl Iterator<Item = &'a Json> + 'k {
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
    fn names(&self, kind: &str, class: &str) -> Vec<String> {
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
}

struct Target {
    what: &'static str,
    target: &'static str,
    value: f64,
    bound: Bound,
    shown: fn(f64) -> String,
}

fn times(value: f64) -> String {
    fixed(value, 2)
}

fn milli(us: f64) -> String {
    format!("{} ms", fixed(us / 1e3, 2))
}

fn mega_rate(rate: f64) -> String {
    format!("{} M/s", fixed(rate / 1e6, 2))
}

fn mebi(kib: f64) -> String {
    format!("{} MiB", fixed(kib / 1024.0, 1))
}

fn whole(number: f64) -> String {
    grouped(number)
}

fn four(number: f64) -> String {
    fixed(number, 4)
}

/// AUTO's rate to that of the better engine.
fn auto_to_better(lines: &Lines, threads: f64) -> f64 {
    let rate = |who| lines.who("sync", who, threads, 128.0).number("per_second");
    rate("twal auto") / rate("twal uring").max(rate("twal blocking"))
}

/// The least of the peers in `name`; NaN if there is none.
fn least_of_peers(lines: &Lines, kind: &str, threads: f64, bytes: f64, name: &str) -> f64 {
    let names = lines.names(kind, "peer");
    names.iter().map(|who| lines.who(kind, who, threads, bytes).number(name)).fold(f64::NAN, f64::min)
}

fn targets(lines: &Lines) -> Vec<Target> {
    use Bound::{AtLeast, AtMost};
    let sync = |threads: f64, name: &str| lines.twal("sync", threads, 128.0).number(name);
    let loaded = |threads: f64, name: &str| lines.twal("loaded", threads, 128.0).number(name);
    let produced = |threads: f64, name: &str| lines.twal("async", threads, 128.0).number(name);
    let batch = |threads: f64, name: &str| lines.twal("batch1000", threads, 128.0).number(name);
    let replay = |bytes: f64, name: &str| lines.twal("replay", 1.0, bytes).number(name);
    let million = lines
        .of("offered")
        .find(|line| {
            line.number("rate") == 1e6
                && line.number("threads") == 1.0
                && line.number("bytes") == 128.0
                && line.text("class") == "twal"
        })
        .unwrap_or(&Json::Null);
    let read_us = lines.how("open", "segment", None).number("open_us");
    let beyond = |how: &str| lines.how("open", how, None).number("open_us") - read_us;
    let rolling = |threads: f64, name: &str| lines.how("rollover", "2 MiB", Some(threads)).number(name);
    let idle = lines.of("idle").next().unwrap_or(&Json::Null);
    let twals = lines.0.iter().filter(|line| line.text("class") == "twal");
    let cached = twals.map(|line| line.number("page_cache_pages")).fold(f64::NAN, f64::max);
    let row = |what, target, value, bound, shown| Target { what, target, value, bound, shown };
    vec![
        row("SYNC, 1 thread: p50 to bare p50", "≤ 1.10", sync(1.0, "p50_to_limit"), AtMost(1.10), times),
        row("SYNC, 1 thread: p99 to bare p99", "≤ 1.3", sync(1.0, "p99_to_limit"), AtMost(1.3), times),
        row("SYNC, 1 thread: to the best peer", "≥ 0.97", sync(1.0, "rate_to_best_peer"), AtLeast(0.97), times),
        row("SYNC, 2 threads: to L", "≥ 1.4", sync(2.0, "rate_to_limit"), AtLeast(1.4), times),
        row("SYNC, 8 threads: to L", "≥ 4.5", sync(8.0, "rate_to_limit"), AtLeast(4.5), times),
        row("SYNC, 8 threads: to the best peer", "≥ 1.4", sync(8.0, "rate_to_best_peer"), AtLeast(1.4), times),
        row("SYNC, 8 threads: p99 to bare p50", "≤ 5", sync(8.0, "p99_to_limit_p50"), AtMost(5.0), times),
        row("SYNC, 64 threads: to L", "≥ 20", sync(64.0, "rate_to_limit"), AtLeast(20.0), times),
        row("SYNC, 64 threads: to the best peer", "≥ 2", sync(64.0, "rate_to_best_peer"), AtLeast(2.0), times),
        row("SYNC, 64 threads: p99 to bare p50", "≤ 8", sync(64.0, "p99_to_limit_p50"), AtMost(8.0), times),
        row("SYNC, 64 threads: flushes a record", "≤ 0.05", sync(64.0, "flushes_per_record"), AtMost(0.05), four),
        row(
            "SYNC, 256 threads: to 64 threads",
            "≥ 1",
            sync(256.0, "per_second") / sync(64.0, "per_second"),
            AtLeast(1.0),
            times,
        ),
        row(
            "SYNC, 256 threads: slowest to fastest thread",
            "≥ 0.5",
            sync(256.0, "slowest_thread") / sync(256.0, "fastest_thread"),
            AtLeast(0.5),
            times,
        ),
        row(
            "SYNC, 64 KiB, 1 thread: p50 to a bare write of that size",
            "≤ 1.2",
            lines.twal("sync", 1.0, 65536.0).number("p50_to_limit"),
            AtMost(1.2),
            times,
        ),
        row(
            "CPUs busy, 1 thread: to L under the same load",
            "≥ 0.85",
            loaded(1.0, "rate_to_limit"),
            AtLeast(0.85),
            times,
        ),
        row("CPUs busy, 8 threads: to the best peer", "≥ 1.2", loaded(8.0, "rate_to_best_peer"), AtLeast(1.2), times),
        row("CPUs busy, 8 threads: p99", "≤ 10 ms", loaded(8.0, "p99_us"), AtMost(1e4), milli),
        row("AUTO to the better engine, 1 thread", "≥ 0.95", auto_to_better(lines, 1.0), AtLeast(0.95), times),
        row("AUTO to the better engine, 8 threads", "≥ 0.95", auto_to_better(lines, 8.0), AtLeast(0.95), times),
        row("AUTO to the better engine, 64 threads", "≥ 0.95", auto_to_better(lines, 64.0), AtLeast(0.95), times),
        row("async, 128 B, 1 producer", "≥ 8 M/s", produced(1.0, "per_second"), AtLeast(8e6), mega_rate),
        row("async, 128 B, 2 producers", "≥ 10 M/s", produced(2.0, "per_second"), AtLeast(10e6), mega_rate),
        row("async, 1 producer: to the best peer", "≥ 1.5", produced(1.0, "rate_to_best_peer"), AtLeast(1.5), times),
        row("async, 2 producers: to the best peer", "≥ 1.5", produced(2.0, "rate_to_best_peer"), AtLeast(1.5), times),
        row(
            "async, CPU an append, all threads",
            "≤ 0.12 µs",
            produced(1.0, "cpu_us_per_record"),
            AtMost(0.12),
            |us| format!("{} µs", fixed(us, 3)),
        ),
        row(
            "batches of 1,000, 1 producer: to the best peer",
            "≥ 1.2",
            batch(1.0, "rate_to_best_peer"),
            AtLeast(1.2),
            times,
        ),
        row(
            "batches of 1,000: p50 to a bare write of the same bytes",
            "≤ 1.6",
            batch(1.0, "p50_to_limit"),
            AtMost(1.6),
            times,
        ),
        row(
            "batches of 1,000, 2 producers: to the best peer",
            "≥ 1.3",
            batch(2.0, "rate_to_best_peer"),
            AtLeast(1.3),
            times,
        ),
        row(
            "async, 1 KiB, steady, segments recycled: payload to bare durable bandwidth",
            "≥ 0.70",
            lines.twal("steady", 1.0, 1024.0).number("rate_to_limit"),
            AtLeast(0.70),
            times,
        ),
        row("offered 1 M/s of 128 B: p99 from due to durable", "< 1 ms", million.number("p99_us"), AtMost(1e3), milli),
        row("offered 1 M/s of 128 B: p50 to bare p50", "≤ 2", million.number("p50_to_limit"), AtMost(2.0), times),
        row("pages of twal's files in the page cache, the most of all workloads", "0", cached, AtMost(0.0), whole),
        row(
            "device bytes a record of 128 B at 8 threads, to the best peer's",
            "≤ 1",
            sync(8.0, "device_bytes_per_record_byte")
                / least_of_peers(lines, "sync", 8.0, 128.0, "device_bytes_per_record_byte"),
            AtMost(1.0),
            times,
        ),
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
        row(
            "replay: most memory of the process",
            "≤ 32 MiB",
            replay(128.0, "peak_rss_kib").max(replay(4096.0, "peak_rss_kib")),
            AtMost(32768.0),
            mebi,
        ),
        row("open of a clean log beyond a read of its active segment", "≤ 50 ms", beyond("clean"), AtMost(5e4), milli),
        row(
            "open after a kill -9 beyond a read of its active segment",
            "≤ 100 ms",
            beyond("killed"),
            AtMost(1e5),
            milli,
        ),
        row("open of a new log", "≤ 50 ms", lines.how("open", "new", None).number("open_us"), AtMost(5e4), milli),
        row(
            "rollover, 64 MiB: p99.9 to that without",
            "≤ 1.1",
            lines.how("rollover", "64 MiB", None).number("p999_to_without"),
            AtMost(1.1),
            times,
        ),
        row(
            "rollover, 2 MiB: p50 of crossing appends to bare p50",
            "≤ 6",
            rolling(1.0, "crossing_p50_us") / rolling(1.0, "limit_p50_us"),
            AtMost(6.0),
            times,
        ),
        row("rollover, 2 MiB: slowest crossing append", "≤ 20 ms", rolling(1.0, "crossing_max_us"), AtMost(2e4), milli),
        row("idle log: resident memory of the process", "≤ 24 MiB", idle.number("rss_kib"), AtMost(24576.0), mebi),
        row("idle log: context switches of twal's threads", "0", idle.number("context_switches"), AtMost(0.0), whole),
    ]
}

type Show = fn(&Json) -> String;

/// The columns of the tables; of those that no line has, the table is without.
const COLUMNS: [(&str, Show); 28] = [
    ("opened", |line| match line.text("how") {
        "" => "–".into(),
        how => how.into(),
    }),
    ("threads", |line| whole(line.number("threads"))),
    ("bytes", |line| whole(line.number("bytes"))),
    ("offered/s", |line| whole(line.number("rate"))),
    ("who", |line| match line.text("version") {
        "" => line.text("contender").to_owned(),
        version => format!("{} {version}", line.text("contender")),
    }),
    ("records/s", |line| whole(line.number("per_second"))),
    ("log MB/s", |line| whole(line.number("log_bytes_per_second") / 1e6)),
    ("p50 µs", |line| micros(line.number("p50_us"))),
    ("p99", |line| micros(line.number("p99_us"))),
    ("p99.9", |line| micros(line.number("p999_us"))),
    ("max", |line| micros(line.number("max_us"))),
    ("median ms", |line| fixed(line.number("open_us") / 1e3, 2)),
    ("max ms", |line| fixed(line.number("open_worst_us") / 1e3, 2)),
    ("slowest/fastest", |line| {
        if line.number("threads") < 2.0 {
            return "–".into();
        }
        times(line.number("slowest_thread") / line.number("fastest_thread"))
    }),
    ("× L", |line| times(line.number("rate_to_limit"))),
    ("p50 × L's", |line| times(line.number("p50_to_limit"))),
    ("× best peer", |line| times(line.number("rate_to_best_peer"))),
    ("crossings", |line| whole(line.number("crossings"))),
    ("their p50", |line| micros(line.number("crossing_p50_us"))),
    ("their max", |line| micros(line.number("crossing_max_us"))),
    ("CPU µs/record", |line| fixed(line.number("cpu_us_per_record"), 3)),
    ("device B/B", |line| times(line.number("device_bytes_per_record_byte"))),
    ("flushes/record", |line| four(line.number("flushes_per_record"))),
    ("cached pages", |line| whole(line.number("page_cache_pages"))),
    ("peak MiB", |line| fixed(line.number("peak_rss_kib") / 1024.0, 1)),
    ("resident MiB", |line| fixed(line.number("rss_kib") / 1024.0, 1)),
    ("context switches", |line| whole(line.number("context_switches"))),
    ("rounds", |line| whole(line.number("rounds"))),
];

fn table(lines: &[&Json]) -> String {
    let heads: Vec<&(&str, Show)> =
        COLUMNS.iter().filter(|(_, show)| lines.iter().any(|line| !show(line).starts_with('–'))).collect();
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut out = row(heads.iter().map(|(head, _)| (*head).to_owned()).collect());
    out += &row(heads.iter().map(|(head, _)| if *head == "who" { "---" } else { "---:" }.to_owned()).collect());
    for line in lines {
        let cell = |(head, show): &&(&str, Show)| match (*head, line.text("class")) {
            // L is one thread that writes blocks, whatever stands beside it.
            ("threads", "limit") => "1".into(),
            ("bytes", "limit") if !line.number("write_bytes").is_nan() => whole(line.number("write_bytes")),
            _ => show(line),
        };
        out += &row(heads.iter().map(cell).collect());
    }
    out
}

/// Points of one contender over the numbers of threads.
fn by_threads(lines: &Lines, kind: &str, who: &str, bytes: f64) -> Vec<(f64, f64)> {
    let its = lines.of(kind).filter(|line| line.text("contender") == who && line.number("bytes") == bytes);
    let mut points: Vec<_> = its.map(|line| (line.number("threads"), line.number("per_second"))).collect();
    points.retain(|(_, rate)| *rate > 0.0);
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

fn throughput(lines: &Lines, kind: &str, bytes: f64, beside: &str) -> Plot {
    let mut names = vec!["L".to_owned(), "twal auto".to_owned()];
    names.extend(lines.names(kind, "peer"));
    let series = names.into_iter().map(|name| Series {
        points: by_threads(lines, kind, &name, bytes),
        bound: name == "L",
        name: if name == "L" { "L: bare writes, one by one".into() } else { name },
    });
    Plot {
        title: format!("Records of {bytes} B, each waited for until durable{beside}"),
        x_label: "appending threads".into(),
        y_label: "records/s".into(),
        series: series.filter(|series| !series.points.is_empty()).collect(),
    }
}

fn latency(lines: &Lines, bytes: f64) -> Plot {
    let mut series = Vec::new();
    let point = |class: &'static str, name: &'static str| {
        let its = lines.of("offered").filter(move |line| {
            line.text("class") == class && line.number("threads") == 1.0 && line.number("bytes") == bytes
        });
        let mut points: Vec<_> = its.map(|line| (line.number("rate"), line.number(name))).collect();
        points.retain(|(_, us)| *us > 0.0);
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    for (name, class, field) in
        [("L: bare write, p50", "limit", "p50_us"), ("twal p50", "twal", "p50_us"), ("twal p99", "twal", "p99_us")]
    {
        series.push(Series { name: name.into(), points: point(class, field), bound: class == "limit" });
    }
    series.retain(|series| !series.points.is_empty());
    Plot {
        title: format!("From when a record of {bytes} B was due until it is durable, one producer"),
        x_label: "offered records/s".into(),
        y_label: "µs".into(),
        series,
    }
}

const CHAPTERS: [(&str, &str, &str); 10] = [
    ("sync", "SYNC", "Each thread appends a record, waits until it is durable, repeats."),
    ("loaded", "SYNC with busy CPUs", "The same beside one spinning process pinned to each CPU; L, too."),
    ("async", "Without waiting", "Producers that do not wait; counted is what is durable when the clock stops. L: bare durable writes of 1 MiB; × L in bytes of records."),
    ("offered", "At a given rate", "Times from when a record was due until the durable mark has it."),
    ("steady", "Without waiting, for long", "16 GiB (with `--quick` 1 GiB) of 1 KiB records on segments that are trimmed and come back."),
    ("batch1000", "Batches of 1,000", "1,000 appends of 128 B without a wait, then a sync; times are a batch's. L: one bare durable write of the same bytes."),
    ("replay", "Replay", "Every record read back and compared, opening included. L: the better bare read of the same files; × L in bytes of the log."),
    ("open", "Open", "`segment`: one bare read of the active segment. `killed`: after a kill -9 of its writer."),
    ("rollover", "Rollover", "Appends that begin a segment, of a log that is trimmed all the time."),
    ("idle", "Idle", "A log of which nobody wants anything after one record."),
];

/// Writes BENCHMARKS.md and its plots into `dir`.
pub fn write(lines: Vec<Json>, dir: &Path) -> Result<(), Failure> {
    let lines = Lines(lines);
    let machine = lines.of("machine").last().ok_or("there are no results yet: measure first")?;
    fs::create_dir_all(dir)?;
    let mut out = String::from(
        "# Benchmarks\n\nMade by `twal-bench --report` of what `make bench` measured last; do not edit.\n\
         [bench/README.md](../bench/README.md) says what each workload does and what does not compare. Ratios carry over to other machines\n\
         better than times do. L is the bare device: one durable write of 4 KiB after the other, O_DIRECT, overwriting, in the same rounds.\n\
         Every figure is the median of its rounds, a maximum that of all of them.\n\n## The run\n\n",
    );
    let has_results =
        |run: &&Json| lines.0.iter().any(|line| line.text("kind") != "machine" && line.text("run") == run.text("name"));
    let runs: Vec<&Json> = lines.of("machine").filter(has_results).collect();
    out += "| | |\n|---|---|\n";
    for line in &runs {
        let arguments = line.text("arguments");
        let command = if arguments.is_empty() {
            "make bench".to_owned()
        } else {
            format!("make bench BENCH_ARGS=\"{arguments}\"")
        };
        out += &format!("| {} | `{command}` |\n", line.text("name"));
    }
    for name in ["twal", "kernel", "cpus", "memory", "io_uring", "file_system", "device"] {
        if !machine.text(name).is_empty() {
            out += &format!("| {} | {} |\n", name.replace('_', " "), machine.text(name).replace('|', "\\|"));
        }
    }
    let engine = lines.0.iter().find(|line| line.text("contender") == "twal auto" && !line.text("engine").is_empty());
    if let Some(line) = engine {
        out += &format!("| AUTO is | {} |\n", line.text("engine_reason"));
    }
    if !lines.0.iter().any(|line| line.text("class") == "peer") {
        out += "\nPeers were not measured: `make bench-peers` builds them.\n";
    }
    if runs.len() > 1 {
        out += "\nMeasured in parts; of what was measured more than once, the last.\n";
    }

    out += "\n## Targets\n\n| what | target | measured | met |\n|---|---|---:|---|\n";
    for row in targets(&lines) {
        let met = match row.bound {
            _ if row.value.is_nan() => "–",
            Bound::AtLeast(least) if row.value >= least => "yes",
            Bound::AtMost(most) if row.value <= most => "yes",
            _ => "no",
        };
        let measured = if row.value.is_nan() { "not measured".into() } else { (row.shown)(row.value) };
        out += &format!("| {} | {} | {measured} | {met} |\n", row.what, row.target);
    }

    let mut plots = Vec::new();
    for bytes in [128.0, 1024.0] {
        plots.push(("sync", format!("throughput-{bytes}.svg"), throughput(&lines, "sync", bytes, "")));
        let plot = throughput(&lines, "loaded", bytes, ", CPUs busy");
        plots.push(("loaded", format!("throughput-loaded-{bytes}.svg"), plot));
        plots.push(("offered", format!("latency-{bytes}.svg"), latency(&lines, bytes)));
    }
    plots.retain(|(_, _, plot)| !plot.series.is_empty());
    for (kind, title, what) in CHAPTERS {
        let its: Vec<&Json> = lines.of(kind).collect();
        if its.is_empty() {
            continue;
        }
        out += &format!("\n## {title}\n\n{what}\n\n");
        for (_, file, plot) in plots.iter().filter(|(its, _, _)| *its == kind) {
            fs::write(dir.join(file), plot.svg())?;
            out += &format!("![{}]({file})\n\n", plot.title);
        }
        out += &table(&its);
    }
    out += &configurations(&lines);
    fs::write(dir.join("BENCHMARKS.md"), out)?;
    println!("BENCHMARKS.md and {} plots in {}", plots.len(), dir.display());
    Ok(())
}

/// How the peers were set up, as they say it themselves.
fn configurations(lines: &Lines) -> String {
    let mut rows: Vec<String> = Vec::new();
    for line in lines.0.iter().filter(|line| line.text("class") == "peer") {
        let row = format!("| {} {} | {} |\n", line.text("contender"), line.text("version"), line.text("configuration"));
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    format!("\n## The peers\n\n| peer | set up |\n|---|---|\n{}", rows.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_few_lines_says_what_is_missing() {
        let lines = [
            r#"{"kind":"machine","run":"r","name":"r","arguments":"--quick","kernel":"Linux"}"#,
            r#"{"kind":"sync","run":"r","contender":"L","class":"limit","threads":8,"bytes":128,"per_second":1000,"p50_us":80}"#,
            r#"{"kind":"sync","run":"r","contender":"twal auto","class":"twal","threads":8,"bytes":128,"per_second":5000,"rate_to_limit":5}"#,
        ];
        let dir = std::env::temp_dir().join(format!("twal-bench-report-{}", std::process::id()));
        write(lines.iter().map(|line| Json::parse(line).unwrap()).collect(), &dir).unwrap();
        let text = fs::read_to_string(dir.join("BENCHMARKS.md")).unwrap();
        let plot = dir.join("throughput-128.svg").exists();
        fs::remove_dir_all(&dir).unwrap();
        assert!(text.contains("make bench BENCH_ARGS=\"--quick\""), "{text}");
        assert!(text.contains("| SYNC, 8 threads: to L | ≥ 4.5 | 5.00 | yes |"), "{text}");
        assert!(text.contains("| SYNC, 2 threads: to L | ≥ 1.4 | not measured | – |"), "{text}");
        assert!(plot && !text.contains("NaN"));
    }
}
