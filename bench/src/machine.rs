//! What the numbers were measured on.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Facts about the machine and the device below the bench's directory, as (name, value).
pub fn facts(dir: &Path) -> Vec<(&'static str, String)> {
    let mount = mount_of(dir);
    let mut facts = vec![
        ("commit", commit()),
        ("kernel", format!("{} {}", read("/proc/sys/kernel/ostype"), read("/proc/sys/kernel/osrelease"))),
        ("cpus", cpus()),
        ("memory", memory()),
        ("io_uring", io_uring_policy()),
        ("directory", dir.display().to_string()),
    ];
    if let Some(mount) = &mount {
        facts.push(("file_system", format!("{} on {} ({})", mount.kind, mount.source, mount.options)));
    }
    facts.push(("device", device(dir, mount.as_ref())));
    facts
}

/// Which source was measured: what git says of the tree that this program was built from, just before it ran.
fn commit() -> String {
    let git = Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"]).output();
    let said = git.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    said.map_or_else(|| "no git tree".into(), |text| String::from_utf8_lossy(&text).trim().to_owned())
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_else(|_| "unknown".into())
}

fn cpus() -> String {
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{count} × {}", model.map_or("unknown", |(_, name)| name))
}

fn memory() -> String {
    let kib = read("/proc/meminfo")
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map_or_else(|| "unknown".into(), |kib| format!("{:.1} GiB", kib as f64 / f64::from(1 << 20)))
}

fn io_uring_policy() -> String {
    let word = match read("/proc/sys/kernel/io_uring_disabled").as_str() {
        "0" => "allowed",
        "1" => "restricted to a group",
        "2" => "forbidden",
        _ => return "no sysctl kernel.io_uring_disabled".into(),
    };
    format!("{word} by sysctl kernel.io_uring_disabled")
}

struct Mount {
    point: PathBuf,
    kind: String,
    source: String,
    options: String,
}

/// The mount that `dir` (canonical) is in: the deepest, and of equals the last mounted.
fn mount_of(dir: &Path) -> Option<Mount> {
    let table = read("/proc/self/mountinfo");
    let mounts = table.lines().filter_map(|line| {
        // 36 35 98:0 /root /point rw,noatime shared:1 - ext4 /dev/vda rw,errors=continue
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<_> = left.split(' ').collect();
        let right: Vec<_> = right.split(' ').collect();
        Some(Mount {
            point: PathBuf::from(left.get(4)?),
            kind: (*right.first()?).to_owned(),
            source: (*right.get(1)?).to_owned(),
            options: format!("{},{}", left.get(5)?, right.get(2)?),
        })
    });
    mounts.filter(|mount| dir.starts_with(&mount.point)).max_by_key(|mount| mount.point.components().count())
}

/// The number of the device below `dir`, and its directory in sysfs, the whole disk's if it is a partition.
fn device_of(dir: &Path, mount: Option<&Mount>) -> (Option<u64>, Option<PathBuf>) {
    // btrfs and friends give files a device number of their own: the mount's source is surer.
    let by_source = mount.and_then(|m| fs::metadata(&m.source).ok()).map(|m| m.rdev()).filter(|rdev| *rdev != 0);
    let number = by_source.or_else(|| fs::metadata(dir).ok().map(|m| m.dev()));
    let sysfs = number.and_then(|number| {
        let mut sys =
            fs::canonicalize(format!("/sys/dev/block/{}:{}", libc::major(number), libc::minor(number))).ok()?;
        if !sys.join("queue").is_dir() {
            sys.pop(); // a partition: the queue is its disk's
        }
        Some(sys)
    });
    (number, sysfs)
}

/// The file in which the kernel counts what the device below `dir` did.
pub fn device_counters(dir: &Path) -> Option<PathBuf> {
    let (_, sysfs) = device_of(dir, mount_of(dir).as_ref());
    Some(sysfs?.join("stat")).filter(|path| path.is_file())
}

fn device(dir: &Path, mount: Option<&Mount>) -> String {
    let (number, sysfs) = device_of(dir, mount);
    let Some(number) = number else {
        return "unknown".into();
    };
    let Some(sys) = sysfs else {
        return format!("{}:{}, not a block device of this machine", libc::major(number), libc::minor(number));
    };
    let name = sys.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let queue = |what: &str| read(sys.join("queue").join(what));
    format!(
        "{name}: write_cache \"{}\", fua {}, rotational {}, scheduler \"{}\", blocks {}/{}",
        queue("write_cache"),
        queue("fua"),
        queue("rotational"),
        queue("scheduler"),
        queue("logical_block_size"),
        queue("physical_block_size"),
    )
}

/// Now, as `2026-01-31 12:00:00 UTC`.
pub fn utc_now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (year, month, day) = civil(since / 86_400);
    let (hour, minute, second) = (since / 3600 % 24, since / 60 % 60, since % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Year, month and day of the day with this number, 1970-01-01 being 0.
fn civil(mut day: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for len in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < len {
            break;
        }
        day -= len;
        month += 1;
    }
    (year, month, day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_the_calendar() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_513), (2026, 3, 1));
    }
}
