#!/usr/bin/env python3
"""Reads a directory of files of the v2.6 layout, knowing nothing but the layout (see make.py), and prints each
record as make.py does.  Whatever is not as it should be is an error: names, previous segments, counts, checksums.

    read.py DIRECTORY
"""
import json, os, re, struct, sys, zlib


def main(directory):
    names = sorted(os.listdir(directory), key=lambda name: int(re.fullmatch(r"wal_segment_(\d{3,})\.wal", name)[1]))
    previous, last_seq = 0, -1
    for name in names:
        with open(os.path.join(directory, name), "rb") as file:
            content = file.read()
        magic, version, number, _, count, before = struct.unpack_from("<8sIQqQQ", content)
        assert (magic, version) == (b"TWALv2.6", 26), name
        assert name == "wal_segment_%03d.wal" % number and before == previous and number == previous + 1, name
        assert len(content) <= 64 << 20 and count <= 100_000, name
        previous, offset, records = number, 44, 0
        while offset < len(content):
            magic, kind, seq, timestamp, length, crc = struct.unpack_from("<4sBQqII", content, offset)
            payload = content[offset + 29:offset + 29 + length]
            assert magic == b"WAL!" and len(payload) == length and zlib.crc32(payload) == crc, (name, offset)
            assert seq > last_seq, (name, offset)
            print(json.dumps(dict(file=number, offset=offset, type=kind, seq=seq, timestamp=timestamp,
                                  payload=payload.hex())))
            last_seq, offset, records = seq, offset + 29 + length, records + 1
        assert records == count, name


if __name__ == "__main__":
    main(sys.argv[1])
