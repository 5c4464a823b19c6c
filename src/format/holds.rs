//! The file `twal-holds`: what must not be given back, by name.
//!
//! One header and one entry for each hold, all under one checksum, bound to the
//! log by its id (docs/FORMAT.md, "Holds").  It is small, and always written anew
//! as a whole.

use std::fmt;

use super::Id;
use crate::base::bytes::*;
use crate::base::crc::{crc32c, crc32c_append};
use crate::base::limits::NUMBER_MAX;
use crate::base::{Code, Error, Result};

/// First bytes of the file.
pub const HOLDS_MAGIC: &[u8; 8] = b"TWALhold";
/// Version of the file.
pub const HOLDS_VERSION: u32 = 1;
/// Most holds of a log.
pub const HOLDS_MAX: usize = 64;
/// Most bytes of a hold's name.
pub const HOLD_NAME_MAX: usize = 39;
/// Bytes in front of the entries.
pub const HOLDS_HEADER_LEN: usize = 64;
/// Bytes of an entry.
pub const HOLD_LEN: usize = 56;
/// Bytes of the file; more where a device wants larger blocks.
pub const HOLDS_FILE_LEN: usize = 4096;

const AT_MAGIC: usize = 0;
const AT_VERSION: usize = AT_MAGIC + 8;
const AT_COUNT: usize = AT_VERSION + 4;
const AT_LOG_ID: usize = AT_COUNT + 4;
const AT_NUMBER: usize = AT_LOG_ID + 16;
const AT_RESERVED: usize = AT_NUMBER + 8;
const AT_CRC: usize = AT_RESERVED + 20;

const AT_SEQ: usize = 0;
const AT_INDEX: usize = AT_SEQ + 8;
const AT_NAME: usize = AT_INDEX + 8;

const _: () = assert!(AT_CRC + 4 == HOLDS_HEADER_LEN);
const _: () = assert!(AT_NAME + HOLD_NAME_MAX + 1 == HOLD_LEN);
const _: () = assert!(HOLDS_HEADER_LEN + HOLDS_MAX * HOLD_LEN <= HOLDS_FILE_LEN);

/// A hold's name: 1 to [`HOLD_NAME_MAX`] visible ASCII characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HoldName {
    /// Filled up with zeros.
    bytes: [u8; HOLD_NAME_MAX + 1],
}

impl HoldName {
    /// The name, if it can be one.
    pub fn new(name: &str) -> Option<HoldName> {
        let mut bytes = [0; HOLD_NAME_MAX + 1];
        let fits = (1..=HOLD_NAME_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| bytes[..name.len()].copy_from_slice(name.as_bytes()))?;
        Some(HoldName { bytes })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        let len = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(HOLD_NAME_MAX);
        std::str::from_utf8(&self.bytes[..len]).unwrap_or("?")
    }

    fn read(bytes: &[u8]) -> Option<HoldName> {
        let len = bytes.iter().position(|byte| *byte == 0)?;
        let name = HoldName::new(std::str::from_utf8(&bytes[..len]).ok()?)?;
        (name.bytes == bytes).then_some(name)
    }
}

impl fmt::Display for HoldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for HoldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// One hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// Whose, or what for.
    pub name: HoldName,
    /// Everything from this number on is kept.
    pub seq: u64,
    /// The first segment that is kept, where segments were acknowledged one by one; 0: `seq` alone says it.
    pub index: u64,
}

/// All holds of a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holds {
    /// How often they were written.
    pub number: u64,
    /// By name, rising.
    pub all: Vec<Hold>,
}

impl Holds {
    /// The hold of that name.
    pub fn get(&self, name: &HoldName) -> Option<&Hold> {
        self.all.iter().find(|hold| hold.name == *name)
    }

    /// These with `hold` in the place of the one of its name, or beside the others.
    ///
    /// State: it would keep more than before.  Busy: there are [`HOLDS_MAX`] already.
    pub fn with(&self, hold: Hold) -> Result<Holds> {
        let mut all = self.all.clone();
        match all.binary_search_by_key(&hold.name, |other| other.name) {
            Ok(at) if hold.seq < all[at].seq => {
                let text = format!("hold {} is at {} and moves only forward", hold.name, all[at].seq);
                return Err(Error::new(Code::State, text).about_seq(all[at].seq));
            }
            // Where it is, it stays, with the segments that were acknowledged.
            Ok(at) if hold.seq == all[at].seq && hold.index < all[at].index => {}
            Ok(at) => all[at] = hold,
            Err(_) if all.len() == HOLDS_MAX => {
                return Err(Error::new(Code::Busy, format!("the log has {HOLDS_MAX} holds already")));
            }
            Err(at) => all.insert(at, hold),
        }
        Ok(Holds { number: self.number + 1, all })
    }

