//! The records of a directory of v2.6 files, in order.
//!
//! Promises: every record, in the order of the files' numbers, with its checksum
//! verified; or an error that says where it stopped and that stays.  Only at the
//! end of the last file is less than a record taken for an interrupted write, and
//! told of; anywhere else it is damage.  With `skip_damaged` damage is passed over
//! and counted.  Memory is bounded, whatever the files say.
//!
//! ```text
//! at the first spot that is no whole record       last file   any other
//! bytes that one interrupted write can leave*        torn       damage
//! the same, but the header counts more records      damage      damage
//! anything else                                     damage      damage
//! * the first bytes of one record of the layout, then nothing or zeros; a record that has all its bytes must end in
//!   zeros that were left out: see `may_be_torn` in `format/v26.rs`
//! ```

use std::path::Path;
use std::sync::Arc;

use super::name::Named;
use super::real_disk;
use crate::base::bytes::{len_u64, usize_of};
use crate::base::limits::BLOCK_SIZE_MAX;
use crate::base::{Code, Error, Result};
use crate::disk::{Access, Dir, Disk, File};
use crate::format::v26::{self, BadFile, BadRecord, FileHeader, RecordHeader, FILE_HEADER_LEN, RECORD_HEADER_LEN};
use crate::mem::AlignedBuf;

/// Bytes read at once: more than a record and a block, wherever they lie.
const WINDOW: usize = 256 << 10;
/// Bytes looked at first for what is behind a spot: mostly there is something at once.
const PROBE: usize = 256;
const _: () = assert!(WINDOW > v26::PAYLOAD_MAX as usize + RECORD_HEADER_LEN + BLOCK_SIZE_MAX as usize);
const _: () = assert!(WINDOW / 2 + BLOCK_SIZE_MAX as usize <= WINDOW);
/// How many spots are kept with their text.
pub const SPOTS_KEPT: usize = 64;
/// A last file may end in so many bytes that were never written, and not in more.
const TORN_MAX: u64 = 1 << 30;

/// How files are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Payload checksums are not looked at: an original could switch them off.
    pub ignore_checksums: bool,
    /// Damage is passed over and counted, instead of ending the reader.
    pub skip_damaged: bool,
}

/// A place in the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spot {
    /// Number of the file.
    pub file: u64,
    /// Offset in it.
    pub offset: u64,
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where it begins.
    pub spot: Spot,
    /// Its type.
    pub kind: u8,
    /// Its number.
    pub seq: u64,
    /// Its writer's clock.
    pub timestamp: i64,
    /// Its payload.
    pub payload: &'a [u8],
}

/// What was read so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Files that were opened.
    pub files: u64,
    /// Records delivered.
    pub records: u64,
    /// Number of the first.
    pub first_seq: u64,
    /// Number of the last.
    pub last_seq: u64,
    /// Damaged spots passed over.
    pub damaged: u64,
    /// The first [`SPOTS_KEPT`] of them: `segment` is the file's number.
    pub spots: Vec<Error>,
    /// Where an interrupted write ends the last file.
    pub torn: Option<Spot>,
    /// Bytes from there on.
    pub torn_bytes: u64,
}

/// Reads the records of one directory, for one thread at a time.
pub struct Reader {
    dir: Arc<dyn Dir>,
    options: ReadOptions,
    /// Number and name, in order; those not begun yet.
    files: std::vec::IntoIter<(u64, String)>,
    /// Number of the file before the one that is begun next.
    before: Option<u64>,
    current: Option<Current>,
    summary: Summary,
    /// What stopped the reader; it stays.
    failed: Option<Error>,
}

/// The file being read.
struct Current {
    number: u64,
    name: String,
    is_last: bool,
    header: FileHeader,
    window: Window,
    /// Where the next record begins.
    offset: u64,
    /// Whole records so far, those passed over too.
    records: u64,
}

/// What is at the next place of a file.
enum Found {
    Record(RecordHeader),
    /// A record to be passed over, if damage is.
    Bad(Error, RecordHeader),
    /// No record can be found from here on.
    Lost(Error),
    Torn,
    End,
}

impl Reader {
    /// A reader of the files in `dir`.
    ///
    /// # Errors
    /// NotFound: there is no such directory, or no file of the layout in it.
    pub fn open(dir: &Path, options: ReadOptions) -> Result<Reader> {
        Self::open_on(&real_disk(), dir, options)
    }

