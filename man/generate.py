#!/usr/bin/env python3
"""Makes the manual pages from the comments of include/twal.h.

    man/generate.py          writes man/*.3 and man/*.7
    man/generate.py --check  says which differ from what it would write; exit 1 if any

So that a page cannot say anything else than the header.  Only what the header
does not hold, the concepts and files of twal(7), stands here.  The pages are
committed: who builds needs no python.  Python 3, nothing else.
"""

import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
HEADER = os.path.join(HERE, os.pardir, "include", "twal.h")

# Page: what it is about, its functions, the types that are explained with them.
PAGES = {
    "twal_open": ("open and close a log", ["twal_open", "twal_close"],
                  ["twal_options", "twal_open_flags", "twal_durability", "twal_io_engine", "twal_size_policy"]),
    "twal_append": ("append records", ["twal_append", "twal_append_entry", "twal_append_batch", "twal_append_gather"],
                    ["twal_entry", "twal_append_flags", "twal_part"]),
    "twal_reserve": ("append a record that is written in place", ["twal_reserve", "twal_commit", "twal_cancel"],
                     ["twal_reservation"]),
    "twal_sync": ("make records durable, or wait until they are",
                  ["twal_sync", "twal_wait", "twal_durable_seq"], []),
    "twal_eventfd": ("learn of durable records without a thread that waits", ["twal_eventfd", "twal_sync_async"], []),
    "twal_first_seq": ("what numbers are there", ["twal_first_seq", "twal_last_seq"], []),
    "twal_recover_iter": ("read records", ["twal_recover_iter", "twal_iter_open", "twal_iter_next", "twal_iter_wait",
                                             "twal_iter_payload", "twal_iter_next_seq", "twal_iter_skipped",
                                             "twal_iter_close"],
                          ["twal_record", "twal_record_flags", "twal_iter_options", "twal_iter_flags", "twal_skipped"]),
    "twal_read": ("read one record by its number", ["twal_read"], ["twal_record"]),
    "twal_trim": ("release records, begin a new segment", ["twal_trim", "twal_roll"], []),
    "twal_hold_set": ("keep what somebody still needs",
                      ["twal_hold_set", "twal_hold_drop", "twal_hold_reset", "twal_holds"], ["twal_hold"]),
    "twal_archive_next": ("keep every segment elsewhere", ["twal_archive_next", "twal_archive_done"],
                          ["twal_segment"]),
    "twal_segments": ("which segments there are, and what holds them back", ["twal_segments"],
                      ["twal_segment", "twal_segment_state", "twal_held_by"]),
    "twal_size_hint": ("learn that a log grows too large", ["twal_size_hint"], ["twal_size_policy"]),
    "twal_streams": ("count the records of each stream", ["twal_streams"], ["twal_stream_count"]),
    "twal_recovery_get": ("what opening a log found", ["twal_recovery_get"], ["twal_recovery", "twal_tail"]),
    "twal_verify": ("read all of a log and tell what is damaged", ["twal_verify"],
                    ["twal_finding", "twal_finding_kind", "twal_acknowledged", "twal_verify_report"]),
    "twal_repair_plan": ("make a damaged log one that opens",
                         ["twal_repair_plan", "twal_repair_step_get", "twal_repair_apply", "twal_repair_close"],
                         ["twal_repair_step", "twal_repair_kind", "twal_repair_flags"]),
    "twal_source_open": ("ship a log's bytes to a follower",
                         ["twal_source_open", "twal_source_next", "twal_source_close"],
                         ["twal_source", "twal_ship_position", "twal_ship_piece"]),
    "twal_sink_open": ("follow a log, byte for byte",
                       ["twal_sink_open", "twal_sink_write", "twal_sink_sync", "twal_sink_position",
                        "twal_sink_promote", "twal_sink_close"],
                       ["twal_sink", "twal_sink_options", "twal_ship_position", "twal_ship_piece"]),
    "twal_txn_recover": ("sagas and two-phase commits that survive",
                  ["twal_txn_recover", "twal_txn_checkpoint", "twal_txn_close"],
                  ["twal_txn_options", "twal_txn_flags"]),
    "twal_txn_compact": ("give space of sealed segments back",
                  ["twal_txn_compact"],
                  ["twal_compact_options", "twal_compact_flags", "twal_compaction"]),
    "twal_tombstone": ("say what is dropped of a stream, or applied",
                  ["twal_tombstone", "twal_purge", "twal_applied", "twal_tombstone_get", "twal_purge_get",
                   "twal_applied_get", "twal_txn_iter_open"],
                  ["twal_tombstone_info", "twal_purge_info", "twal_applied_info"]),
    "twal_import": ("files of the v2.6 layout",
                  ["twal_import", "twal_export", "twal_v26_replay"],
                  ["twal_v26_options", "twal_v26_flags", "twal_v26_report", "twal_v26_exported", "twal_v26_told"]),
    "twal_txn_report_get": ("which operations there are",
                  ["twal_txn_report_get", "twal_txn_unfinished_get", "twal_txn_next", "twal_txn_stats_get"],
                  ["twal_txn_report", "twal_txn_operation", "twal_txn_kind", "twal_resume", "twal_saga_state",
                   "twal_2pc_state", "twal_txn_stats"]),
    "twal_txn_resume": ("finish what a crash has left",
                  ["twal_txn_resume", "twal_txn_left_get"],
                  ["twal_txn_participants", "twal_txn_act", "twal_txn_action", "twal_direction", "twal_outcome",
                   "twal_txn_resume_options", "twal_txn_resumed"]),
    "twal_saga_create": ("tell what happens to a saga",
                  ["twal_saga_create", "twal_saga_add_step", "twal_saga_start", "twal_saga_step_succeeded",
                   "twal_saga_step_failed", "twal_saga_compensation_start", "twal_saga_compensation_succeeded",
                   "twal_saga_compensation_failed", "twal_saga_completed", "twal_saga_compensated",
                   "twal_saga_aborted"],
                  ["twal_saga_spec", "twal_saga_flags", "twal_saga_step"]),
    "twal_saga_get": ("ask what a saga is",
                  ["twal_saga_state_get", "twal_saga_get", "twal_saga_payload_get", "twal_saga_token"],
                  ["twal_saga_state", "twal_txn_operation", "twal_saga_step_info", "twal_step_state", "twal_direction"]),
    "twal_2pc_create": ("tell what happens to a two-phase commit",
                  ["twal_2pc_create", "twal_2pc_add_participant", "twal_2pc_prepare", "twal_2pc_vote",
                   "twal_2pc_commit_start", "twal_2pc_commit_complete", "twal_2pc_abort_start",
                   "twal_2pc_expire", "twal_2pc_abort_complete", "twal_2pc_rollback_start", "twal_2pc_rollback_complete"],
                  ["twal_2pc_spec", "twal_2pc_participant", "twal_vote"]),
    "twal_2pc_get": ("ask what a two-phase commit is",
                  ["twal_2pc_state_get", "twal_2pc_get", "twal_2pc_token"],
                  ["twal_2pc_state", "twal_txn_operation", "twal_2pc_participant", "twal_vote", "twal_direction"]),
    "twal_stats_get": ("what a log has counted, and how it works here", ["twal_stats_get"], ["twal_stats"]),
    "twal_metrics": ("what a log has counted and measured, as text for Prometheus", ["twal_metrics"], []),
    "twal_message_callback": ("be told what happens in a log", ["twal_message_callback"],
                              ["twal_message", "twal_message_level", "twal_message_field"]),
    "twal_histogram_get": ("what a log has measured", ["twal_histogram_get", "twal_histogram_bound"],
                           ["twal_histogram", "twal_histogram_kind"]),
    "twal_last_error": ("what went wrong", ["twal_last_error", "twal_strerror"], ["twal_error", "twal_code"]),
    "twal_version_number": ("version of the library", ["twal_version_number", "twal_version_string"], []),
}

