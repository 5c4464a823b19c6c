//! `twal copy`, `twal ship`, `twal receive`: a log's bytes, elsewhere.
//!
//! What travels between `ship` and `receive`: eight bytes that say what it is, then
//! piece after piece, each behind a word of its own with its numbers, its length and
//! its bytes; at last the word that all was sent.  The sink checks the pieces, so
//! nothing is checked here but that there is this end: a stream that breaks off in
//! front of it is a part of what there was, and is never promoted.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use twal::base::limits::{BLOCK_SIZE_MAX, FRAME_SIZE_MAX};
use twal::{Code, Log, Piece, Position, Sink, SinkOptions, Source};

use crate::cli::{CopyArgs, FileSystemArgs, ReceiveArgs, ShipArgs};
use crate::exit::{Exit, Failure};
use crate::open;
use crate::output::{hex, size, Out};
use crate::signals::Signals;

const MAGIC: &[u8; 8] = b"TWALshp2";
/// In front of a piece.
const PIECE: &[u8; 8] = b"TWALpart";
/// Behind the last one, when there is no more to be sent.
const END: &[u8; 8] = b"TWALdone";
/// Bytes of a piece in front of its data.
const HEAD: usize = 3 * 16 + 7 * 8 + 4 + 8;
/// Most bytes that a piece has: the largest frame, in whole blocks.  A peer that announces more sends rubbish, and is not
/// to fill the memory with it.
const DATA_MAX: u64 = FRAME_SIZE_MAX + BLOCK_SIZE_MAX as u64;
/// How often a copy begins again whose beginning was given back before it was open.
const BEGIN_AGAIN_MAX: u32 = 20;
/// What is written before a flush makes it durable: a crash of the follower costs no more.
const SYNC_EVERY: u64 = 64 << 20;

pub fn copy(args: &CopyArgs, out: &mut Out) -> Result<Exit, Failure> {
    let log = open::to_read(&args.log.log)?;
    let mut sink = sink(&args.to, &args.file_system)?;
    let mut taken = Taken::default();
    let mut begun = 0;
    loop {
        begun += 1;
        match take_all(&log, &mut sink, &mut taken) {
            // Nothing was taken yet, and nobody asked for the beginning that went.
            Err(Unshipped::Released(_))
                if taken.bytes == 0 && sink.position().index == 0 && begun < BEGIN_AGAIN_MAX => {}
            Err(Unshipped::Released(error)) => {
                taken.sync(&mut sink)?;
                return Err(Failure::released(format!("{error}; the copy is not whole, and cannot be gone on with")));
            }
            Err(Unshipped::Failed(failure)) => return Err(failure),
            Ok(()) => return end(sink, args.follower, &taken, out),
        }
    }
}

/// Why not all was shipped.
enum Unshipped {
    /// What comes next was given back.
    Released(twal::Error),
    Failed(Failure),
}

impl From<twal::Error> for Unshipped {
    fn from(error: twal::Error) -> Unshipped {
        match error.code {
            Code::Trimmed => Unshipped::Released(error),
            _ => Unshipped::Failed(error.into()),
        }
    }
}

impl From<Failure> for Unshipped {
    fn from(failure: Failure) -> Unshipped {
        Unshipped::Failed(failure)
    }
}

/// All that there is now, from where the sink is.
fn take_all(log: &Log, sink: &mut Sink, taken: &mut Taken) -> Result<(), Unshipped> {
    let mut source = source(log, Some(&sink.position()))?;
    while let Some(piece) = source.next_piece(Some(0))? {
        taken.take(sink, &piece)?;
    }
    Ok(())
}

