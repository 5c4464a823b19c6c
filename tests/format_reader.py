#!/usr/bin/env python3
"""Reads a twal log that no writer has open, and prints it as lines of JSON.

    format_reader.py DIR

One line for each record, oldest first:

    {"seq": 1, "stream": 0, "timestamp": 1, "type": 256, "flags": 0, "len": 2, "payload": "6869"}

and one for the end, with "tail" clean, torn or damaged (then "error" says what):

    {"end": {"segment": 1, "offset": 12288, "last_seq": 1, "tail": "clean"}}

Written from docs/FORMAT.md alone: it shows that the page suffices, and gives the
tests a reader that shares no line with the library.  Python 3, nothing else.
Exit: 0 read to the end, 1 damaged, 2 no log or wrong usage.
"""

import json
import os
import re
import struct
import sys
from collections import namedtuple

# --- checksums: docs/FORMAT.md, "Checksums"


def _table():
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


CRC_TABLE = _table()


def crc32c(*parts):
    crc = 0xFFFFFFFF
    for part in parts:
        for byte in part:
            crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283

# --- headers: the tables of docs/FORMAT.md, field for field

SEGMENT = struct.Struct("<8sIQqQQIIIIIQQ16s16s16sIIQQQQQ16sQ312s")
SegmentFields = namedtuple(
    "SegmentFields",
    "magic version index created_ns record_count previous_index crc compatible read_only_compatible "
    "incompatible block_size segment_size first_seq log_id history_id salt cipher_id key_id generation "
    "before_last_seq before_identity before_offset before_epoch before_epoch_id before_frame_number reserved",
)
FRAME = struct.Struct("<4sIIIQQIIQQQ16sQQ32s")
FrameFields = namedtuple(
    "FrameFields",
    "magic crc body_len body_crc first_seq seq_span record_count flags durable_seq durable_end epoch "
    "epoch_id frame_number chain reserved",
)
RECORD = struct.Struct("<IIHBBIQqQ")
RecordFields = namedtuple("RecordFields", "crc payload_crc type flags version len seq timestamp stream")
SEAL = struct.Struct("<QQQ")
SealFields = namedtuple("SealFields", "record_count first_seq frame_count")
FIRST_SEAL = struct.Struct("<QQQ16sQ")  # behind the others, in a compacted segment
FirstSealFields = namedtuple("FirstSealFields", "identity offset epoch epoch_id frame_number")
assert (SEGMENT.size, FRAME.size, RECORD.size, SEAL.size, SEAL.size + FIRST_SEAL.size) == (512, 128, 40, 24, 72)

DATA, MARK, SEALED, CUT = 1, 2, 4, 8
COMPACTED = 1  # the one bit of `incompatible`
U64_MAX = 2**64 - 1

# Where a run of frames has come to: "Chain".
Chain = namedtuple("Chain", "identity epoch epoch_id frame_number last_seq")


class Damage(Exception):
    def __init__(self, text, segment=0, offset=0):
        super().__init__(text)
        self.segment, self.offset = segment, offset


