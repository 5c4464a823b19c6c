#!/usr/bin/env python3
"""Makes the committed files of the v2.6 layout, from the layout alone:

file    magic "TWALv2.6", version u32 26, segment u64, created i64, record count u64, previous segment u64: 44 bytes
record  magic "WAL!", type u8, sequence u64, timestamp i64, payload length u32, CRC-32 of the payload u32: 29 bytes; payload

Little-endian, packed.  Beside each directory, NAME.jsonl says what is in it.

    make.py DIRECTORY
"""
import json, os, struct, sys, zlib

PER_FILE = 20
KIND = dict(N=0x01, add=0x02, E=0x03, s=0x04, f=0x05, C=0x06, u=0x07, x=0x08, D=0x09, U=0x0A, A=0x0B,
            TN=0x10, Tadd=0x11, TP=0x12, Tv=0x13, TC=0x14, TD=0x15, TA=0x16, TB=0x17, TR=0x18, TS=0x19)


def name(n):
    return bytes([n]) * 32


def saga(id, words):
    """N created, +n step added, E s1 f1 C u1 x1 D U A as in the names of the events."""
    for word in words.split():
        letter, rest = word[0], word[1:]
        body = struct.pack("<Q", id)
        if letter == "+":
            yield KIND["add"], body + struct.pack("<IB", int(rest), 5)
            continue
        if letter == "N":
            body += name(7)
        elif letter in "su":
            body += struct.pack("<I", int(rest))
        elif letter == "f":
            body += struct.pack("<II", int(rest), 99)
        elif letter == "x":
            body += struct.pack("<II", int(rest), 2)
        yield KIND[letter], body


def transaction(id, words):
    for word in words.split():
        letter, rest = word[0], word[1:]
        body = struct.pack("<Q", id)
        if letter == "+":
            yield KIND["Tadd"], body + name(int(rest)) + name(8)
            continue
        if letter == "N":
            body += name(7)
        elif letter in "vn":
            yield KIND["Tv"], body + name(int(rest)) + bytes([letter == "v"])
            continue
        yield KIND["T" + letter], body


def checkpoint(sagas, transactions):
    yield 0xF0, struct.pack("<QQ", sagas, transactions)


def record(kind, seq, timestamp, payload, checksums=True):
    crc = zlib.crc32(payload) if checksums else 0
    return struct.pack("<4sBQqII", b"WAL!", kind, seq, timestamp, len(payload), crc) + payload


def header(number, count, previous):
    return struct.pack("<8sIQqQQ", b"TWALv2.6", 26, number, 1_700_000_000 + number, count, previous)


def make(path, events, first_seq=1, checksums=True, cut=0):
    """`cut` bytes are missing at the end of the last file, whose header then counts nothing."""
    directory, label = os.path.split(path)
    os.makedirs(path, exist_ok=True)
    lines, files = [], [events[at:at + PER_FILE] for at in range(0, len(events), PER_FILE)]
    seq = first_seq
    for number, piece in enumerate(files, 1):
        last = number == len(files)
        content = header(number, 0 if last and cut else len(piece), number - 1)
        for kind, payload in piece:
            one = record(kind, seq, -3 * seq, payload, checksums)
            if not (last and cut and (kind, payload) == piece[-1]):
                lines.append(dict(file=number, offset=len(content), type=kind, seq=seq, timestamp=-3 * seq,
                                  payload=payload.hex()))
            content += one
            seq += 1
        with open(os.path.join(path, "wal_segment_%03d.wal" % number), "wb") as out:
            out.write(content[:len(content) - cut] if last else content)
    with open(os.path.join(directory, label + ".jsonl"), "w") as out:
        out.writelines(json.dumps(line) + "\n" for line in lines)


def main(directory):
    votes = "N +1 +2 P v1 v2"
    clean = [
        *saga(1, "N +1 +2 E s1 s2 D"),
        *saga(2, "N +1 +2 E s1 f2 u1 U"),           # the original's: no compensation_start
        *saga(3, "N +1 +2 E s1 C x1 u1 U"),
        *saga(4, "N +1 A"),
        *transaction(1, votes + " C D R S"),
        *transaction(2, "N +1 +2 P B"),              # the original's: no abort_start
        *transaction(3, "N +1 +2 P v1 n2 B"),
        *transaction(4, "N +1 A B"),
        *checkpoint(0, 0),
        *saga(5, "N +1"), *saga(6, "N +1 +2 E s1"), *saga(7, "N +1 +2 E s1 f2"), *saga(9, "N +1 E s1 C"),
        *transaction(5, "N +1"), *transaction(6, "N +1 +2 P v1"), *transaction(7, votes), *transaction(8, votes + " C"),
        *transaction(9, "N +1 P n1 A"), *transaction(12, votes + " C D R"),
    ]
    make(os.path.join(directory, "clean"), clean)
    make(os.path.join(directory, "torn"), clean[:45], cut=5)
    make(os.path.join(directory, "nosums"), clean[:25], first_seq=1000, checksums=False)
    make(os.path.join(directory, "illegal"), [
        *saga(1, "N +1 E s1"),
        *saga(2, "N +1 E s1 D s1"),                  # a step of a finished saga
        *saga(2, "N"),                               # a second created
        *saga(9, "E"),                               # of an unknown saga
        *transaction(1, "N +1 P v1 C v1"),           # a vote after commit
        *transaction(2, votes),
        (0x20, struct.pack("<QQ", 1, 2)),            # a type that the layout does not have
        (0x13, struct.pack("<Q", 2) + name(1) + b"\x02"),  # a vote that is neither
        (0x04, struct.pack("<Q", 1) + b"\1"),        # too short
        *transaction(3, "N +1 P v1 C D"),
        *saga(10, "N +1 E s1 D"),
    ])


if __name__ == "__main__":
    main(sys.argv[1])
