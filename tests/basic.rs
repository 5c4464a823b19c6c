//! Goal: the log on real files, through the Rust API, both engines.
use std::path::PathBuf;
use twal::{Durability, Entry, How, IoEngine, Log, Options};

fn dir(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

fn entry(data: &[u8]) -> Entry<'_> {
    Entry { data, stream: 7, timestamp: None, kind: 0x0100, required: false }
}

fn contents(log: &Log) -> Vec<Vec<u8>> {
    let mut iter = log.iter(0).unwrap();
    let mut all = Vec::new();
    while let Some(record) = iter.next_record().unwrap() {
        all.push(record.data.to_vec());
    }
    all
}

#[test]
fn what_was_appended_is_there_after_reopening() {
    for engine in [IoEngine::Blocking, IoEngine::Uring] {
        for mode in [Durability::Sync, Durability::Group, Durability::Async] {
            let dir = dir(&format!("reopen-{engine:?}-{mode:?}"));
            let options = Options {
                io_engine: Some(engine),
                durability: Some(mode),
                segment_size: 256 << 10,
                ..Options::default()
            };
            let mut expected = Vec::new();
            for life in 0..3u64 {
                let log = match Log::open(&dir, &options) {
                    Err(error) if error.code == twal::Code::Unsupported => {
                        println!("skipped: {error}");
                        break;
                    }
                    log => log.unwrap(),
                };
                assert_eq!(contents(&log), expected, "{engine:?} {mode:?} life {life}");
                for n in 0..200usize {
                    let data = format!("life {life} record {n} {}", "x".repeat(n * 13 % 4000)).into_bytes();
                    let seq = log.append(&entry(&data), How::default()).unwrap();
                    expected.push(data);
                    assert_eq!(seq, expected.len() as u64);
                }
                log.sync(0).unwrap();
                assert_eq!(log.durable_seq(), log.last_seq());
                assert_eq!(contents(&log), expected);
                log.close().unwrap();
            }
        }
    }
}

#[test]
fn many_threads() {
    let dir = dir("threads");
    let options = Options { segment_size: 1 << 20, allow_any_fs: true, ..Options::default() };
    let log = Log::open(&dir, &options).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let log = &log;
            scope.spawn(move || {
                for n in 0..500u64 {
                    let data = (thread << 32 | n).to_le_bytes();
                    log.append(&entry(&data), How::default()).unwrap();
                }
            });
        }
    });
    println!("{:?}", log.stats());
    let all = contents(&log);
    assert_eq!(all.len(), 4000);
    log.close().unwrap();
    let log = Log::open(&dir, &options).unwrap();
    assert_eq!(contents(&log), all);
}