pub fn ship(args: &ShipArgs, out: &mut Out) -> Result<Exit, Failure> {
    if io::stdout().is_terminal() {
        return Err(Failure::usage("what is shipped is for a pipe: `twal ship LOG | ssh HOST twal receive DIR`"));
    }
    let signals = args.follow.then(Signals::take).transpose()?;
    let from = args.from.as_deref().map(|text| position_of(text).ok_or_else(|| Failure::usage("that is no position")));
    let from = from.transpose()?;
    let log = open::to_read(&args.log.log)?;
    let unshipped = |error: twal::Error| match error.code {
        Code::Trimmed if from.is_none() => Failure::released(error),
        _ => error.into(),
    };
    let mut source = source(&log, from.as_ref()).map_err(unshipped)?;
    out.write_all(MAGIC)?;
    let event = signals.as_ref().map(|_| log.eventfd()).transpose()?;
    loop {
        while let Some(piece) = source.next_piece(Some(0)).map_err(unshipped)? {
            send(out, &piece)?;
            if signals.as_ref().is_some_and(Signals::came) {
                break;
            }
        }
        out.flush()?;
        // Whoever follows has said that a signal is the end.
        let goes_on = match signals.as_ref().zip(event.as_ref()) {
            Some((signals, event)) => signals.wait(event.as_fd(), io::stdout().as_fd())?,
            None => false,
        };
        if !goes_on {
            out.write_all(END)?;
            return Ok(Exit::Clean);
        }
    }
}

pub fn receive(args: &ReceiveArgs, out: &mut Out) -> Result<Exit, Failure> {
    if args.no_input && !args.to.is_dir() {
        return Err(Failure::unopened(format!("{} is no directory", args.to.display())));
    }
    if args.position {
        let position = Position::of_follower(&args.to).map_err(|error| Failure::opening(&error))?;
        writeln!(out, "{}", position_text(&position))?;
        return Ok(Exit::Clean);
    }
    let mut taken = Taken::default();
    if args.no_input {
        // A sink would make a follower's directory of one that holds nothing.
        let position = Position::of_follower(&args.to).map_err(|error| Failure::opening(&error))?;
        if position.index == 0 {
            return Err(Failure::unopened(format!("{} holds nothing that could be promoted", args.to.display())));
        }
        return end(sink(&args.to, &args.file_system)?, !args.promote, &taken, out);
    }
    let stdin = io::stdin();
    let broken = |error: io::Error| Failure::io("cannot read what is shipped", &error);
    let mut input = BufReader::new(File::from(stdin.as_fd().try_clone_to_owned().map_err(broken)?));
    let mut magic = [0; MAGIC.len()];
    input.read_exact(&mut magic).map_err(broken)?;
    if magic != *MAGIC {
        return Err(Failure::usage("the input is not what `twal ship` writes"));
    }
    // Not before: of an input that is none nothing is made, and a `ship --from` beside it has read the position by now.
    let mut sink = sink(&args.to, &args.file_system)?;
    let mut data = Vec::new();
    loop {
        // Whoever waits for more has made durable what there was.
        if input.buffer().is_empty() && !has_input(input.get_ref()) {
            taken.sync(&mut sink)?;
        }
        let piece = match next_piece(&mut input, &mut data) {
            Ok(Some(piece)) => piece,
            Ok(None) => return end(sink, !args.promote, &taken, out),
            Err(error) => {
                taken.sync(&mut sink)?;
                let durable = sink.position().last_seq;
                let doing = format_args!("cannot read what is shipped, of which all up to record {durable} is durable");
                return Err(Failure::io(doing, &error));
            }
        };
        if let Err(failure) = taken.take(&mut sink, &piece) {
            taken.sync(&mut sink)?;
            return Err(failure);
        }
    }
}

/// Whether reading would come back at once; also where it fails, or ends.
fn has_input(input: &File) -> bool {
    let mut fds = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO) != Ok(0)
}

/// Of a log that lacks a segment it is this that is said, and not that the names do not fit.
fn source(log: &Log, from: Option<&Position>) -> twal::base::Result<Source> {
    Source::open(log, from).map_err(|error| match open::damage_of(log) {
        Ok(Some(damage)) if error.code == Code::Busy => damage,
        _ => error,
    })
}

fn sink(to: &Path, args: &FileSystemArgs) -> Result<Sink, Failure> {
    let options = SinkOptions {
        allow_any_fs: args.allow_any_fs,
        allow_buffered: args.allow_buffered,
        // A copy keeps what its source does.
        max_retained_segments: u64::MAX,
        ..SinkOptions::default()
    };
    Sink::open(to, &options).map_err(|error| Failure::opening(&error))
}