CONCEPTS = """
A log is a directory.  Programs append records to it; after any crash it gives them back in order.  What a record means is the
program's business.  Restoring a state from the records is too.

  record     Bytes with a type, a stream, a timestamp and a sequence number.  Sequence numbers start at 1 and have no gaps.
  batch      Records accepted together: after any crash all of them are there or none.
  stream     A 64-bit tag of the program: a shard, a tenant, a region.  TWAL_STREAM() makes one of two halves.
  frame      What one group commit writes: whole records, whole batches, to block-aligned places, with checksums.
  segment    A file of frames.  When it is full it is sealed, and the next one begins.
  mark       An empty frame that only says what is durable.
  epoch      One opening for writing.

The states of a record, in order:

  accepted   It has a sequence number and lies in memory.
  written    The kernel has it: it survives the death of the process.
  durable    The device has it, flushed: it survives power loss.
  sealed     It lies in a finished segment.
  archived   The program has released it with twal_trim(), and no hold keeps it.  Without that nothing ever is.
  removed    Its segment is gone, or its file was used again.

When an append returns depends on options.durability, which the flags of an entry override:

  TWAL_SYNC   When the record is durable.  The default.  Records of many threads that wait at the same time share one flush.
  TWAL_GROUP  When it is accepted.  It becomes durable after batch_records or batch_delay_us, together with others.
  TWAL_ASYNC  When it is accepted.  It is written in the background and flushed after flush_interval_ms.

Opening a log recovers it.  A frame at the end that was half written when the power failed was never acknowledged: it is cut off
and reported.  Damage to what was acknowledged is another thing: the log is refused for writing, and a reader yields everything
before the damage, then an error.  What the log cannot tell apart is damage to the very last frame and a half written one, until the next frame
or mark is on the device (options.idle_mark_us, 10 ms).

What twal promises, it promises on a device that honours flushes, and a file system that journals or copies on write.  File systems
that cannot keep it (network, FUSE, 9p, tmpfs, ramfs, hugetlbfs, volatile overlay) are refused, and so is one without O_DIRECT, unless twal_open_flags accept
them.
"""

