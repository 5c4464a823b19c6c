//! docs/BENCHMARKS.md and its plots, made of the lines of results: no measuring here.

use std::fs;
use std::path::Path;

use crate::bulk::ALONE;
use crate::json::Json;
use crate::report::{fixed, micros};
use crate::scene::Failure;
use crate::svg::{Plot, Series};
use crate::targets::{self, four, times, whole, Lines};

type Show = fn(&Json) -> String;

fn text_or_dash(line: &Json, name: &str) -> String {
    match line.text(name) {
        "" => "–".into(),
        text => text.into(),
    }
}

/// The median of the rounds' ratios, and the least and the most of them.
fn spread(line: &Json, name: &str) -> String {
    let (least, most) = (line.number(&format!("{name}_min")), line.number(&format!("{name}_max")));
    match least < most {
        true => format!("{} ({} … {})", times(line.number(name)), times(least), times(most)),
        false => times(line.number(name)),
    }
}

/// What tells lines of these kinds apart.
fn how_of(line: &Json, kinds: &[&str]) -> String {
    if kinds.contains(&line.text("kind")) {
        text_or_dash(line, "how")
    } else {
        "–".into()
    }
}

/// A figure that stands in the tables of these kinds only.
fn only_of(line: &Json, kinds: &[&str], show: Show) -> String {
    if kinds.contains(&line.text("kind")) {
        show(line)
    } else {
        "–".into()
    }
}