class Segment:
    """An open segment file with a checked header."""

    def __init__(self, directory, name):
        self.index, self.first_seq, self.state, self.file_name = name
        with open(os.path.join(directory, self.file_name), "rb") as file:
            self.bytes = file.read()
        raw = self.bytes[:512]
        if len(raw) < 512:
            raise Damage("the header is not whole", self.index)
        header = SegmentFields(*SEGMENT.unpack(raw))
        good = header.crc == crc32c(raw[:44], raw[48:])
        if header.magic != b"TWALv3.0" or not good:
            raise Damage("another format" if good and raw.startswith(b"TWALv") else "the header is damaged", self.index)
        if header.version != 30 or header.incompatible & ~COMPACTED or header.cipher_id:
            raise Damage("a version or feature that this reader does not know", self.index)
        block = header.block_size
        sound = (
            header.index >= 1
            and header.first_seq >= 1
            and header.previous_index == header.index - 1
            and header.before_last_seq == header.first_seq - 1
            and 512 <= block <= 65536
            and block & (block - 1) == 0
            and (4 * block if header.generation else 65536) <= header.segment_size <= 2**40
            and (header.generation > 0) == (header.incompatible == COMPACTED)
            and header.segment_size % block == 0
            and header.before_offset % block == 0
            and header.before_offset < 2**40
        )
        if not sound:
            raise Damage("the header contradicts itself", self.index)
        if (header.index, header.first_seq) != (self.index, self.first_seq):
            raise Damage("the header is not that of the file's name", self.index)
        self.header, self.block, self.size = header, block, header.segment_size
        self.before = Chain(
            header.before_identity,
            header.before_epoch,
            header.before_epoch_id,
            header.before_frame_number,
            header.before_last_seq,
        )

    def check_size(self):
        """Bytes that are missing at the end hide nothing in front of them."""
        if len(self.bytes) < self.size:
            raise Damage("the file is too short", self.index, len(self.bytes))

    def check_generation(self):
        """A file that is shorter than its header says, and ends as a compacted segment, has an older one's header."""
        end, offset = len(self.bytes), len(self.bytes) - 2 * self.block
        if end >= self.size or end % self.block or offset < self.block:
            return
        raw = self.bytes[offset : offset + self.block]
        frame, body = FrameFields(*FRAME.unpack(raw[:128])), raw[128 : 128 + SEAL.size + FIRST_SEAL.size]
        is_seal = frame.magic == b"TWAF" and frame.flags == SEALED and frame.body_len == len(body)
        if is_seal and frame.body_crc == crc32c(body) and seal_of(body)[0].first_seq == self.first_seq:
            raise Damage("the header is an older generation's", self.index)

    def frame_at(self, offset):
        """The verified header at this offset, or None."""
        raw = self.bytes[offset : offset + 128]
        if offset + 128 > self.size or len(raw) < 128 or raw[:4] != b"TWAF":
            return None
        frame = FrameFields(*FRAME.unpack(raw))
        place = (self.header.log_id, self.header.salt, struct.pack("<Q", offset))
        if frame.crc != crc32c(*place, raw[:4], raw[8:]):
            return None
        sound = (
            frame.flags in (DATA, MARK, SEALED, CUT)
            and frame.first_seq >= 1
            and frame.epoch >= 1
            and frame.frame_number >= 1
            and frame.first_seq + frame.seq_span <= U64_MAX
            and (frame.seq_span > 0) == (frame.flags == DATA)
            and frame.record_count <= frame.seq_span
            and frame.durable_seq < frame.first_seq
        )
        return frame if sound else None

    def frame_len(self, frame):
        return -(-(128 + frame.body_len) // self.block) * self.block

    def body_of(self, frame, offset):
        """The body, if the frame is whole, or None."""
        if offset + self.frame_len(frame) > self.size:
            return None
        body = self.bytes[offset + 128 : offset + 128 + frame.body_len]
        return body if crc32c(body) == frame.body_crc else None


def continues(chain, frame):
    same = (frame.epoch, frame.epoch_id, frame.frame_number) == (chain.epoch, chain.epoch_id, chain.frame_number + 1)
    new = frame.epoch > chain.epoch and frame.frame_number == 1
    return frame.chain == chain.identity and frame.first_seq == chain.last_seq + 1 and (same or new)


def after(frame):
    identity = frame.crc << 32 | frame.body_crc
    last_seq = frame.first_seq + frame.seq_span - 1
    return Chain(identity, frame.epoch, frame.epoch_id, frame.frame_number, last_seq)


def seal_of(body):
    """What a seal's body says, and of which seal it says that it was there first; or None."""
    if len(body) not in (SEAL.size, SEAL.size + FIRST_SEAL.size):
        return None, None
    first = FirstSealFields(*FIRST_SEAL.unpack(body[24:])) if len(body) > SEAL.size else None
    return SealFields(*SEAL.unpack(body[:24])), first


def sealed_end(frame, body, offset):
    """Behind a seal: the chain, and the offset that the next header names."""
    first = seal_of(body)[1]
    if first is None:
        return after(frame), offset
    chain = Chain(first.identity, first.epoch, first.epoch_id, first.frame_number, after(frame).last_seq)
    return chain, first.offset


def follows(chain, frame):
    later = (frame.epoch, frame.frame_number) > (chain.epoch, chain.frame_number)
    return later and frame.first_seq > chain.last_seq


def records_of(frame, body):
    """The records of a whole data frame."""
    at, last_seq, count = 0, frame.first_seq - 1, 0
    while at < len(body):
        raw = body[at : at + 40]
        if len(raw) < 40 or crc32c(raw[4:]) != RecordFields(*RECORD.unpack(raw)).crc:
            raise Damage("a record's header is damaged inside a whole frame")
        record = RecordFields(*RECORD.unpack(raw))
        if record.version != 1 or record.flags & ~3:
            raise Damage("a record of a newer format")
        payload = body[at + 40 : at + 40 + record.len]
        at += 40 + -(-record.len // 8) * 8
        if at > len(body) or crc32c(payload) != record.payload_crc:
            raise Damage("a record's payload is damaged inside a whole frame")
        if not last_seq < record.seq <= after(frame).last_seq:
            raise Damage("a record's number is not one of its frame's")
        last_seq, count = record.seq, count + 1
        yield record, payload
    if count != frame.record_count:
        raise Damage("a frame holds another number of records than its header says")


# --- names: docs/FORMAT.md, "Names"

Name = namedtuple("Name", "index first_seq state file_name")
SEGMENT_NAME = re.compile(r"twal-([0-9]{16})-([0-9]{20})\.(active|sealed|archived)", re.ASCII)
OTHER_NAME = re.compile(r"twal-spare-[0-9]{1,19}|twal-holds|twal-holds-new|twal-sink-new", re.ASCII)


UNFINISHED = "twal-repair-unfinished"


def names_in(directory):
    """The segments' names, and the damage that a name of no known form is."""
    names, stray = [], None
    for file_name in os.listdir(directory):
        found = SEGMENT_NAME.fullmatch(file_name)
        if found and 1 <= int(found[1]) and 1 <= int(found[2]) <= U64_MAX:
            names.append(Name(int(found[1]), int(found[2]), found[3], file_name))
        elif file_name.startswith("twal-") and not OTHER_NAME.fullmatch(file_name):
            if stray is None or file_name == UNFINISHED:
                stray = Damage("%s is no name of twal's" % file_name)
            if file_name == UNFINISHED:
                raise stray
    return sorted(names), stray


def newest_archived(names):
    return max((at for at, name in enumerate(names) if name.state == "archived"), default=None)


def check_names(names):
    """The first name that breaks a rule, and the damage; what lies before it can be read."""
    for older, younger in zip(names, names[1:]):
        if older.index == younger.index or older.first_seq > younger.first_seq:
            return younger, Damage("two files claim one index, or numbers fall", younger.index)
    oldest = names[0]
    if oldest.index != 1 and oldest.state != "archived":
        return oldest, Damage("the segments before the oldest are missing", oldest.index)
    if oldest.index == 1 and oldest.first_seq != 1:
        return oldest, Damage("the first segment does not begin with record 1", 1)
    whole = names[newest_archived(names) or 0 :]
    for at, (older, younger) in enumerate(zip(whole, whole[1:])):
        if older.index + 1 != younger.index:
            return younger, Damage("a segment is missing", younger.index)
        if older.state == "active" and at + 2 != len(whole):
            return older, Damage("an active segment that is not at the end", older.index)
    return None, None


# --- reading: docs/FORMAT.md, "Reading" and "The end of the log"


class Reader:
    def __init__(self, directory):
        self.directory = directory
        self.chain = Chain(0, 0, bytes(16), 0, 0)
        self.segment = self.offset = 0
        self.tail = "clean"
        self.stands = False  # the seal that was read last is in the place of another one

    def records(self):
        names, stray = names_in(self.directory)
        if not names:
            raise SystemExit("format_reader.py: there is no log in " + self.directory)
        bad_name, damage = check_names(names)
        archived = newest_archived(names)
        before = missing = None
        if archived is not None:
            before = Segment(self.directory, names[archived])
            try:
                before.check_size()
            except Damage as damaged:  # nobody reads there; all that is behind it can be read
                missing = damaged
        for at in range(0 if archived is None else archived + 1, len(names)):
            if names[at] == bad_name:
                raise damage
            segment = Segment(self.directory, names[at])
            self.enter(segment, before)
            self.vouch(segment, names[at + 1 : at + 2])
            yield from self.frames(segment, newest=at + 1 == len(names))
            segment.check_size()
            before = segment
        if missing:
            raise missing
        # Rule 1, or the newest one was compacted as only older ones are; all that is there can be read.
        if names[-1].state != "active" or self.stands:
            raise Damage("a newer segment was lost", names[-1].index)
        if stray:
            raise stray

    def enter(self, segment, before):
        header = segment.header
        if before is None:
            if segment.index == 1 and (any(segment.before[:2]) or segment.before.epoch_id != bytes(16)):
                raise Damage("the first segment names one before it", 1)
        else:
            if header.log_id != before.header.log_id:
                raise Damage("the segment is of another log", segment.index)
            offset = self.seal_place(before, segment)
            seal = before.frame_at(offset)
            body = seal and before.body_of(seal, offset)
            if not seal or body is None or seal.flags != SEALED or seal_of(body)[0] is None:
                raise Damage("the segment before has not the seal that this one names", before.index)
            if sealed_end(seal, body, offset) != (segment.before, header.before_offset):
                raise Damage("the segment before has not the seal that this one names", before.index)
            says, numbers = seal_of(body)[0], segment.first_seq - before.first_seq
            counted = says.record_count <= numbers if before.header.generation else says.record_count == numbers
            if says.first_seq != before.first_seq or not counted:
                raise Damage("the seal contradicts its segment", before.index, offset)
            if before.state != "archived" and (self.chain, self.seal_offset) != (segment.before, header.before_offset):
                raise Damage("the segment does not continue the one before it", segment.index)
        self.chain, self.segment, self.offset = segment.before, segment.index, segment.block

    def vouch(self, segment, behind):
        """The frames may be those that end in the seal which the next header names, if that can be read."""
        segment.check_generation()
        try:
            behind = Segment(self.directory, behind[0])
        except (IndexError, Damage):
            return
        follows_it = behind.index == segment.index + 1 and behind.first_seq >= segment.first_seq
        if behind.header.log_id != segment.header.log_id or not follows_it:
            return
        named, named_offset = behind.before, behind.header.before_offset
        another = Damage("the next segment's header names another end", segment.index)
        chain, offset = segment.before, segment.block
        while True:
            frame = segment.frame_at(offset)
            body = frame and segment.body_of(frame, offset)
            if not frame or body is None or not continues(chain, frame):
                return
            if frame.flags == SEALED:
                if sealed_end(frame, body, offset) != (named, named_offset):
                    raise another
                return
            chain = after(frame)
            offset += segment.frame_len(frame)
            other_epoch = frame.epoch > named.epoch or (frame.epoch == named.epoch and frame.epoch_id != named.epoch_id)
            beyond = not segment.header.generation and offset > named_offset
            if other_epoch or beyond or chain.last_seq > named.last_seq:
                raise another

    def seal_place(self, before, segment):
        named, chain = segment.header.before_offset, segment.before
        frame = before.frame_at(named)
        last = (chain.epoch, chain.epoch_id, chain.frame_number)
        itself = frame and frame.flags == SEALED and (frame.epoch, frame.epoch_id, frame.frame_number) == last
        return named if itself or not before.header.generation else before.size - 2 * before.block

    def frames(self, segment, newest):
        self.stands = False
        while True:
            frame = segment.frame_at(self.offset)
            body = frame and segment.body_of(frame, self.offset)
            if not frame or body is None or not continues(self.chain, frame):
                if not newest:
                    raise Damage("a frame that was acknowledged is damaged", segment.index, self.offset)
                self.judge(segment, frame)
                return
            if frame.flags == DATA:
                records = list(records_of(frame, body))  # whole or not at all
                for record, payload in records:
                    yield record, payload
            self.chain = after(frame)
            if frame.flags == SEALED:
                self.chain, self.seal_offset = sealed_end(frame, body, self.offset)
                self.stands = seal_of(body)[1] is not None
            self.offset += segment.frame_len(frame)
            if frame.flags == SEALED:
                return

    def judge(self, segment, frame):
        """What the spot that is not the next frame means."""
        ours = frame is not None and follows(self.chain, frame)
        follower = says_durable = False
        for offset in range(self.offset + segment.block, segment.size, segment.block):
            behind = segment.frame_at(offset)
            if behind and follows(self.chain, behind):
                follower = True
                says_durable |= behind.durable_seq > self.chain.last_seq or behind.durable_end > self.offset
        begins = segment.index == 1 and self.offset == segment.block
        spoilt = begins and not frame and any(segment.bytes[512 : segment.size])
        if spoilt or (follower and says_durable):
            raise Damage("a frame that was acknowledged is damaged", segment.index, self.offset)
        self.tail = "torn" if follower or ours else "clean"


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    reader = Reader(sys.argv[1])
    end = {}
    try:
        for record, payload in reader.records():
            line = {name: getattr(record, name) for name in ("seq", "stream", "timestamp", "type", "flags", "len")}
            print(json.dumps({**line, "payload": payload.hex()}))
    except Damage as damage:
        reader.tail = "damaged"
        end["error"] = str(damage)
        reader.segment = damage.segment or reader.segment
        reader.offset = damage.offset or reader.offset
    place = {"segment": reader.segment, "offset": reader.offset}
    print(json.dumps({"end": {**place, "last_seq": reader.chain.last_seq, "tail": reader.tail, **end}}))
    return 1 if end else 0


if __name__ == "__main__":
    sys.exit(main())