FILES = """
All files of a log begin with "twal-"; other files in its directory are left alone.

  twal-<index>-<first_seq>.active    the segment that is being written
  twal-<index>-<first_seq>.sealed    a complete segment
  twal-<index>-<first_seq>.archived  a released one, kept until there are more than options.max_retained_segments
  twal-spare-<n>                     a file prepared for use
  twal-holds                         what twal_hold_set() keeps, from the first hold on
  twal-sink                          a follower's: how far the copy is durable, see twal_sink_open(3)

Never rename, remove or edit them by hand: a log that misses a file is refused.  A copy of the directory is a copy of the log
if nothing wrote to it meanwhile.  docs/FORMAT.md in the source describes every byte.
"""


def read_header():
    with open(HEADER, encoding="utf-8") as file:
        return file.read()


def comment_lines(comment):
    """The text of a comment, without its stars."""
    lines = comment.strip()[2:-2].lstrip("*").split("\n")
    return [re.sub(r"^ *\* ?", "", line).rstrip() for line in lines]


# --- from plain text to troff


def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("^", "\\(ha").replace("~", "\\(ti")
    return "\\&" + text if text.startswith((".", "'")) else text


def prose(text):
    """One paragraph: names of twal in bold."""
    text = escape(" ".join(text.split()))
    return re.sub(r"\b(twal_[a-z0-9_]+|TWAL_[A-Z0-9_]+[A-Z0-9])\b", r"\\fB\1\\fP", text)


def blocks(lines):
    """Text as (kind, …): para text; item term text; label term text."""
    found = []
    for line in lines:
        indent = len(line) - len(line.lstrip(" "))
        item = re.match(r"^  (\S+(?: \S+)*?)(?:  +(\S.*))?$", line) if indent == 2 else None
        label = re.match(r"^(Blocks|Threads|Signals|Since): +(\S.*)$", line)
        if not line.strip():
            found.append(None)
        elif label:
            found.append(["label", label[1], label[2]])
        elif item:
            found.append(["item", item[1], item[2] or ""])
        elif found and found[-1] and indent > 2 and found[-1][0] in ("item", "label"):
            found[-1][2] += " " + line.strip()
        elif found and found[-1] and found[-1][0] == "para" and indent == 0:
            found[-1][1] += " " + line
        elif found and found[-1] and found[-1][0] == "label" and indent > 0:
            found[-1][2] += " " + line.strip()
        else:
            found.append(["para", line.strip()])
    return found


def troff(lines):
    out = []
    for block in filter(None, blocks(lines)):
        if block[0] == "para":
            out += [".PP", prose(block[1])]
        else:
            term = block[1] + (":" if block[0] == "label" else "")
            out += [".TP", "\\fB" + escape(term) + "\\fP", prose(block[2]) if block[2].strip() else "\\&"]
    return out


def verbatim(lines):
    return [".PP", ".in +4n", ".nf"] + [escape(line) for line in lines] + [".fi", ".in"]


# --- what the header says


def declarations(header):
    """Name -> (comment lines, declaration)."""
    found = {}
    for match in re.finditer(r"^(/\*\*.*?\*/)\n(typedef (?:struct|enum) \w+ \{.*?\n\} \w+;|(?:TWAL_CHECK\n)?[a-z].*?;)",
                             header, re.S | re.M):
        comment, declaration = match.groups()
        pattern = r"(\w+);$" if not declaration.endswith(");") else r"\b(twal_\w+)\)?\("
        name = re.search(pattern, declaration)
        found[name[1]] = (comment_lines(comment), declaration.replace("TWAL_CHECK\n", ""))
    return found


def members(declaration):
    """The fields or constants of a type: (as written, comment lines)."""
    body = declaration[declaration.find("{") + 1 : declaration.rfind("}")] if "{" in declaration else ""
    for match in re.finditer(r"(/\*\*.*?\*/)\s*([^/]*?[;,])", body, re.S):
        comment = [line.strip() for line in comment_lines(match[1])]
        yield " ".join(match[2].rstrip(",").split()), comment