    /// These without the one of that name; None: there is none.
    pub fn without(&self, name: &HoldName) -> Option<Holds> {
        let all: Vec<Hold> = self.all.iter().filter(|hold| hold.name != *name).copied().collect();
        (all.len() < self.all.len()).then_some(Holds { number: self.number + 1, all })
    }

    /// Writes the file's content; `out` is [`HOLDS_FILE_LEN`] zeros or more.
    pub fn encode(&self, log_id: &Id, out: &mut [u8]) {
        let count = u32::try_from(self.all.len()).expect("there are at most HOLDS_MAX");
        out[AT_MAGIC..AT_VERSION].copy_from_slice(HOLDS_MAGIC);
        put_u32(out, AT_VERSION, HOLDS_VERSION);
        put_u32(out, AT_COUNT, count);
        put_id(out, AT_LOG_ID, log_id);
        put_u64(out, AT_NUMBER, self.number);
        for (hold, entry) in self.all.iter().zip(out[HOLDS_HEADER_LEN..].chunks_exact_mut(HOLD_LEN)) {
            put_u64(entry, AT_SEQ, hold.seq);
            put_u64(entry, AT_INDEX, hold.index);
            entry[AT_NAME..].copy_from_slice(&hold.name.bytes);
        }
        let crc = checksum(out, self.all.len());
        put_u32(out, AT_CRC, crc);
    }

    /// Reads the file's content.  Corrupt: damage, or another log's; Version: a later release's.
    pub fn decode(bytes: &[u8], log_id: &Id) -> Result<Holds> {
        let corrupt = |text: &str| Error::new(Code::Corrupt, format!("the holds are damaged: {text}"));
        if bytes.len() < HOLDS_FILE_LEN {
            return Err(corrupt("the file is too short"));
        }
        // Not believed before the checksum; no more than the bytes that are there.
        let count = usize_of(u64::from(get_u32(bytes, AT_COUNT)));
        if &bytes[AT_MAGIC..AT_VERSION] != HOLDS_MAGIC
            || count > HOLDS_MAX
            || get_u32(bytes, AT_CRC) != checksum(bytes, count)
        {
            return Err(corrupt("the checksum does not fit"));
        }
        let version = get_u32(bytes, AT_VERSION);
        if version != HOLDS_VERSION {
            let text = format!("holds of version {version}; this library knows {HOLDS_VERSION}");
            return Err(Error::new(Code::Version, text));
        }
        if get_id(bytes, AT_LOG_ID) != *log_id {
            return Err(corrupt("they are another log's"));
        }
        let entries = bytes[HOLDS_HEADER_LEN..].chunks_exact(HOLD_LEN).take(count);
        let all: Option<Vec<Hold>> = entries
            .map(|entry| {
                let name = HoldName::read(&entry[AT_NAME..])?;
                Some(Hold { name, seq: get_u64(entry, AT_SEQ), index: get_u64(entry, AT_INDEX) })
            })
            .collect();
        let number = get_u64(bytes, AT_NUMBER);
        let all = all.filter(|all| {
            number < NUMBER_MAX
                && all.iter().all(|hold| hold.seq >= 1)
                && all.windows(2).all(|pair| pair[0].name < pair[1].name)
        });
        Ok(Holds { number, all: all.ok_or_else(|| corrupt("they contradict themselves"))? })
    }
}