/// The columns of the tables; of those that no line has, the table is without.
const COLUMNS: [(&str, Show); 51] = [
    ("run", |line| whole(line.number("run_number"))),
    ("opened", |line| how_of(line, &["open", "rollover"])),
    ("pace", |line| how_of(line, &["offered"])),
    ("waited for", |line| how_of(line, &["sagas", "commits2pc"])),
    ("how", |line| how_of(line, &["txn_replay"])),
    ("written", |line| text_or_dash(line, "load")),
    ("reader", |line| how_of(line, &["tail"])),
    ("threads", |line| whole(line.number("threads"))),
    ("bytes", |line| whole(line.number("bytes"))),
    ("offered/s", |line| whole(line.number("rate"))),
    ("who", |line| match line.text("version") {
        "" => line.text("contender").to_owned(),
        version => format!("{} {version}", line.text("contender")),
    }),
    ("events", |line| only_of(line, &["txn_replay"], |line| whole(line.number("records")))),
    ("log MB", |line| only_of(line, &["txn_replay"], |line| whole(line.number("log_bytes") / 1e6))),
    ("seconds", |line| only_of(line, &["txn_replay"], |line| fixed(line.number("seconds"), 2))),
    ("records/s", |line| whole(line.number("per_second"))),
    ("log MB/s", |line| whole(line.number("log_bytes_per_second") / 1e6)),
    ("p50 µs", |line| micros(line.number("p50_us"))),
    ("p99", |line| micros(line.number("p99_us"))),
    ("p99.9", |line| micros(line.number("p999_us"))),
    ("max", |line| micros(line.number("max_us"))),
    ("median ms", |line| only_of(line, &["open"], |line| fixed(line.number("open_us") / 1e3, 2))),
    ("open ms", |line| only_of(line, &["txn_replay"], |line| fixed(line.number("open_us") / 1e3, 1))),
    ("max ms", |line| fixed(line.number("open_worst_us") / 1e3, 2)),
    ("slowest/fastest", |line| {
        if line.number("threads") < 2.0 {
            return "–".into();
        }
        times(line.number("slowest_to_fastest"))
    }),
    ("× L", |line| spread(line, "rate_to_limit")),
    ("p50 × L's", |line| spread(line, "p50_to_limit")),
    ("p99 × L's", |line| spread(line, "p99_to_limit")),
    ("× best peer", |line| spread(line, "rate_to_best_peer")),
    ("best peer", |line| text_or_dash(line, "best_peer")),
    ("× bare appends", |line| spread(line, "rate_to_appends")),
    ("p50 × theirs", |line| spread(line, "p50_to_appends")),
    ("× alone", |line| spread(line, "rate_to_alone")),
    ("× read", |line| spread(line, "rate_to_read")),
    ("p99 without", |line| micros(line.number("without_p99_us"))),
    ("p99 × without", |line| spread(line, "p99_to_without")),
    ("compacted MB/s", |line| whole(line.number("compacted_bytes_per_second") / 1e6)),
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
    ("allocations", |line| whole(line.number("allocations"))),
    ("calls, median", |line| whole(line.number("calls_median"))),
    ("mean", |line| fixed(line.number("calls_mean"), 2)),
    ("unflushed MiB", |line| fixed(line.number("unflushed_bytes") / 1048576.0, 0)),
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
            ("threads", "bare") => whole(line.number("write_threads")),
            ("bytes", "limit" | "bare") if !line.number("write_bytes").is_nan() => whole(line.number("write_bytes")),
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

/// What is below this share of the rate that was offered did not keep up: its times say how long the slice was.
const KEPT_UP: f64 = 0.95;

fn latency(lines: &Lines, bytes: f64, (name, title): (&str, &str)) -> Plot {
    let points = |who: &str, pace: &str| {
        let its = lines.of("offered").filter(|line| {
            let same = line.text("contender") == who && line.text("how") == pace;
            let kept_up = who == "L" || line.number("per_second") >= KEPT_UP * line.number("rate");
            same && kept_up && line.number("threads") == 1.0 && line.number("bytes") == bytes
        });
        let mut points: Vec<_> = its.map(|line| (line.number("rate"), line.number(name))).collect();
        points.retain(|(_, us)| *us > 0.0);
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    let twal = lines.names("offered", "twal").into_iter().flat_map(|who| {
        let (spins, sleeps) = (format!("{who}, producer spins"), format!("{who}, producer sleeps"));
        [(ALONE, who.clone(), who.clone()), ("spin", who.clone(), spins), ("sleep", who, sleeps)]
    });
    let mut curves = vec![(ALONE, "L".to_owned(), "L: bare write".to_owned())];
    curves.extend(twal);
    curves.extend(lines.names("offered", "peer").into_iter().map(|who| (ALONE, who.clone(), who)));
    let series =
        curves.into_iter().map(|(pace, who, name)| Series { points: points(&who, pace), bound: who == "L", name });
    Plot {
        title: format!("{title}: from when a record of {bytes} B was due until it is durable, one producer"),
        x_label: "offered records/s".into(),
        y_label: "µs".into(),
        series: series.filter(|series| !series.points.is_empty()).collect(),
    }
}

const CHAPTERS: [(&str, &str, &str); 18] = [
    ("sync", "SYNC", "Each thread appends a record, waits until it is durable, repeats."),
    ("loaded", "SYNC with busy CPUs", "The same beside one spinning process pinned to each CPU; L, too."),
    ("async", "Without waiting", "Producers that do not wait; counted is what is durable when the clock stops. L: bare durable writes of 1 MiB; × L in bytes of records. twal is told one record a call, or 64; peers many together (LogBatch, WriteBatch, an entry of many chunks), but nodedb-wal. They flush whenever so many MiB are unflushed as gave the best rate of 4, 32, 256."),
    ("offered", "At a given rate", "Times from when a record was due until the durable mark has it. Pace `alone`, and peers: one thread writes all that is due, syncs, and again. `spin`: the producer keeps a CPU to itself, of two; `sleep`: it leaves it, and is late by its sleeps. The plots leave out who did not keep up (95 % of the rate)."),
    ("steady", "Without waiting, for long", "16 GiB (with `--quick` 1 GiB) of 1 KiB records on segments that are trimmed and come back."),
    ("fresh", "Fresh segments", "Nothing is trimmed: every segment is a new file whose blocks are zeroed first. 1 KiB: producers that do not wait; 128 B: SYNC with 8 threads."),
    ("batch1000", "Batches of 1,000", "1,000 appends of 128 B without a wait, then a sync; times are a batch's. L: one bare durable write of the same bytes."),
    ("replay", "Replay", "Every record read back and compared, opening included. L: the better bare read of the same files; × L in bytes of the log."),
    ("open", "Open", "`segment`: one bare read of the active segment. `killed`: after a kill -9 of its writer."),
    ("rollover", "Rollover", "Appends that begin a segment, of a log that is trimmed all the time."),
    ("idle", "Idle", "A log of which nobody wants anything after one record."),
    ("tail", "Readers that wait", "Times from when a record was acknowledged until the reader has it; × alone: the writer's rate to that without a reader."),
    ("calls", "System calls", "Of the appending thread for one append in SYNC, alone, as strace sees them."),
    ("allocations", "Allocations", "By all threads of the process, while one appends, after open and warming up; no segment begins meanwhile."),
    ("sagas", "Sagas", "Each thread carries out one saga of 3 steps after the other: 9 records told in 5 calls, of which 1 is a decision. A record here is a saga. Bare appends: the same records, batches and waits without a manager."),
    ("commits2pc", "Two-phase commits", "The same of two-phase commits of 3 participants: 10 records told in 7 calls, of which 3 are decisions. Flushes: the forced writes that one takes; coordinators share them."),
    ("txn_replay", "Replay of transactions", "`recover`: twal_txn_recover() of 10 million events (with `--quick` 200,000) in a log whose only checkpoint is at its beginning, so every record is read twice; `read`: every record once. Seconds are without the opening, which stands beside. L: a bare read of the same files."),
    ("compaction", "Compaction", "8 threads append and wait while sealed segments are compacted, and before it."),
];

/// The same lines, each with the number of its run: runs that have results still, in their order.
fn numbered(mut lines: Vec<Json>) -> Vec<Json> {
    let is_machine = |line: &Json| line.text("kind") == "machine";
    let has_results = |run: &str| lines.iter().any(|line| !is_machine(line) && line.text("run") == run);
    let runs: Vec<String> = lines
        .iter()
        .filter(|line| is_machine(line) && has_results(line.text("run")))
        .map(|line| line.text("run").to_owned())
        .collect();
    for line in &mut lines {
        let at = runs.iter().position(|run| run == line.text("run"));
        if let (Json::Map(fields), Some(at)) = (line, at) {
            fields.push(("run_number".to_owned(), (at + 1).into()));
        }
    }
    lines
}

/// Writes BENCHMARKS.md and its plots into `dir`.
pub fn write(lines: Vec<Json>, dir: &Path) -> Result<(), Failure> {
    let lines = Lines(numbered(lines));
    let machine = lines.of("machine").last().ok_or("there are no results yet: measure first")?;
    fs::create_dir_all(dir)?;
    let mut out = String::from(
        "# Benchmarks\n\nMade by `twal-bench --report` of what `make bench` measured last; do not edit.\n\
         [bench/README.md](../bench/README.md) says what each workload does and what does not compare. Ratios carry over to other machines\n\
         better than times do. L is the bare device: one durable write of 4 KiB after the other, O_DIRECT, overwriting, in the same rounds.\n\
         Every figure is the median of its rounds, a maximum that of all of them; a ratio is the median of the rounds' own ratios, with\n\
         the least and the most of them, and compares only what was measured in one run. The best peer of a ratio is that with the best median.\n\n\
         ## The run\n\n",
    );
    let runs: Vec<&Json> = lines.of("machine").filter(|run| !run.number("run_number").is_nan()).collect();
    out += "| | |\n|---|---|\n";
    for line in &runs {
        let arguments = line.text("arguments");
        let command = if arguments.is_empty() {
            "make bench".to_owned()
        } else {
            format!("make bench BENCH_ARGS=\"{arguments}\"")
        };
        let commit = if line.text("commit").is_empty() { "commit not recorded" } else { line.text("commit") };
        let number = line.number("run_number");
        out += &format!("| run {number}, {}, {commit} | `{command}` |\n", line.text("name"));
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

    out += "\n## Targets\n\n";
    out += &targets::table(&lines);

    let mut plots = Vec::new();
    for bytes in [128.0, 1024.0] {
        plots.push(("sync", format!("throughput-{bytes}.svg"), throughput(&lines, "sync", bytes, "")));
        let plot = throughput(&lines, "loaded", bytes, ", CPUs busy");
        plots.push(("loaded", format!("throughput-loaded-{bytes}.svg"), plot));
        plots.push(("offered", format!("latency-{bytes}-p50.svg"), latency(&lines, bytes, ("p50_us", "p50"))));
        plots.push(("offered", format!("latency-{bytes}.svg"), latency(&lines, bytes, ("p99_us", "p99"))));
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
            r#"{"kind":"machine","run":"r","name":"r","arguments":"--quick","commit":"abc1234-dirty","kernel":"Linux"}"#,
            r#"{"kind":"sync","run":"r","contender":"L","class":"limit","threads":8,"bytes":128,"per_second":1000,"p50_us":80}"#,
            r#"{"kind":"sync","run":"r","contender":"twal auto","class":"twal","threads":8,"bytes":128,"per_second":5000,"rate_to_limit":5}"#,
            r#"{"kind":"tail","run":"r","contender":"twal auto","class":"twal","threads":1,"bytes":128,"load":"20/s","how":"inside"}"#,
            r#"{"kind":"offered","run":"r","contender":"p","class":"peer","threads":1,"bytes":128,"how":"alone","rate":1000,"per_second":1000,"p99_us":9}"#,
            r#"{"kind":"offered","run":"r","contender":"q","class":"peer","threads":1,"bytes":128,"how":"alone","rate":1000,"per_second":900,"p99_us":9}"#,
        ];
        let dir = std::env::temp_dir().join(format!("twal-bench-report-{}", std::process::id()));
        write(lines.iter().map(|line| Json::parse(line).unwrap()).collect(), &dir).unwrap();
        let text = fs::read_to_string(dir.join("BENCHMARKS.md")).unwrap();
        let plot = dir.join("throughput-128.svg").exists();
        let latency = fs::read_to_string(dir.join("latency-128.svg")).unwrap();
        assert!(latency.contains(">p<") && !latency.contains(">q<"), "who does not keep up is in no plot: {latency}");
        fs::remove_dir_all(&dir).unwrap();
        assert!(text.contains("make bench BENCH_ARGS=\"--quick\""), "{text}");
        assert!(text.contains("| run 1, r, abc1234-dirty | `make bench"), "{text}");
        assert!(text.contains("| SYNC, 8 threads: to L | ≥ 4.5 | 5.00 | yes | 1 |"), "{text}");
        assert!(text.contains("| SYNC, 2 threads: to L | ≥ 1.4 | not measured | – | – |"), "{text}");
        assert!(text.contains("| 1 | 20/s | inside | 1 |"), "{text}");
        assert!(plot && !text.contains("NaN"));
    }
}