/// What was written so far.
#[derive(Default)]
struct Taken {
    bytes: u64,
    unflushed: u64,
}

impl Taken {
    fn take(&mut self, sink: &mut Sink, piece: &Piece<'_>) -> Result<(), Failure> {
        sink.write(piece)?;
        let bytes = piece.zeros + u64::try_from(piece.data.len()).expect("in memory");
        self.bytes += bytes;
        self.unflushed += bytes;
        match self.unflushed >= SYNC_EVERY {
            true => self.sync(sink),
            false => Ok(()),
        }
    }

    fn sync(&mut self, sink: &mut Sink) -> Result<(), Failure> {
        if self.unflushed > 0 {
            sink.sync()?;
            self.unflushed = 0;
        }
        Ok(())
    }
}

/// Everything is durable, and the copy is a log of its own or stays a follower's.
fn end(mut sink: Sink, stays_follower: bool, taken: &Taken, out: &mut Out) -> Result<Exit, Failure> {
    sink.sync()?;
    let position = sink.position();
    out.fact("taken", size(taken.bytes))?;
    out.fact("durable", format_args!("up to record {}", position.last_seq))?;
    if stays_follower {
        out.fact("position", position_text(&position))?;
        sink.close()?;
    } else {
        sink.promote()?;
        out.fact("history", "its own from here on")?;
    }
    Ok(Exit::Clean)
}

fn send(out: &mut impl Write, piece: &Piece<'_>) -> io::Result<()> {
    out.write_all(PIECE)?;
    for id in [&piece.log_id, &piece.history_id, &piece.salt] {
        out.write_all(id)?;
    }
    let Piece { index, generation, offset, zeros, first_seq, last_seq, archived, .. } = *piece;
    for number in [index, generation, offset, zeros, first_seq, last_seq, archived] {
        out.write_all(&number.to_le_bytes())?;
    }
    out.write_all(&piece.crc.to_le_bytes())?;
    out.write_all(&u64::try_from(piece.data.len()).expect("in memory").to_le_bytes())?;
    out.write_all(piece.data)
}

/// None: all was sent.
fn next_piece<'d>(input: &mut impl Read, data: &'d mut Vec<u8>) -> io::Result<Option<Piece<'d>>> {
    let broken_off = |error: io::Error| match error.kind() {
        ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "it ends before all was sent"),
        _ => error,
    };
    let (mut word, mut head) = ([0; PIECE.len()], [0; HEAD]);
    input.read_exact(&mut word).map_err(broken_off)?;
    match &word {
        END => return Ok(None),
        PIECE => {}
        _ => return Err(io::Error::new(ErrorKind::InvalidData, "where a piece should begin there is none")),
    }
    input.read_exact(&mut head).map_err(broken_off)?;
    let id = |at: usize| -> [u8; 16] { head[16 * at..16 * at + 16].try_into().expect("16 bytes") };
    let number = |at: usize| u64::from_le_bytes(head[48 + at..56 + at].try_into().expect("8 bytes"));
    let crc = u32::from_le_bytes(head[104..108].try_into().expect("4 bytes"));
    let len = number(60);
    if len > DATA_MAX {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("a piece of {len} bytes is none")));
    }
    data.clear();
    // Room as it comes: a length is only believed as far as there are bytes.
    if u64::try_from(input.take(len).read_to_end(data)?).expect("in memory") < len {
        return Err(broken_off(ErrorKind::UnexpectedEof.into()));
    }
    Ok(Some(Piece {
        log_id: id(0),
        history_id: id(1),
        salt: id(2),
        index: number(0),
        generation: number(8),
        offset: number(16),
        zeros: number(24),
        first_seq: number(32),
        last_seq: number(40),
        archived: number(48),
        crc,
        data,
    }))
}