def preamble(header):
    """The sections of the first comment: title -> lines."""
    sections, title = {"": []}, ""
    for line in comment_lines(header[: header.index("*/") + 2]):
        if re.match(r"^(Caveats first|The map|The rules|An example)$", line):
            title = line
            sections[title] = []
        else:
            sections[title].append(line)
    return sections


def version(header):
    return re.search(r'#define TWAL_VERSION_STRING "(.*)"', header)[1]


# --- pages


def title(name, section, header):
    return ['.\\" Generated by man/generate.py from include/twal.h.  Do not edit.',
            '.TH %s %d "" "twal %s" "twal"' % (name, section, version(header))]


def see_also(names):
    return [".SH SEE ALSO", ",\n".join("\\fB%s\\fP(%d)" % (escape(name), section) for name, section in names)]


def synopsis(declarations):
    out = [".SH SYNOPSIS", ".nf", "\\fB#include <twal.h>\\fP"]
    for declaration in declarations:
        out.append(".PP")
        out += ["\\fB" + escape(line) + "\\fP" for line in declaration.split("\n")]
    return out + [".fi"]


def function_page(page, header):
    about, functions, types = PAGES[page]
    found = declarations(header)
    out = title(page, 3, header)
    out += [".SH NAME", ", ".join(escape(name) for name in functions) + " \\- " + escape(about)]
    out += synopsis([found[name][1] for name in functions + types if "{" not in found[name][1]])
    out.append(".SH DESCRIPTION")
    for name in functions:
        if len(functions) > 1:
            out.append(".SS " + escape(name) + "()")
        out += troff(found[name][0])
    if types:
        out.append(".SH TYPES")
    for name in types:
        comment, declaration = found[name]
        out.append(".SS " + escape(name))
        out += troff(comment)
        for member, text in members(declaration):
            out += [".TP", "\\fB" + escape(member.rstrip(";")) + "\\fP", prose(" ".join(text))]
    others = sorted(name for name in PAGES if name != page)
    return out + see_also([("twal", 7)] + [(name, 3) for name in others])


def overview(header):
    sections = preamble(header)
    first = sections[""]
    while first and not first[0].startswith("Records from"):
        first = first[1:]
    example = sections["An example"]
    out = title("twal", 7, header)
    out += [".SH NAME", "twal \\- write\\-ahead log for storage nodes"]
    out += [".SH SYNOPSIS", ".nf", "\\fB#include <twal.h>\\fP", ".PP",
            "\\fBcc \\fP\\fIprogram.c\\fP\\fB $(pkg\\-config \\-\\-cflags \\-\\-libs twal)\\fP", ".fi"]
    out += [".SH DESCRIPTION"] + troff(first)
    out += [".SH CAVEATS"] + troff(sections["Caveats first"])
    out += [".SH CONCEPTS"] + troff(CONCEPTS.split("\n"))
    out += [".SH FUNCTIONS"] + troff(sections["The map"])
    out += [".SH RULES"] + troff([line.strip() for line in sections["The rules"]])
    out += [".SH EXAMPLE"] + verbatim([line[2:] for line in strip_blank(example)])
    out += [".SH FILES"] + troff(FILES.split("\n"))
    return out + see_also([(name, 3) for name in sorted(PAGES)])


def strip_blank(lines):
    while lines and not lines[0].strip():
        lines = lines[1:]
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    return lines


def pages():
    header = read_header()
    functions = re.findall(r"^[a-z][\w \*]*?\b(twal_\w+)\(", header, re.M)
    made = {"twal.7": overview(header)}
    for page in PAGES:
        made[page + ".3"] = function_page(page, header)
        for name in PAGES[page][1]:
            if name != page:
                made[name + ".3"] = [".so man3/" + page + ".3"]
    missing = [name for name in functions if name + ".3" not in made]
    if missing:
        sys.exit("man/generate.py: give a page to " + ", ".join(missing))
    return {name: "\n".join(lines) + "\n" for name, lines in made.items()}


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    made = pages()
    there = {name for name in os.listdir(HERE) if re.fullmatch(r".*\.[37]", name)}
    differ = sorted(there - set(made))
    for name, text in sorted(made.items()):
        path = os.path.join(HERE, name)
        old = None
        if name in there:
            with open(path, encoding="utf-8") as file:
                old = file.read()
        if old != text:
            differ.append(name)
            if not check:
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
    if not check:
        for name in there - set(made):
            os.remove(os.path.join(HERE, name))
    elif differ:
        print("not what include/twal.h says: " + " ".join(differ) + " (run man/generate.py)")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
