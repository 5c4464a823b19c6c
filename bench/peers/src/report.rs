//! The result as one JSON line.

use crate::args::{Spec, Workload};
use crate::peers::Peer;
use crate::workload::Outcome;

/// Every field is there in every line; what was not measured or cannot be known is null.
pub fn line(peer: &Peer, spec: &Spec, outcome: &Outcome) -> Result<String, String> {
    let records = outcome.records as f64;
    let seconds = outcome.took.as_secs_f64();
    let payload = records * spec.bytes as f64;
    let writes = spec.workload != Workload::Replay;
    let micros = |quantile: f64| outcome.times.as_ref().map(|times| times.quantile_ns(quantile) as f64 / 1e3);
    let counted = &outcome.counted;
    let fields = [
        ("peer", text(peer.name)),
        ("version", text(&(peer.version)()?)),
        ("workload", text(spec.workload.name())),
        ("threads", spec.threads.to_string()),
        ("bytes", spec.bytes.to_string()),
        ("rate", whole(spec.rate)),
        ("unflushed_bytes", whole((spec.workload == Workload::Async).then_some(spec.unflushed as u64))),
        ("records", outcome.records.to_string()),
        ("seconds", number(Some(seconds))),
        ("per_second", number(Some(records / seconds))),
        ("bytes_per_second", number(Some(payload / seconds))),
        ("p50_us", number(micros(0.5))),
        ("p99_us", number(micros(0.99))),
        ("p999_us", number(micros(0.999))),
        ("max_us", number(outcome.times.as_ref().map(|times| times.max_ns() as f64 / 1e3))),
        ("slowest_thread", whole(outcome.shares.iter().min().copied())),
        ("fastest_thread", whole(outcome.shares.iter().max().copied())),
        ("cpu_us_per_record", number(Some(counted.cpu.as_secs_f64() * 1e6 / records))),
        ("context_switches_per_record", number(Some(counted.context_switches as f64 / records))),
        ("device_bytes_per_record_byte", number(writes.then_some(counted.written_bytes as f64 / payload))),
        (
            "disk_bytes_per_record_byte",
            number(counted.disk_written_bytes.filter(|_| writes).map(|bytes| bytes as f64 / payload)),
        ),
        ("device_bytes_read", counted.read_bytes.to_string()),
        ("flushes", whole(counted.flushes)),
        ("page_cache_pages", whole(outcome.cached_pages)),
        ("allocated_bytes", outcome.allocated_bytes.to_string()),
        ("peak_rss_kib", outcome.peak_memory_kib.to_string()),
        ("setup_seconds", number(Some(outcome.setup.as_secs_f64()))),
        ("configuration", text(peer.configuration)),
    ];
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    Ok(format!("{{{}}}", fields.join(",")))
}

fn whole(value: Option<u64>) -> String {
    value.map_or("null".into(), |value| value.to_string())
}

fn number(value: Option<f64>) -> String {
    match value {
        Some(value) if value.is_finite() => format!("{}", (value * 1e6).round() / 1e6),
        _ => "null".into(),
    }
}

fn text(value: &str) -> String {
    let mut out = String::from('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
