//! Goal: readers of a log never keep a writer from opening it.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use twal::{Entry, How, Log, Options};

fn dir(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

#[test]
fn readers_that_poll_do_not_lock_a_writer_out() {
    let dir = dir("polled");
    let options = Options { segment_size: 1 << 20, allow_any_fs: true, ..Options::default() };
    let entry = Entry { data: b"polled", stream: 0, timestamp: None, kind: 0x0100, required: false };
    let log = Log::open(&dir, &options).unwrap();
    for _ in 0..20 {
        log.append(&entry, How::default()).unwrap();
    }
    log.close().unwrap();

    let (polling, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let opened = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let reader = Log::open(&dir, &Options { read_only: true, ..options.clone() }).unwrap();
                let mut iter = reader.iter(0).unwrap();
                while !done.load(Ordering::Relaxed) {
                    polling.fetch_or(iter.next_record().unwrap().is_none(), Ordering::Relaxed);
                }
            });
        }
        while !polling.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        let opened = Log::open(&dir, &options);
        done.store(true, Ordering::Relaxed);
        opened
    });
    let log = opened.unwrap();
    assert_eq!(log.append(&entry, How::default()), Ok(21));
    log.close().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
}
