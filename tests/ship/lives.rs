//! Random lives of a source and a follower: both crash, pieces are lost, doubled, damaged and come late, the log gives
//! back what the follower has, and ships from either kind of handle.
//!
//! `TWAL_SEED=n` runs one life again.

use std::time::Duration;

use super::machine::*;
use super::rng::Rng;
use twal::disk::sim::{Keep, Stop};
use twal::{Code, Entry, How, Log, Position, Sink, Source};

const ENDS: [(Stop, Keep); 4] = [
    (Stop::PowerCut, Keep::Nothing),
    (Stop::PowerCut, Keep::Random),
    (Stop::PowerCut, Keep::Everything),
    (Stop::Kill, Keep::Everything),
];

struct Life {
    rng: Rng,
    source: Machine,
    log: Log,
    copy: Machine,
    sink: Sink,
    shipping: Option<Source>,
    /// What the follower said last.
    told: Position,
    /// Acknowledged at the source.
    acknowledged: u64,
    /// Pieces that come late.
    bag: Vec<Kept>,
    refused: u64,
    crashes: u64,
}

impl Life {
    fn new(seed: u64) -> Life {
        let (source, copy) = (Machine::new(seed), Machine::new(seed + 1));
        let (log, sink) = (source.open().unwrap(), copy.sink().unwrap());
        Life {
            rng: Rng::new(seed),
            source,
            log,
            copy,
            told: sink.position(),
            sink,
            shipping: None,
            acknowledged: 0,
            bag: Vec::new(),
            refused: 0,
            crashes: 0,
        }
    }

    fn act(&mut self) {
        match self.rng.below(100) {
            0..30 => self.append(),
            30..35 => self.log.roll().unwrap(),
            35..42 => self.give_back(),
            42..75 => self.ship(),
            75..80 => self.deliver_late(),
            80..86 => self.sync(),
            86..91 => self.crash_follower(),
            91..96 => self.crash_source(),
            _ => self.ship_elsewhere(),
        }
    }

    fn append(&mut self) {
        let durable = self.rng.percent(60);
        for _ in 0..self.rng.within(1, 12) {
            let data = record(self.log.last_seq() + 1);
            let entry = Entry { data: &data, stream: 0, timestamp: None, kind: 0x0100, required: false };
            let seq = self.log.append(&entry, How { sync: Some(durable), no_wait: false }).unwrap();
            if durable {
                self.acknowledged = seq;
            }
        }
        if self.rng.percent(40) {
            self.source.clock.pass(Duration::from_millis(20));
            self.log.tick();
        }
    }

    /// What the follower does not need, as it said.
    fn give_back(&mut self) {
        match self.log.hold_set("follower", self.told.hold_seq) {
            // A crash has taken nothing from it that it had told.
            Ok(()) => {}
            Err(error) => panic!("{error}"),
        }
        let below = self.rng.within(0, self.log.last_seq() + 1);
        self.log.trim(below).unwrap();
    }

    fn ship(&mut self) {
        if self.shipping.is_none() {
            self.sync();
            self.shipping = Some(Source::open(&self.log, Some(&self.told)).unwrap_or_else(|error| panic!("{error}")));
        }
        for _ in 0..self.rng.within(1, 8) {
            let shipping = self.shipping.as_mut().unwrap();
            let Some(piece) = shipping.next_piece(Some(0)).unwrap().map(|piece| Kept::of(&piece)) else { return };
            match self.rng.below(100) {
                0..4 => {
                    // Lost on the way.
                    self.shipping = None;
                    return self.sync();
                }
                4..10 => {
                    let mut damaged = piece.clone();
                    let bits = 8 * damaged.data.len() as u64;
                    if bits > 0 {
                        let bit = self.rng.below(bits) as usize;
                        damaged.data[bit / 8] ^= 1 << (bit % 8);
                        self.refuse(&damaged, &[Code::Corrupt]);
                    }
                    self.sink.write(&piece.piece()).unwrap();
                }
                10..16 => {
                    self.sink.write(&piece.piece()).unwrap();
                    self.refuse(&piece, &[Code::Exists]);
                }
                16..30 => {
                    self.sink.write(&piece.piece()).unwrap();
                    self.bag.push(piece);
                }
                _ => self.sink.write(&piece.piece()).unwrap(),
            }
        }
    }