    /// The same on any disk.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn open_on(disk: &dyn Disk, path: &Path, options: ReadOptions) -> Result<Reader> {
        let failed = |error| Error::os(format_args!("cannot open {}", path.display()), &error);
        let dir = disk.open_dir(path, false).map_err(failed)?;
        let names = dir.list().map_err(|error| Error::os(format_args!("cannot read {}", path.display()), &error))?;
        let (mut files, mut odd) = (Vec::new(), Vec::new());
        for name in names {
            match Named::parse(&name) {
                Named::File(number) => files.push((number, name)),
                Named::Odd => odd.push(name),
                Named::Unfinished | Named::Foreign => {}
            }
        }
        files.sort_unstable();
        odd.sort_unstable();
        if files.is_empty() && odd.is_empty() {
            return Err(Error::new(Code::NotFound, format!("{} holds no wal_segment_NNN.wal", path.display())));
        }
        let mut reader = Reader {
            dir,
            options,
            files: files.into_iter(),
            before: None,
            current: None,
            summary: Summary::default(),
            failed: None,
        };
        for name in odd {
            reader.damage(Error::new(Code::Corrupt, format!("{name} has no number of three digits or more")))?;
        }
        Ok(reader)
    }

    /// What was read so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The next record; None: there are no more.
    ///
    /// # Errors
    /// Corrupt, Version, or what reading met: with the file's number as `segment`, the offset and the record's number.
    /// They stay.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let found = self.advance();
        if let Err(error) = &found {
            self.failed = Some(error.clone());
        }
        let Some(header) = found? else { return Ok(None) };
        self.summary.records += 1;
        if self.summary.records == 1 {
            self.summary.first_seq = header.seq;
        }
        self.summary.last_seq = header.seq;
        let current = self.current.as_mut().expect("the record is in it");
        let spot = Spot { file: current.number, offset: current.offset };
        current.records += 1;
        current.offset += len_u64(header.record_len());
        let record = current.window.at(spot.offset, header.record_len())?;
        let RecordHeader { kind, seq, timestamp, .. } = header;
        Ok(Some(Record { spot, kind, seq, timestamp, payload: &record[RECORD_HEADER_LEN..] }))
    }

    /// Goes to the next record; None: there are no more.
    fn advance(&mut self) -> Result<Option<RecordHeader>> {
        loop {
            let Some(current) = &mut self.current else {
                if !self.begin_file()? {
                    return Ok(None);
                }
                continue;
            };
            let after = (self.summary.records > 0).then_some(self.summary.last_seq);
            match current.look(self.options, after)? {
                Found::Record(header) => return Ok(Some(header)),
                Found::Bad(error, header) => {
                    current.records += 1;
                    current.offset += len_u64(header.record_len());
                    self.damage(error)?;
                }
                Found::Lost(error) => {
                    self.current = None;
                    self.damage(error)?;
                }
                Found::Torn => {
                    self.summary.torn = Some(Spot { file: current.number, offset: current.offset });
                    self.summary.torn_bytes = current.window.size - current.offset;
                    self.current = None;
                }
                Found::End => {
                    let counted = current.check_count();
                    self.current = None;
                    counted.or_else(|error| self.damage(error))?;
                }
            }
        }
    }

    /// Counts damage, or stops at it.
    fn damage(&mut self, error: Error) -> Result<()> {
        if !self.options.skip_damaged {
            return Err(error);
        }
        self.summary.damaged += 1;
        if self.summary.spots.len() < SPOTS_KEPT {
            self.summary.spots.push(error);
        }
        Ok(())
    }

    /// Opens the next file; false: there is none.
    fn begin_file(&mut self) -> Result<bool> {
        let Some((number, name)) = self.files.next() else { return Ok(false) };
        let before = self.before.replace(number);
        let is_last = self.files.len() == 0;
        if let Some(before) = before {
            if before == number {
                let error = corrupt(number, 0, format!("{name} is there twice, under another name"));
                self.damage(error)?;
                return Ok(true); // which of them is the right one nobody can tell: the first was taken
            }
            if before + 1 != number {
                self.damage(corrupt(number, 0, format!("{} files are missing before {name}", number - before - 1)))?;
            }
        }
        let file = match self.open_file(number, &name) {
            Err(error) if error.code == Code::Corrupt => {
                self.damage(error)?;
                return Ok(true);
            }
            opened => opened?,
        };
        let mut window = Window::new(file, number, &name)?;
        self.summary.files += 1;
        let bytes = window.at(0, FILE_HEADER_LEN)?;
        let len = bytes.len();
        let decoded = FileHeader::decode(bytes);
        let error = match decoded {
            Ok(header) => misplaced(&header, number, before, &name),
            Err(BadFile::Version(version)) => {
                let text = format!("{name} is of version {version}, not {}", v26::VERSION);
                Some(Error { code: Code::Version, ..corrupt(number, 8, text) })
            }
            Err(BadFile::Length) => Some(corrupt(number, 0, format!("{name} has only {len} bytes"))),
            Err(BadFile::Magic) => Some(corrupt(number, 0, format!("{name} does not begin with TWALv2.6"))),
        };
        if let Some(error) = error {
            if is_last
                && window.size <= TORN_MAX
                && v26::may_be_torn_header(window.head()?, window.filled(0, len_u64(FILE_HEADER_LEN))?)
            {
                self.summary.torn = Some(Spot { file: number, offset: 0 });
                self.summary.torn_bytes = window.size;
                return Ok(true);
            }
            self.damage(error)?;
        }
        if let Ok(header) = decoded {
            let offset = len_u64(FILE_HEADER_LEN);
            self.current = Some(Current { number, name, is_last, header, window, offset, records: 0 });
        }
        Ok(true)
    }

    fn open_file(&self, number: u64, name: &str) -> Result<Arc<dyn File>> {
        self.dir.open(name, Access::Read).map_err(|error| match error.raw_os_error() {
            Some(libc::ELOOP) => corrupt(number, 0, format!("{name} is not a file")),
            _ => Error::os(format_args!("cannot open {name}"), &error).in_segment(number),
        })
    }
}