fn checksum(bytes: &[u8], count: usize) -> u32 {
    crc32c_append(crc32c(&bytes[..AT_CRC]), &bytes[HOLDS_HEADER_LEN..HOLDS_HEADER_LEN + count * HOLD_LEN])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: Id = [7; 16];

    fn name(text: &str) -> HoldName {
        HoldName::new(text).unwrap()
    }

    fn hold(text: &str, seq: u64, index: u64) -> Hold {
        Hold { name: name(text), seq, index }
    }

    fn encoded(holds: &Holds) -> Vec<u8> {
        let mut bytes = vec![0; HOLDS_FILE_LEN];
        holds.encode(&LOG, &mut bytes);
        bytes
    }

    fn full() -> Holds {
        (0..HOLDS_MAX as u64).fold(Holds::default(), |holds, n| holds.with(hold(&format!("h{n}"), n + 1, n)).unwrap())
    }

    #[test]
    fn names_are_short_and_visible() {
        let longest = "n".repeat(HOLD_NAME_MAX);
        for good in ["a", "snapshot", "follower/2:x", longest.as_str()] {
            assert_eq!(name(good).as_str(), good);
        }
        for bad in ["", "a b", "a\n", "ä", "\0", &format!("{longest}n")] {
            assert_eq!(HoldName::new(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_was_written_is_read() {
        for holds in [Holds::default(), Holds::default().with(hold("archive", 5, 2)).unwrap(), full()] {
            assert_eq!(Holds::decode(&encoded(&holds), &LOG).unwrap(), holds);
        }
    }

    #[test]
    fn every_flipped_bit_of_what_counts_is_damage() {
        let holds = Holds::default().with(hold("snapshot", 9, 0)).unwrap();
        let bytes = encoded(&holds);
        for bit in 0..(HOLDS_HEADER_LEN + HOLD_LEN) * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Holds::decode(&bad, &LOG).map_err(|error| error.code), Err(Code::Corrupt), "bit {bit}");
        }
        assert_eq!(Holds::decode(&bytes, &[8; 16]).map_err(|error| error.code), Err(Code::Corrupt));
        assert_eq!(Holds::decode(&bytes[..4095], &LOG).map_err(|error| error.code), Err(Code::Corrupt));
    }

    /// With a checksum that fits: what no release writes is no hold.
    #[test]
    fn nonsense_with_a_good_checksum_is_damage() {
        let holds = Holds::default().with(hold("a", 9, 0)).unwrap().with(hold("b", 9, 0)).unwrap();
        let changed = |at: usize, byte: u8| {
            let mut bytes = encoded(&holds);
            bytes[at] = byte;
            let crc = checksum(&bytes, 2);
            put_u32(&mut bytes, AT_CRC, crc);
            Holds::decode(&bytes, &LOG).map_err(|error| error.code)
        };
        assert_eq!(changed(AT_VERSION, 2), Err(Code::Version));
        assert_eq!(changed(HOLDS_HEADER_LEN + AT_SEQ, 0), Err(Code::Corrupt));
        assert_eq!(changed(HOLDS_HEADER_LEN + AT_NAME, b'b'), Err(Code::Corrupt), "doubled");
        assert_eq!(changed(HOLDS_HEADER_LEN + AT_NAME, b'c'), Err(Code::Corrupt), "out of order");
        assert_eq!(changed(HOLDS_HEADER_LEN + AT_NAME, b' '), Err(Code::Corrupt));
        assert_eq!(changed(HOLDS_HEADER_LEN + AT_NAME + 2, b'x'), Err(Code::Corrupt), "behind the name's end");
        assert_eq!(changed(AT_RESERVED, 1).map(|read| read.all), Ok(holds.all.clone()), "reserved");
    }

    #[test]
    fn a_hold_moves_only_forward() {
        let holds = Holds::default().with(hold("a", 10, 0)).unwrap();
        assert_eq!(holds.with(hold("a", 9, 0)).unwrap_err().code, Code::State);
        assert_eq!(holds.with(hold("a", 9, 3)).unwrap_err().code, Code::State);
        let moved = holds.with(hold("a", 11, 0)).unwrap();
        assert_eq!((moved.number, moved.all[0].seq), (2, 11));
        let acknowledged = holds.with(hold("a", 10, 3)).unwrap();
        assert_eq!(acknowledged.with(hold("a", 10, 0)).unwrap().all[0].index, 3, "what was acknowledged stays so");
        assert_eq!(full().with(hold("one-more", 1, 0)).unwrap_err().code, Code::Busy);
        assert_eq!(full().with(hold("h5", 100, 0)).unwrap().all.len(), HOLDS_MAX);
        assert_eq!(holds.without(&name("b")), None);
        assert!(holds.without(&name("a")).unwrap().all.is_empty());
    }
}