    fn refuse(&mut self, piece: &Kept, codes: &[Code]) {
        let refused = code(self.sink.write(&piece.piece()));
        assert!(refused.is_some_and(|code| codes.contains(&code)), "{refused:?}");
        self.refused += 1;
    }

    /// A piece of before: taken where the follower has fallen back to just there, refused anywhere else.
    fn deliver_late(&mut self) {
        if self.bag.is_empty() {
            return;
        }
        let at = self.rng.below(self.bag.len() as u64) as usize;
        let piece = self.bag.swap_remove(at);
        match self.sink.write(&piece.piece()) {
            Ok(()) => self.shipping = None,
            Err(error) => {
                assert!(matches!(error.code, Code::Exists | Code::NotFound), "{error}");
                self.refused += 1;
            }
        }
    }

    fn sync(&mut self) {
        self.sink.sync().unwrap();
        self.told = self.sink.position();
        assert!(self.told.last_seq <= self.log.durable_seq(), "the follower is ahead");
    }

    fn crash_follower(&mut self) {
        let (stop, keep) = self.rng.pick(&ENDS);
        self.copy = self.copy.crashed(self.rng.next(), stop, keep);
        assert_eq!(self.copy.verify(), []);
        self.sink = self.copy.reopened();
        let found = self.sink.position();
        let (told, here) = ((self.told.index, self.told.offset), (found.index, found.offset));
        assert!(here >= told && found.last_seq >= self.told.last_seq, "{told:?} was told, {here:?} is there");
        self.told = found;
        self.shipping = None;
        self.crashes += 1;
    }

    /// Sometimes a reader ships what the dead writer has left, and then the power goes.
    fn crash_source(&mut self) {
        self.shipping = None;
        self.crashes += 1;
        let (stop, keep) = self.rng.pick(&ENDS);
        self.source = self.source.crashed(self.rng.next(), stop, keep);
        if self.rng.percent(50) {
            self.ship_elsewhere();
            let (stop, keep) = self.rng.pick(&ENDS);
            self.source = self.source.crashed(self.rng.next(), stop, keep);
        }
        self.log = self.source.open().unwrap();
        assert!(self.log.last_seq() >= self.acknowledged, "an acknowledged record is gone");
        self.acknowledged = self.log.last_seq();
    }

    /// From a handle that is open for reading only.
    fn ship_elsewhere(&mut self) {
        self.sink.sync().unwrap();
        self.shipping = None;
        let reader = self.source.open_to_read().unwrap();
        let mut source = Source::open(&reader, Some(&self.sink.position())).unwrap_or_else(|error| panic!("{error}"));
        while let Some(piece) = source.next_piece(Some(0)).unwrap() {
            self.sink.write(&piece).unwrap();
        }
        self.sink.sync().unwrap();
        self.told = self.sink.position();
    }

    /// Everything comes in the end, and the copy is a log.
    fn end(mut self) {
        self.log.sync(0).unwrap();
        self.sync();
        ship(&self.log, &mut self.sink);
        assert_eq!(self.sink.position().last_seq, self.log.last_seq());
        assert_same(&self.source, &self.copy, &self.sink.position());
        self.sink.promote().unwrap();
        self.sink.close().unwrap();
        let promoted = self.copy.open().unwrap();
        assert!(promoted.first_seq() <= self.log.first_seq());
        assert_eq!(read_from(&promoted, promoted.first_seq()), self.log.last_seq());
        drop(promoted);
        assert_eq!(self.copy.verify(), []);
    }
}

#[test]
fn whatever_happens_on_either_side_the_copy_is_the_log() {
    let one = std::env::var("TWAL_SEED").ok().map(|seed| seed.parse::<u64>().expect("a number"));
    let (mut refused, mut crashes) = (0, 0);
    for seed in one.map_or(0..40, |seed| seed..seed + 1) {
        println!("TWAL_SEED={seed}");
        let mut life = Life::new(seed);
        for _ in 0..150 {
            life.act();
        }
        (refused, crashes) = (refused + life.refused, crashes + life.crashes);
        life.end();
    }
    assert!(one.is_some() || refused > 300 && crashes > 300, "{refused}, {crashes}");
}