fn corrupt(number: u64, offset: u64, text: String) -> Error {
    Error::new(Code::Corrupt, text).at(number, offset)
}

/// What is wrong with a header in this file.
fn misplaced(header: &FileHeader, number: u64, before: Option<u64>, name: &str) -> Option<Error> {
    let FileHeader { segment, previous, .. } = *header;
    let text = match before {
        _ if segment != number => format!("{name} holds file {segment}"),
        // The first there is: number 0 or 1, or one that says that it is the first.
        None if previous == 0 => return None,
        None if previous.checked_add(1) == Some(number) => format!("files are missing before {name}"),
        Some(before) if previous == before => return None,
        _ => format!("{name} says that file {previous} is before it"),
    };
    let at = if segment == number { 36 } else { 12 };
    Some(corrupt(number, at, text))
}

impl Current {
    /// What is at the next place; numbers rise `after` the last one.
    fn look(&mut self, options: ReadOptions, after: Option<u64>) -> Result<Found> {
        if self.offset >= self.window.size {
            return Ok(Found::End);
        }
        let decoded = RecordHeader::decode(self.window.at(self.offset, RECORD_HEADER_LEN)?);
        let bad = match decoded {
            Ok(header) => {
                let bytes = self.window.at(self.offset, header.record_len())?;
                let whole = bytes.len() == header.record_len();
                let verifies = options.ignore_checksums || whole && header.verifies(&bytes[RECORD_HEADER_LEN..]);
                let doubtful = self.is_doubtful(&header)?;
                if whole && verifies && !doubtful {
                    let rises = after.is_none_or(|after| header.seq > after);
                    return Ok(if rises { Found::Record(header) } else { Found::Bad(self.falls(&header), header) });
                }
                let text = match whole {
                    false => "the record ends behind the file",
                    true if verifies => "a record is empty, and nothing is behind it",
                    true => "the payload's checksum does not fit",
                };
                let error = self.corrupt(text.into()).about_seq(header.seq);
                if whole {
                    Found::Bad(error, header)
                } else {
                    Found::Lost(error)
                }
            }
            Err(BadRecord::Length) => Found::Lost(self.corrupt("the file ends within a record's header".into())),
            Err(BadRecord::Magic) => Found::Lost(self.corrupt("there is no record".into())),
            Err(BadRecord::TooLong(len)) => Found::Lost(self.corrupt(format!("a record of {len} bytes"))),
        };
        Ok(if self.is_torn()? { Found::Torn } else { bad })
    }

