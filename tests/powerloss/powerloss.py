#!/usr/bin/env python3
"""Power loss at every point, on real file systems: the kernel's own journals decide what is left.

    powerloss.py --build DIR [--fs ext4,xfs,btrfs] [--seconds N] [--seed N] [--cuts N] [--jobs N] [--programs log,txn,ship]
    powerloss.py --build DIR --replay RECORDING --cut CUT

disk.c is a disk that writes down every write and flush; log.c, txn.c and ship.c
use logs on it and note each promise in the same order.  Power is then cut at
many points of that journal: what a finished flush covers is on the disk; of
the rest any part is, torn, in any order.  Each such disk is mounted, and the
same program says whether every promise was kept, and whether it can go on.

--seconds is for each file system.  A violation leaves its recording in
DIR/powerloss/found, and the command that judges that cut again.  What threads
do is not in the seed's hands: the seed repeats the choices, the recording the
cut.  Exit: 0 good, 1 a promise was broken, 77 skipped, with the reason.

Needs root, /dev/fuse, loop devices and mkfs.  Runs in namespaces of its own
for mounts and processes: whatever ends it ends everything it began.  Python 3,
nothing else.
"""

import argparse
import collections
import concurrent.futures
import ctypes
import errno
import fcntl
import json
import mmap
import os
import queue
import random
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback

MIB = 1 << 20
PATIENCE_S = 120

# Disk size, mkfs, and mount options of which each recording takes one.
FILE_SYSTEMS = {
    "ext4": (128 * MIB, ["mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0"], [""]),
    "xfs": (320 * MIB, ["mkfs.xfs", "-q", "-f"], ["nouuid"]),
    "btrfs": (256 * MIB, ["mkfs.btrfs", "-q", "-f"], ["", "nodatacow"]),
}

# Who uses the disk: appends, rolls, trims and a hold; transactions, compactions and holds; a log and its follower.
PROGRAMS = ["log", "txn", "ship"]

# What becomes of the writes that no flush covered: all lost; all there; each
# there or not; only later ones there; each there, not, or torn: twal's at
# sectors of 512 bytes, the file system's own at 4096.
STYLES = ["none", "all", "some", "late", "tear512", "tear512", "tear4096"]


class Skip(Exception):
    pass


class NotMounted(Exception):
    """The file system itself cannot live with what is on the disk."""


# --- the kernel: namespaces, loop devices, mounts -----------------------------

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWPID = 0x20000, 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE, MNT_DETACH = 2, 4, 8, 0x4000, 1 << 18, 2
PR_SET_PDEATHSIG = 1
LOOP_CTL_GET_FREE, LOOP_CONFIGURE = 0x4C82, 0x4C0A
LO_FLAGS_AUTOCLEAR, LO_FLAGS_DIRECT_IO = 4, 16
LOOP_CONFIG = struct.Struct("II 52x I 176x 64x")  # loop_config: fd, block size, ..., info.lo_flags, ...
assert LOOP_CONFIG.size == 304


def call(name, *args):
    if LIBC[name](*args) < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def mount(source, target, kind, flags=0, data=""):
    call("mount", source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode())


def unmount(target):
    """Waits for those that are just leaving."""
    for _ in range(500):
        try:
            return call("umount2", target.encode(), 0)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            time.sleep(0.01)
    call("umount2", target.encode(), MNT_DETACH)


