//! Goal: a reader that passes over damage never passes over a record that only is not there yet.
//!
//! Method: the file as it is while frames 6 and 7 are in flight and 7 has landed first.
#![forbid(unsafe_code)]
#![allow(clippy::cast_possible_truncation)]

use std::path::Path;
use std::time::Duration;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::SimDisk;
use twal::{Entry, How, IterOptions, Log, Options};

const BLOCK: usize = 512;

#[test]
fn a_frame_that_overtook_another_is_not_gone_on_with() {
    let clock = Clock::simulated();
    let disk = SimDisk::new(1).with_clock(clock.clone());
    disk.set_align(BLOCK as u32, 512);
    let options = Options { block_size: BLOCK as u32, segment_size: 64 << 10, ..Options::default() };
    let log = Log::open_on(disk.as_ref(), Path::new("log"), &options, clock.clone(), Threads::None).unwrap();
    let segment = disk.names().into_iter().find(|name| name.ends_with(".active")).unwrap();
    for seq in 1..=7u8 {
        let entry = Entry { data: &[seq; 64], stream: 0, timestamp: None, kind: 0x0100, required: false };
        assert_eq!(log.append(&entry, How { sync: Some(seq <= 5), no_wait: false }), Ok(u64::from(seq)));
        clock.pass(Duration::from_millis(2));
        log.tick();
    }
    assert_eq!(log.durable_seq(), 5);
    let content = disk.content(&segment).unwrap();
    let block_of = |seq: u8| content.windows(64).position(|bytes| bytes == [seq; 64]).unwrap() / BLOCK * BLOCK;
    assert!(block_of(6) != block_of(7), "each has a frame of its own");
    // 5 was acknowledged, and rots; of 6 nothing has landed yet.
    disk.flip_bit(&segment, block_of(5) as u64 + 130, 1);
    let sixth = content[block_of(6)..][..BLOCK].to_vec();
    disk.overwrite(&segment, block_of(6) as u64, &[0; BLOCK]);

    let mut iter = log.iter_with(IterOptions { skip_damaged: true, ..IterOptions::default() }).unwrap();
    for seq in 1..=4 {
        assert_eq!(iter.next_record().unwrap().map(|record| record.seq), Some(seq));
    }
    assert!(iter.next_record().unwrap().is_none(), "only 5 is durable, and it is damaged");
    assert_eq!((iter.skipped().spots, iter.skipped().records), (1, 1));
    // Now it lands, and a flush makes both durable.
    disk.overwrite(&segment, block_of(6) as u64, &sixth);
    log.sync(0).unwrap();
    assert_eq!(log.durable_seq(), 7);
    for seq in 6..=7 {
        assert_eq!(iter.next_record().unwrap().map(|record| record.seq), Some(seq), "{:?}", iter.skipped());
    }
    assert!(iter.next_record().unwrap().is_none());
    assert_eq!((iter.skipped().spots, iter.skipped().records), (1, 1));
}