    fn falls(&self, header: &RecordHeader) -> Error {
        self.corrupt(format!("the number {} does not rise", header.seq)).about_seq(header.seq)
    }

    fn corrupt(&self, text: String) -> Error {
        corrupt(self.number, self.offset, format!("{}: {text}", self.name))
    }

    /// No event of the layout is empty: at the end it is a few bytes of one and zeros, unless the header counts it.
    fn is_doubtful(&mut self, header: &RecordHeader) -> Result<bool> {
        let ends = self.offset + len_u64(header.record_len()) == self.window.size;
        let counted = ends && self.header.record_count == self.records + 1;
        Ok(header.len == 0 && !counted && self.looks_torn()?)
    }

    /// See the table at the top.
    fn is_torn(&mut self) -> Result<bool> {
        Ok(self.header.record_count <= self.records && self.looks_torn()?)
    }

    fn looks_torn(&mut self) -> Result<bool> {
        let left = self.window.size - self.offset;
        if !self.is_last || left > TORN_MAX {
            return Ok(false);
        }
        let filled = self.window.filled(self.offset, len_u64(v26::RECORD_LEN_MAX))?;
        Ok(v26::may_be_torn(self.window.at(self.offset, RECORD_HEADER_LEN)?, filled, self.offset, left))
    }

    /// The header's count is that of the records, or 0 in the last file: it is filled in at the end.
    fn check_count(&self) -> Result<()> {
        let count = self.header.record_count;
        if count == self.records || self.is_last && count == 0 {
            return Ok(());
        }
        Err(corrupt(self.number, 28, format!("{} has {} records, not {count}", self.name, self.records)))
    }
}

/// A piece of a file, that moves on.
struct Window {
    file: Arc<dyn File>,
    number: u64,
    name: String,
    size: u64,
    buf: AlignedBuf,
    /// What the buffer holds: from this offset on, so many bytes.
    from: u64,
    len: usize,
}

impl Window {
    fn new(file: Arc<dyn File>, number: u64, name: &str) -> Result<Window> {
        let failed = |error| Error::os(format_args!("cannot read {name}"), &error).in_segment(number);
        let size = file.size().map_err(failed)?;
        Ok(Window { file, number, name: name.to_owned(), size, buf: AlignedBuf::zeroed(WINDOW)?, from: 0, len: 0 })
    }

    /// `len` bytes at `offset`; fewer where the file ends.
    fn at(&mut self, offset: u64, len: usize) -> Result<&[u8]> {
        let end = self.size.min(offset + len_u64(len));
        if offset < self.from || end > self.from + len_u64(self.len) {
            self.fill(offset)?;
        }
        let from = usize_of(offset - self.from).min(self.len);
        let to = usize_of(end.max(offset) - self.from).min(self.len);
        Ok(&self.buf[from..to])
    }

    /// The file's first bytes.
    fn head(&mut self) -> Result<[u8; FILE_HEADER_LEN]> {
        let bytes = self.at(0, FILE_HEADER_LEN)?;
        let mut head = [0; FILE_HEADER_LEN];
        head[..bytes.len()].copy_from_slice(bytes);
        Ok(head)
    }

    fn fill(&mut self, offset: u64) -> Result<()> {
        // A multiple of every block.
        self.from = offset - offset % u64::from(BLOCK_SIZE_MAX);
        self.len = 0;
        let read = self.file.read_at(&mut self.buf, self.from);
        let read = read
            .map_err(|error| Error::os(format_args!("cannot read {}", self.name), &error).at(self.number, self.from))?;
        // What was appended since the file was opened is another reader's.
        self.len = read.min(usize_of(self.size.saturating_sub(self.from).min(len_u64(WINDOW))));
        Ok(())
    }

    /// Bytes from `offset` up to the last that is not zero; of more than `enough`, any number above that.
    fn filled(&mut self, offset: u64, enough: u64) -> Result<u64> {
        let (mut at, mut end, mut len) = (offset, offset, PROBE);
        while at < self.size && end - offset <= enough {
            let piece = self.at(at, len)?;
            if piece.is_empty() {
                break; // the file has become shorter
            }
            if let Some(last) = piece.iter().rposition(|byte| *byte != 0) {
                end = at + len_u64(last) + 1;
            }
            at += len_u64(piece.len());
            len = (2 * len).min(WINDOW / 2);
        }
        Ok(end - offset)
    }
}