/// A position in one word: what `twal ship --from` takes.
fn position_text(position: &Position) -> String {
    let Position { log_id, history_id, salt, index, generation, offset, identity, last_seq, hold_seq, complete } =
        position;
    let ids = [log_id, history_id, salt].map(|id| hex(id)).join(":");
    let complete = u8::from(*complete);
    format!("{ids}:{index}:{generation}:{offset}:{identity:x}:{last_seq}:{hold_seq}:{complete}")
}

/// The same back; None: it is none.
fn position_of(text: &str) -> Option<Position> {
    let mut words = text.split(':');
    let mut ids = [[0; 16]; 3];
    for id in &mut ids {
        let word = words.next().filter(|word| word.len() == 32 && word.is_ascii())?;
        for (at, byte) in id.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&word[2 * at..2 * at + 2], 16).ok()?;
        }
    }
    let [log_id, history_id, salt] = ids;
    let mut number = |radix| u64::from_str_radix(words.next()?, radix).ok();
    let position = Position {
        log_id,
        history_id,
        salt,
        index: number(10)?,
        generation: number(10)?,
        offset: number(10)?,
        identity: number(16)?,
        last_seq: number(10)?,
        hold_seq: number(10)?,
        complete: match number(10)? {
            0 => false,
            1 => true,
            _ => return None,
        },
    };
    words.next().is_none().then_some(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_written() {
        let position = Position {
            log_id: [1; 16],
            history_id: [0xab; 16],
            salt: [3; 16],
            index: 4,
            generation: 5,
            offset: 6,
            identity: 0xfedc_ba98,
            last_seq: 8,
            hold_seq: 9,
            complete: true,
        };
        let text = position_text(&position);
        assert_eq!(position_of(&text), Some(position));
        for wrong in ["", "x", &text[1..], &format!("{text}:1"), &text[..text.len() - 2], &text.replace(":4:", ":-4:")]
        {
            assert_eq!(position_of(wrong), None, "{wrong}");
        }
        let text = text.strip_suffix('1').unwrap();
        assert_eq!(position_of(&format!("{text}0")), Some(Position { complete: false, ..position }));
        assert_eq!(position_of(&format!("{text}2")), None);
    }

    #[test]
    fn pieces_come_as_they_were_sent() {
        let bytes = [7; 100];
        let piece = Piece {
            log_id: [1; 16],
            history_id: [2; 16],
            salt: [3; 16],
            index: 4,
            generation: 5,
            offset: 6,
            zeros: 7,
            first_seq: 8,
            last_seq: 9,
            archived: 10,
            crc: 11,
            data: &bytes,
        };
        let mut sent = Vec::new();
        send(&mut sent, &piece).unwrap();
        let head_end = PIECE.len() + HEAD;
        assert_eq!(sent.len(), head_end + bytes.len());
        let mut data = Vec::new();
        let mut input = [sent.as_slice(), &sent, END].concat();
        let mut rest = input.as_slice();
        for _ in 0..2 {
            let came = next_piece(&mut rest, &mut data).unwrap().unwrap();
            assert_eq!(format!("{came:?}"), format!("{piece:?}"));
        }
        assert!(next_piece(&mut rest, &mut data).unwrap().is_none());
        // Cut anywhere it is no end, in front of a piece neither.
        for len in 0..sent.len() {
            assert!(next_piece(&mut &sent[..len], &mut data).is_err(), "{len}");
        }
        // A length is not believed: nothing is taken for what does not come.
        input.truncate(head_end);
        input[head_end - 8..].copy_from_slice(&DATA_MAX.to_le_bytes());
        assert!(next_piece(&mut input.as_slice(), &mut data).is_err());
        assert!(data.capacity() < 1 << 20);
        // Nor is what is more than any piece, however much comes.
        input[head_end - 8..].fill(0x7f);
        data.clear();
        input.resize(head_end + (1 << 20), 0x7f);
        assert_eq!(next_piece(&mut input.as_slice(), &mut data).unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(data.len(), 0);
        // Nor what begins as no piece does.
        input[0] ^= 1;
        assert_eq!(next_piece(&mut input.as_slice(), &mut data).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
