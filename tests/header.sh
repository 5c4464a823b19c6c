#!/bin/sh
# Does the header compile alone, in every standard it promises, without one
# warning?  And the example in it, and its macros?
#
#   header.sh twal.h scratch-dir cc c++ warnings c-standards c++-standards
set -eu
header=$1 dir=$2 cc=$3 cxx=$4 warn=$5 c_standards=$6 cxx_standards=$7
rm -rf "$dir"
mkdir -p "$dir"
trap 'rm -rf "$dir"' EXIT
include=$(cd "$(dirname "$header")" && pwd)

# Nothing but the header, twice.
printf '#include <twal.h>\n#include <twal.h>\nextern int nothing_else;\n' > "$dir/alone.c"

# Every macro that makes a value.
cat > "$dir/macros.c" <<'C'
#define TWAL_CHECK_RESULTS
#include <twal.h>
extern uint64_t use_macros(uint32_t tenant, int shard);
uint64_t use_macros(uint32_t tenant, int shard)
{
    twal_options options = TWAL_OPTIONS_INIT;
    twal_entry entry = TWAL_ENTRY_INIT;
    twal_reservation reservation = TWAL_RESERVATION_INIT;
    twal_error error = TWAL_ERROR_INIT;
    twal_stats stats = TWAL_STATS_INIT;
    twal_recovery recovery = TWAL_RECOVERY_INIT;
    twal_txn_options txn_options = TWAL_TXN_OPTIONS_INIT;
    twal_txn_operation operation = TWAL_TXN_OPERATION_INIT;
    twal_txn_report report = TWAL_TXN_REPORT_INIT;
    twal_txn_stats txn_stats = TWAL_TXN_STATS_INIT;
    twal_saga_step step = TWAL_SAGA_STEP_INIT;
    twal_saga_spec saga = TWAL_SAGA_SPEC_INIT;
    twal_2pc_participant participant = TWAL_2PC_PARTICIPANT_INIT;
    twal_2pc_spec two_phase = TWAL_2PC_SPEC_INIT;
    twal_txn_participants participants = TWAL_TXN_PARTICIPANTS_INIT;
    twal_txn_resume_options resume = TWAL_TXN_RESUME_OPTIONS_INIT;
    twal_txn_resumed resumed = TWAL_TXN_RESUMED_INIT;
    twal_compact_options compact = TWAL_COMPACT_OPTIONS_INIT;
    twal_compaction compaction = TWAL_COMPACTION_INIT;
    twal_tombstone_info tombstone = TWAL_TOMBSTONE_INFO_INIT;
    twal_purge_info purge = TWAL_PURGE_INFO_INIT;
    twal_applied_info applied = TWAL_APPLIED_INFO_INIT;
    twal_v26_options v26 = TWAL_V26_OPTIONS_INIT;
    twal_v26_report v26_report = TWAL_V26_REPORT_INIT;
    twal_v26_exported exported = TWAL_V26_EXPORTED_INIT;
    compact.flags |= TWAL_COMPACT_SEAL;
    v26.flags |= TWAL_V26_LEAVE_OUT;
    if (compaction.bytes_saved || tombstone.name[0] || purge.tag || applied.position || v26_report.log_last_seq ||
        exported.headless_operations || compact.flags == v26.flags)
        return TWAL_STREAM(5, 6);
    txn_options.flags |= TWAL_TXN_KEEP_RECORDS;
    saga.steps = &step;
    saga.flags |= TWAL_SAGA_START;
    two_phase.participants = &participant;
    if (operation.action == TWAL_RESUME_TX_COMMIT || report.unfinished || txn_stats.tx_events || participants.arg ||
        resume.threads || resumed.left || two_phase.id || participant.vote == TWAL_VOTE_ABORT)
        return TWAL_STREAM(3, 4);
    options.flags |= TWAL_OPEN_READ_ONLY | TWAL_OPEN_VERIFY;
    options.durability = TWAL_GROUP;
    options.io_engine = TWAL_IO_URING;
    entry.flags = TWAL_APPEND_SYNC | TWAL_APPEND_REQUIRED;
    entry.stream = TWAL_STREAM(tenant, shard);
    if (error.code == TWAL_E_INVAL || recovery.tail == TWAL_TAIL_TORN || stats.engine[0] || reservation.data)
        return TWAL_STREAM(1, 2);
    return entry.timestamp == TWAL_TIMESTAMP_LOGICAL && TWAL_VERSION_NUMBER >= 1000
               ? options.struct_size + entry.stream : 0;
}
C

# The example of the header's first comment.
awk '/^ \* An example$/ {on = 1; next} / cc example\.c/ {on = 0} on {sub(/^ \*( {3})?/, ""); print}' "$header" \
    > "$dir/example.c"
grep -q 'int main' "$dir/example.c"

if ! command -v "${cxx%% *}" > /dev/null; then
    printf '  %-8s %s\n' CXX "skipped: there is no $cxx"
    cxx_standards=
fi

for file in alone macros example; do
    # The header itself casts as C++ does; the example is C.
    casts=-Wold-style-cast
    [ $file != example ] || casts=
    for std in $c_standards; do
        printf '  %-8s %s\n' CC "$file.c -std=$std"
        # shellcheck disable=SC2086
        $cc -std="$std" $warn -I"$include" -c -o /dev/null "$dir/$file.c"
    done
    for std in $cxx_standards; do
        printf '  %-8s %s\n' CXX "$file.c -std=$std"
        # shellcheck disable=SC2086
        $cxx -x c++ -std="$std" $warn $casts -I"$include" -c -o /dev/null "$dir/$file.c"
    done
done

# 64-bit Linux only, and it says so.
if $cc -U__LP64__ -I"$include" -fsyntax-only "$dir/alone.c" 2> "$dir/said"; then
    echo 'the header compiles where it must not' >&2
    exit 1
fi
grep -q 'twal is for 64-bit Linux' "$dir/said"