def attach(path, direct):
    """A loop device over a file: its descriptor and name.  It goes with its last user."""
    flags = LO_FLAGS_AUTOCLEAR | (LO_FLAGS_DIRECT_IO if direct else 0)
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        while True:
            name = f"/dev/loop{fcntl.ioctl(control, LOOP_CTL_GET_FREE)}"
            device = os.open(name, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(device, LOOP_CONFIGURE, LOOP_CONFIG.pack(file, 512, flags))
                return device, name
            except OSError as error:
                os.close(device)
                if error.errno != errno.EBUSY:  # somebody else was quicker
                    raise
    finally:
        os.close(file)
        os.close(control)


class Mounted:
    """The file system in a file, mounted on a directory."""

    def __init__(self, image, place, fs, options, direct=False):
        self.image, self.place, self.fs, self.options, self.direct = image, place, fs, options, direct

    def __enter__(self):
        device, name = attach(self.image, self.direct)
        try:
            if self.direct:
                self.expect_flushes(os.path.basename(name))
            mount(name, self.place, self.fs, 0, self.options)
        except OSError as error:
            raise NotMounted(str(error)) from error
        finally:
            os.close(device)
        return self

    def __exit__(self, *_):
        unmount(self.place)

    @staticmethod
    def expect_flushes(name):
        with open(f"/sys/block/{name}/queue/write_cache") as file:
            if file.read().strip() != "write back":
                raise Skip("this kernel's loop device shows no volatile cache")


def in_namespaces(run, work):
    """Runs it as the first process of its own namespaces, with a tmpfs on `work`: all of its children, and with them
    mounts, servers, loop devices and images, go with it."""
    call("unshare", CLONE_NEWNS | CLONE_NEWPID)
    child = os.fork()
    if child:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: os.kill(child, signal.SIGTERM))
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setpgid(0, 0)  # a terminal's Ctrl-C comes once, through the parent
    signal.signal(signal.SIGTERM, stop)
    code = 1
    try:
        mount("none", "/", "", MS_REC | MS_PRIVATE)
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        mount("powerloss", work, "tmpfs")
        code = run()
    except KeyboardInterrupt:
        print("stopped")
        code = 130
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def stop(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


# --- files --------------------------------------------------------------------


ZEROS = bytes(64 << 10)


def copy_sparse(source, target):
    """Holes stay holes, and zeros become holes."""
    read = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    write = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    size, at = os.fstat(read).st_size, 0
    os.ftruncate(write, size)
    while at < size:
        try:
            at = os.lseek(read, at, os.SEEK_DATA)
        except OSError:  # only a hole is left
            break
        end = os.lseek(read, at, os.SEEK_HOLE)
        while at < end:
            data = os.pread(read, min(len(ZEROS), end - at), at)
            if data != ZEROS[: len(data)]:
                os.pwrite(write, data, at)
            at += len(data)
    os.close(read)
    os.close(write)


def fresh(path):
    os.makedirs(path, exist_ok=True)
    return path


# --- recording ----------------------------------------------------------------


class Recording:
    """A directory: base.img, journal, before (marks of earlier recordings), about.json."""

    def __init__(self, path):
        self.path = path
        with open(self.file("about.json")) as file:
            self.__dict__.update(json.load(file))

    def file(self, name):
        return os.path.join(self.path, name)


class BrokenWhileRecording(Exception):
    pass


def record(tools, path, about, calls, eager=False):
    """Lets its program use the disk base.img of this directory, and writes the journal beside it."""
    image, fuse, place = (os.path.join(path, name) for name in ("image", "fuse", "mount"))
    copy_sparse(os.path.join(path, "base.img"), image)
    command = [tools["disk"], image, os.path.join(path, "journal"), fresh(fuse), str(about["seed"])]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    # Who waits for a server that hangs cannot be killed, but when it dies its file answers with errors.
    patience = threading.Timer(2 * PATIENCE_S, server.kill)
    patience.start()
    try:
        if server.stdout.readline() != b"ready\n":
            raise Skip("the FUSE disk cannot be mounted")
        try:
            with Mounted(os.path.join(fuse, "disk"), fresh(place), about["fs"], about["options"], direct=True):
                command = [tools[about["program"]], "write", os.path.join(place, "log"), os.path.join(fuse, "mark")]
                command += [str(about["seed"]), str(about["life"]), str(calls)] + ["eager"] * eager
                try:
                    failure, output = run_program(command)
                except BaseException:
                    server.kill()  # before anything is unmounted
                    raise
            if failure:
                raise BrokenWhileRecording(failure)
            about["next_life"] = int(output)
        finally:
            unmount(fuse)
        server.wait(PATIENCE_S)
    finally:
        patience.cancel()
        server.kill()
        server.wait()
        os.unlink(image)
        with open(os.path.join(path, "about.json"), "w") as file:
            json.dump(about, file)
    return Recording(path)


def run_program(command):
    """What went wrong, None if nothing did; and what it printed."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        return f"not done after {PATIENCE_S} s", ""
    if done.returncode:
        return done.stderr.strip() or f"exit status {done.returncode}", done.stdout
    return None, done.stdout


# --- cutting ------------------------------------------------------------------

Entry = collections.namedtuple("Entry", "kind id offset len data")
ENTRY = struct.Struct("IIQQ")  # struct entry of disk.c


class Journal:
    def __init__(self, recording):
        self.entries = []
        with open(recording.file("journal"), "rb") as file:
            self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        at = 0
        while at < len(self.bytes):
            kind, number, offset, length = ENTRY.unpack_from(self.bytes, at)
            at += ENTRY.size
            self.entries.append(Entry(chr(kind), number, offset, length, at))
            if chr(kind) in "WM":
                at += length

    def data(self, entry):
        if entry.kind == "Z":
            return bytes(entry.len)
        return self.bytes[entry.data : entry.data + entry.len]


class Disk:
    """What the disk certainly holds, as the journal goes on; and the writes that it may hold."""

    def __init__(self, recording, journal, path):
        self.journal, self.path, self.at = journal, path, 0
        copy_sparse(recording.file("base.img"), path)
        self.file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        with open(recording.file("before"), "rb") as file:
            self.marks = [file.read()]
        self.pending = {}  # id: entry, in the order of the journal
        self.done = set()
        self.flushing = {}  # id of a flush: the writes that it covers

    def advance(self, position):
        for entry in self.journal.entries[self.at : position]:
            if entry.kind in "WZ":
                self.pending[entry.id] = entry
            elif entry.kind == "D":
                self.done.add(entry.id)
            elif entry.kind == "F":
                self.flushing[entry.id] = [number for number in self.pending if number in self.done]
            elif entry.kind == "E":
                for number in self.flushing.pop(entry.id):
                    if number in self.pending:
                        self.write(self.file, self.pending.pop(number))
            else:
                self.marks.append(self.journal.data(entry))
        self.at = position

    def write(self, file, entry, start=0, end=None):
        end = entry.len if end is None else end
        os.pwrite(file, self.journal.data(entry)[start:end], entry.offset + start)

    def cut(self, style, seed, path):
        """Makes the image of a power cut at this point."""
        chance = random.Random(f"cut/{seed}")
        copy_sparse(self.path, path)
        often = chance.choice([0.1, 0.5, 0.9])
        waiting = list(self.pending.values())
        if style == "late":
            waiting = waiting[chance.randrange(len(waiting) + 1) :]
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        for entry in waiting:
            if style in ("all", "late") or (style != "none" and chance.random() < often):
                if style.startswith("tear"):
                    self.tear(file, entry, 512 if style == "tear512" and self.of_twal(entry) else 4096, chance)
                else:
                    self.write(file, entry)
        os.close(file)

    def of_twal(self, entry):
        """A frame, a segment header, or the zeros of a spare.  Not all file systems survive a block of their own that is
        torn at 512 bytes: ext4's superblock has 1024 under one checksum, XFS's B-tree blocks have 4096."""
        data = self.journal.data(entry)
        return data[:4] in (b"TWAF", b"TWAL") or not data.strip(b"\0")

    def tear(self, file, entry, sector, chance):
        count = -(-entry.len // sector)
        first, last = sorted((chance.randrange(count + 1), chance.randrange(count + 1)))
        kept = chance.choice([range(first), range(first, count), range(first, last), range(count)])
        if chance.random() < 0.3:
            kept = [n for n in range(min(count, 4096)) if chance.random() < 0.5]
        for n in kept:
            self.write(file, entry, n * sector, min(entry.len, (n + 1) * sector))

    def close(self):
        os.close(self.file)
        os.unlink(self.path)


def choose_cuts(journal, limit, chance):
    """Positions of the journal, each with a style and a seed: around the ends of flushes, behind promises, while
    twal's writes are under way, and anywhere.  All flushes and promises, if they fit.  Also the number of flushes."""
    def behind(kinds):
        return [n + 1 for n, entry in enumerate(journal.entries) if entry.kind in kinds]

    ends = behind("E")
    around = [n - before for n in ends for before in (0, 1)]
    positions = []
    for some, share in ((around, 0.5), (behind("M"), 0.2), (behind("WD"), 0.2)):
        positions += chance.sample(some, min(len(some), int(limit * share)))
    positions += [chance.randrange(len(journal.entries) + 1) for _ in range(limit - len(positions))]
    return [(position, chance.choice(STYLES), chance.randrange(1 << 32)) for position in sorted(positions)], len(ends)


def cut_name(cut):
    return ":".join(str(part) for part in cut)


# --- judging ------------------------------------------------------------------


class Judges:
    """Mounts images and asks the program that wrote them about them, several at once."""

    def __init__(self, tools, work, jobs):
        self.tools, self.work = tools, work
        self.pool = concurrent.futures.ThreadPoolExecutor(jobs)
        self.free = threading.Semaphore(jobs + 1)
        self.places = queue.SimpleQueue()
        self.verdicts = queue.SimpleQueue()  # (cut, "violation" or "unmountable", text)
        for n in range(jobs):
            self.places.put(fresh(os.path.join(work, f"cut{n}")))
        self.count = 0
        self.tails = collections.Counter()

    def submit(self, recording, disk, cut):
        self.free.acquire()
        self.count += 1
        image = os.path.join(self.work, f"image{self.count}")
        marks = image + ".marks"
        disk.cut(cut[1], cut[2], image)
        with open(marks, "wb") as file:
            file.writelines(disk.marks)
        return self.pool.submit(self.judge, recording, cut, image, marks)

    def judge(self, recording, cut, image, marks):
        place = self.places.get()
        try:
            with Mounted(image, place, recording.fs, recording.options):
                command = [self.tools[recording.program], "check", os.path.join(place, "log"), marks]
                failure, tail = run_program(command + [str(recording.seed), str(recording.next_life)])
            if failure:
                self.verdicts.put((cut, "violation", failure))
            self.tails[tail.strip()] += 1
        except NotMounted as error:
            self.verdicts.put((cut, "unmountable", str(error)))
        finally:
            self.places.put(place)
            os.unlink(image)
            os.unlink(marks)
            self.free.release()

    def take(self):
        found = []
        while not self.verdicts.empty():
            found.append(self.verdicts.get())
        return found


# --- the whole run ------------------------------------------------------------


class Run:
    def __init__(self, args, work):
        self.args, self.work = args, work
        self.tools = {name: os.path.join(args.build, "powerloss", name) for name in ["disk"] + PROGRAMS}
        self.judges = Judges(self.tools, work, args.jobs)
        self.kept = 0

    def new_disk(self, path, fs, program, chance, eager):
        size, mkfs, options = FILE_SYSTEMS[fs]
        image = os.path.join(path, "base.img")
        with open(image, "wb") as file:
            file.truncate(size)
        done = subprocess.run(mkfs + [image], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise Skip(f"{mkfs[0]} failed: {done.stdout.strip()}")
        open(os.path.join(path, "before"), "w").close()
        return {"fs": fs, "program": program, "options": chance.choice(options), "seed": chance.randrange(1 << 32), "life": 1, "cuts": [],
                "eager": eager}

    def disk_of_cut(self, path, recording, journal, cut):
        """The disk that a power cut left, with the promises made until then."""
        disk = Disk(recording, journal, os.path.join(self.work, "stable"))
        disk.advance(cut[0])
        disk.cut(cut[1], cut[2], os.path.join(path, "base.img"))
        with open(os.path.join(path, "before"), "wb") as file:
            file.writelines(disk.marks)
        disk.close()
        return {"fs": recording.fs, "program": recording.program, "options": recording.options, "seed": recording.seed,
                "life": recording.next_life, "cuts": recording.cuts + [cut_name(cut)], "eager": recording.eager}

    def judge_cuts(self, recording, journal, cuts, until):
        """How many cuts were judged, and what was found."""
        disk = Disk(recording, journal, os.path.join(self.work, "stable"))
        found, waiting = [], []
        for cut in cuts:
            if time.monotonic() > until() or any(kind == "violation" for _, kind, _ in found):
                break
            disk.advance(cut[0])
            waiting.append(self.judges.submit(recording, disk, cut))
            found += self.judges.take()
        for one in waiting:
            one.result()
        disk.close()
        return len(waiting), found + self.judges.take()

    def keep(self, recording_path, fs):
        self.kept += 1
        path = os.path.join(self.args.build, "powerloss", "found", f"{fs}-{self.args.seed}-{self.kept}")
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path)
        for name in ("base.img", "journal", "before", "about.json"):
            copy_sparse(os.path.join(recording_path, name), os.path.join(path, name))
        return path

    def report(self, recording, cut, kind, text):
        print(f"{kind.upper()} of {recording.program} on {recording.fs} {recording.options}, seed {self.args.seed}, cut {cut_name(cut)}")
        print("    " + text.replace("\n", "\n    "))
        if self.kept == 20:
            return
        path = self.keep(recording.path, recording.fs)
        print(f"    again: {sys.argv[0]} --build {self.args.build} --replay {path} --cut {cut_name(cut)}", flush=True)

    def file_system(self, fs):
        """Records and cuts until the time is over; whether every promise was kept."""
        until = time.monotonic() + self.args.seconds
        self.judges.tails.clear()
        recordings = chained = unmountable = violations = number = 0
        cuts = collections.Counter()  # by program
        last = None  # recording, journal, cuts
        while time.monotonic() < until and violations < 3:
            number += 1
            chance = random.Random(f"{self.args.seed}/{fs}/{number}")
            path = fresh(os.path.join(self.work, f"recording{number}"))
            if last and chance.random() < 0.6 and len(last[0].cuts) < 4:
                about = self.disk_of_cut(path, *last[:2], chance.choice(last[2]))
            else:
                least = min(self.args.programs.split(","), key=lambda program: cuts[program])
                about = self.new_disk(path, fs, least, chance, False)
            if last:
                shutil.rmtree(last[0].path)
                last = None
            try:
                recording = record(self.tools, path, about, chance.choice([40, 120, 400]))
            except BrokenWhileRecording as broken:
                violations += 1
                print(f"VIOLATION of {about['program']} on {fs} {about['options']}, seed {self.args.seed}, while recording {number}: {broken}")
                print(f"    the disk it began with is left in {self.keep(path, fs)}", flush=True)
                continue
            except NotMounted as error:
                unmountable += 1
                print(f"not mounted: {fs}, seed {self.args.seed}, recording {number}, a disk of the cuts {about['cuts']}: {error}")
                print(f"    the disk it began with is left in {self.keep(path, fs)}", flush=True)
                continue
            journal = Journal(recording)
            chosen, flushes = choose_cuts(journal, self.args.cuts, chance)
            judged, found = self.judge_cuts(recording, journal, chosen, lambda: until)
            for cut, kind, text in found:
                self.report(recording, cut, kind, text)
            violations += sum(kind == "violation" for _, kind, _ in found)
            unmountable += sum(kind == "unmountable" for _, kind, _ in found)
            recordings, chained = recordings + 1, chained + bool(recording.cuts)
            cuts[recording.program] += judged
            if self.args.verbose:
                kinds = collections.Counter(entry.kind for entry in journal.entries)
                print(f"{fs} {number}: {recording.program} behind {len(recording.cuts)} cuts; {kinds['W']} writes, {flushes} flushes, "
                      f"{kinds['M']} marks; {judged} cuts, {len(found)} found", flush=True)
            last = recording, journal, chosen
        if last:
            shutil.rmtree(last[0].path)
        tails = self.judges.tails
        by_program = ", ".join(f"{program} {count}" for program, count in sorted(cuts.items()))
        print(f"{fs}: {cuts.total()} cuts ({by_program}) of {recordings} recordings ({chained} of them on a disk that a cut had left): "
              f"{violations} violations, {unmountable} not mounted by the kernel, {tails['torn']} with a torn tail, "
              f"{tails['none']} before there was a log", flush=True)
        # Where hardly anything is mounted, nothing was judged.
        return violations == 0 and cuts.total() > 20 * unmountable

    def canary(self, fs, program):
        """Promises that are noted too early must be noticed; whether they are."""
        for number in range(1, 6):
            chance = random.Random(f"{self.args.seed}/{fs}/canary/{program}/{number}")
            path = fresh(os.path.join(self.work, f"canary{number}"))
            recording = record(self.tools, path, self.new_disk(path, fs, program, chance, True), 150, eager=True)
            journal = Journal(recording)
            chosen, _ = choose_cuts(journal, 200, chance)
            judged, found = self.judge_cuts(recording, journal, chosen, lambda: float("inf"))
            shutil.rmtree(path)
            for cut, kind, text in found:
                if kind == "violation" and "LOST" in text:
                    line = next(line for line in text.splitlines() if "LOST" in line)
                    print(f"{fs}: {program}'s canary noticed at its cut number {judged}: {line[line.index('LOST'):]}", flush=True)
                    return True
        print(f"{fs}: {program}'s CANARY NOT NOTICED: false promises pass", flush=True)
        return False

    def replay(self):
        recording = Recording(self.args.replay)
        journal = Journal(recording)
        position, style, seed = self.args.cut.split(":")
        cut = int(position), style, int(seed)
        _, found = self.judge_cuts(recording, journal, [cut], lambda: float("inf"))
        for _, kind, text in found:
            print(f"{kind}: {text}")
        if not found:
            print("every promise is kept")
        return 1 if found else 0

    def all(self):
        print(f"seed {self.args.seed}", flush=True)
        good, done = True, 0
        for fs in self.args.fs.split(","):
            try:
                if not shutil.which(FILE_SYSTEMS[fs][1][0]):
                    raise Skip(f"there is no {FILE_SYSTEMS[fs][1][0]}")
                for program in self.args.programs.split(","):
                    good &= self.canary(fs, program)
                good &= self.file_system(fs)
                done += 1
            except Skip as why:
                print(f"skipped: {fs}: {why}", flush=True)
            except BrokenWhileRecording as broken:
                print(f"{fs}: a canary's log could not be written: {broken}", flush=True)
                good, done = False, done + 1
        return 77 if not done else 0 if good else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True, help="where disk and the programs lie, in powerloss/")
    parser.add_argument("--programs", default=",".join(PROGRAMS))
    parser.add_argument("--fs", default=",".join(FILE_SYSTEMS))
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("POWERLOSS_SECONDS") or 200))
    parser.add_argument("--seed", type=int, default=time.time_ns() % (1 << 32))
    parser.add_argument("--cuts", type=int, default=300, help="at most so many of one recording")
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--replay", help="a recording that was left")
    parser.add_argument("--cut")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    args.build = os.path.abspath(args.build)
    unknown = set(args.fs.split(",")) - set(FILE_SYSTEMS) | set(args.programs.split(",")) - set(PROGRAMS)
    if unknown or bool(args.replay) != bool(args.cut):
        parser.error(f"unknown: {unknown}" if unknown else "--replay and --cut go together")
    for missing, why in [(os.geteuid() != 0, "it needs root"), (not os.path.exists("/dev/fuse"), "there is no /dev/fuse"),
                         (not os.path.exists("/dev/loop-control"), "there are no loop devices")]:
        if missing:
            print(f"skipped: {why}")
            return 77

    work = fresh(os.path.join(args.build, "powerloss", "work"))

    def run():
        run = Run(args, work)
        return run.replay() if args.replay else run.all()

    return in_namespaces(run, work)


if __name__ == "__main__":
    sys.exit(main())
