# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_twal_global_optspecs
    string join \n h/help V/version
end

function __fish_twal_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_twal_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_twal_using_subcommand
    set -l cmd (__fish_twal_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c twal -n "__fish_twal_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twal -n "__fish_twal_needs_command" -s V -l version -d 'Print version'
complete -c twal -n "__fish_twal_needs_command" -f -a "info" -d 'What a log holds, how it ends, and who writes it'
complete -c twal -n "__fish_twal_needs_command" -f -a "segments" -d 'Each segment: state, numbers, size, and what holds it back'
complete -c twal -n "__fish_twal_needs_command" -f -a "dump" -d 'Prints records that are durable'
complete -c twal -n "__fish_twal_needs_command" -f -a "tail" -d 'Prints the last records, and with --follow each new one'
complete -c twal -n "__fish_twal_needs_command" -f -a "stats" -d 'Counts records and bytes, by stream and by type'
complete -c twal -n "__fish_twal_needs_command" -f -a "verify" -d 'Reads every byte and tells every spot that is damaged'
complete -c twal -n "__fish_twal_needs_command" -f -a "repair" -d 'Says what it takes to make a damaged log whole, and with --apply does it'
complete -c twal -n "__fish_twal_needs_command" -f -a "trim" -d 'Releases whole segments below a number, as twal_trim(3)'
complete -c twal -n "__fish_twal_needs_command" -f -a "hold" -d 'Names and numbers: nothing from the number on is given back'
complete -c twal -n "__fish_twal_needs_command" -f -a "copy" -d 'Copies a log, as it is durable now, into another directory'
complete -c twal -n "__fish_twal_needs_command" -f -a "ship" -d 'Writes a log\'s durable bytes to standard output, for receive'
complete -c twal -n "__fish_twal_needs_command" -f -a "receive" -d 'Takes what ship writes from standard input into a follower\'s directory'
complete -c twal -n "__fish_twal_needs_command" -f -a "txn" -d 'Sagas and two-phase commits that are not finished'
complete -c twal -n "__fish_twal_needs_command" -f -a "import" -d 'Appends the transactions in files of the v2.6 layout'
complete -c twal -n "__fish_twal_needs_command" -f -a "export" -d 'Writes a log\'s transactions as files of the v2.6 layout'
complete -c twal -n "__fish_twal_needs_command" -f -a "doctor" -d 'Says what this machine can do for a log in a directory, and ends with advice'
complete -c twal -n "__fish_twal_needs_command" -f -a "bench" -d 'Measures appends for a moment, in a directory of its own that it removes'
complete -c twal -n "__fish_twal_using_subcommand info" -l json -d 'Print one JSON object'
complete -c twal -n "__fish_twal_using_subcommand info" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twal -n "__fish_twal_using_subcommand segments" -l json -d 'Print one JSON object a segment'
complete -c twal -n "__fish_twal_using_subcommand segments" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twal -n "__fish_twal_using_subcommand dump" -l from -d 'Number of the first record; the oldest, unless given' -r
complete -c twal -n "__fish_twal_using_subcommand dump" -l to -d 'Number of the last record' -r
complete -c twal -n "__fish_twal_using_subcommand dump" -l segment -d 'Begin with this segment' -r
complete -c twal -n "__fish_twal_using_subcommand dump" -l limit -d 'Most records' -r
complete -c twal -n "__fish_twal_using_subcommand dump" -l stream -d 'Only records of this stream; may be given several times' -r
complete -c twal -n "__fish_twal_using_subcommand dump" -l type -d 'Only records of this type; may be given several times' -r
complete -c twal -n "__fish_twal_using_subcommand dump" -l format -d 'How payloads are printed' -r -f -a "hex\t'A line for the header, then offset, bytes and characters'
utf8\t'A line for the header, then the text; what is no UTF-8, and control characters but tabs and line ends, as escapes'
raw\t'The payloads alone, one directly behind the other'
json\t'A line of JSON a record, payloads as hexadecimal digits'"
complete -c twal -n "__fish_twal_using_subcommand dump" -l headers-only -d 'Headers alone: payloads are neither printed nor verified'
complete -c twal -n "__fish_twal_using_subcommand dump" -l skip-damaged -d 'Pass over damage and count it, instead of ending there'
complete -c twal -n "__fish_twal_using_subcommand dump" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twal -n "__fish_twal_using_subcommand tail" -s n -l lines -d 'Of the last so many numbers' -r
complete -c twal -n "__fish_twal_using_subcommand tail" -l stream -d 'Only records of this stream; may be given several times' -r
complete -c twal -n "__fish_twal_using_subcommand tail" -l type -d 'Only records of this type; may be given several times' -r
complete -c twal -n "__fish_twal_using_subcommand tail" -l format -d 'How payloads are printed' -r -f -a "hex\t'A line for the header, then offset, bytes and characters'
utf8\t'A line for the header, then the text; what is no UTF-8, and control characters but tabs and line ends, as escapes'
raw\t'The payloads alone, one directly behind the other'
json\t'A line of JSON a record, payloads as hexadecimal digits'"
complete -c twal -n "__fish_twal_using_subcommand tail" -s f -l follow -d 'Wait for new records'
complete -c twal -n "__fish_twal_using_subcommand tail" -l headers-only -d 'Headers alone: payloads are neither printed nor verified'
complete -c twal -n "__fish_twal_using_subcommand tail" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twal -n "__fish_twal_using_subcommand stats" -l streams -d 'Most streams that are shown, the busiest first' -r
complete -c twal -n "__fish_twal_using_subcommand stats" -l json -d 'Print one JSON object'
complete -c twal -n "__fish_twal_using_subcommand stats" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twal -n "__fish_twal_using_subcommand verify" -l threads -d 'Segments read at the same time; as many as there are processors, 4 at most, unless given' -r
complete -c twal -n "__fish_twal_using_subcommand verify" -l json -d 'Print one JSON object a finding, then one that sums up'
complete -c twal -n "__fish_twal_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twal -n "__fish_twal_using_subcommand repair" -l backup -d 'Directory for a copy of every file that is changed or goes; made if it is missing' -r -f -a "(__fish_complete_directories)"
complete -c twal -n "__fish_twal_using_subcommand repair" -l apply -d 'Carry the plan out'
complete -c twal -n "__fish_twal_using_subcommand repair" -l drop-acknowledged -d 'The decision that records which were acknowledged, or may have been, are dropped'
complete -c twal -n "__fish_twal_using_subcommand repair" -l allow-any-fs -d 'Accept a file system that cannot keep the promise of a durable write'
complete -c twal -n "__fish_twal_using_subcommand repair" -l allow-buffered -d 'Accept a file system without direct I/O'
complete -c twal -n "__fish_twal_using_subcommand repair" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twal -n "__fish_twal_using_subcommand trim" -l below -d 'Number of the first record that stays' -r
complete -c twal -n "__fish_twal_using_subcommand trim" -l retain -d 'Archived segments that are kept; the others are removed.  All, unless given' -r
complete -c twal -n "__fish_twal_using_subcommand trim" -l allow-any-fs -d 'Accept a file system that cannot keep the promise of a durable write'
complete -c twal -n "__fish_twal_using_subcommand trim" -l allow-buffered -d 'Accept a file system without direct I/O'
complete -c twal -n "__fish_twal_using_subcommand trim" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twal -n "__fish_twal_using_subcommand hold; and not __fish_seen_subcommand_from list set drop reset" -s h -l help -d 'Print help'
complete -c twal -n "__fish_twal_using_subcommand hold; and not __fish_seen_subcommand_from list set drop reset" -f -a "list" -d 'Print the holds'
complete -c twal -n "__fish_twal_using_subcommand hold; and not __fish_seen_subcommand_from list set drop reset" -f -a "set" -d 'Set a hold, or move it forward'
complete -c twal -n "__fish_twal_using_subcommand hold; and not __fish_seen_subcommand_from list set drop reset" -f -a "drop" -d 'Drop a hold'
complete -c twal -n "__fish_twal_using_subcommand hold; and not __fish_seen_subcommand_from list set drop reset" -f -a "reset" -d 'Begin with no hold at all, whatever there was: where the holds were damaged or lost'
complete -c twal -n "__fish_twal_using_subcommand hold; and __fish_seen_subcommand_from list" -l json -d 'Print one JSON object a hold'
complete -c twal -n "__fish_twal_using_subcommand hold; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c twal -n "__fish_twal_using_subcommand hold; and __fish_seen_subcommand_from set" -l allow-any-fs -d 'Accept a file system that cannot keep the promise of a durable write'
complete -c twal -n "__fish_twal_using_subcommand hold; and __fish_seen_subcommand_from set" -l allow-buffered -d 'Accept a file system without direct I/O'
complete -c twal -n "__fish_twal_using_subcommand hold; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twal -n "__fish_twal_using_subcommand hold; and __fish_seen_subcommand_from drop" -s h -l help -d 'Print help'
complete -c twal -n "__fish_twal_using_subcommand hold; and __fish_seen_subcommand_from reset" -l allow-any-fs -d 'Accept a file system that cannot keep the promise of a durable write'
complete -c twal -n "__fish_twal_using_subcommand hold; and __fish_seen_subcommand_from reset" -l allow-buffered -d 'Accept a file system without direct I/O'
complete -c twal -n "__fish_twal_using_subcommand hold; and __fish_seen_subcommand_from reset" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twal -n "__fish_twal_using_subcommand copy" -l follower -d 'Leave it a follower\'s copy, which takes more of the same log later and is no log of its own'
complete -c twal -n "__fish_twal_using_subcommand copy" -l allow-any-fs -d 'Accept a file system that cannot keep the promise of a durable write'
complete -c twal -n "__fish_twal_using_subcommand copy" -l allow-buffered -d 'Accept a file system without direct I/O'
complete -c twal -n "__fish_twal_using_subcommand copy" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twal -n "__fish_twal_using_subcommand ship" -l from -d 'Go on from here: what receive --position has printed' -r
complete -c twal -n "__fish_twal_using_subcommand ship" -s f -l follow -d 'Go on with what becomes durable, until SIGINT or SIGTERM'
complete -c twal -n "__fish_twal_using_subcommand ship" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twal -n "__fish_twal_using_subcommand receive" -l position -d 'Only print where to go on, for ship --from; the beginning, if nothing is there yet.  Changes nothing, and works beside a receive'
complete -c twal -n "__fish_twal_using_subcommand receive" -l promote -d 'Make the copy a log of its own at the end'
complete -c twal -n "__fish_twal_using_subcommand receive" -l no-input -d 'Take nothing: to promote a copy whose source is gone'
complete -c twal -n "__fish_twal_using_subcommand receive" -l allow-any-fs -d 'Accept a file system that cannot keep the promise of a durable write'
complete -c twal -n "__fish_twal_using_subcommand receive" -l allow-buffered -d 'Accept a file system without direct I/O'
complete -c twal -n "__fish_twal_using_subcommand receive" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twal -n "__fish_twal_using_subcommand txn; and not __fish_seen_subcommand_from ls show" -s h -l help -d 'Print help'
complete -c twal -n "__fish_twal_using_subcommand txn; and not __fish_seen_subcommand_from ls show" -f -a "ls" -d 'Print each operation that is not finished, and what a recovery does about it'
complete -c twal -n "__fish_twal_using_subcommand txn; and not __fish_seen_subcommand_from ls show" -f -a "show" -d 'Print one operation with its steps or participants'
complete -c twal -n "__fish_twal_using_subcommand txn; and __fish_seen_subcommand_from ls" -l json -d 'Print one JSON object an operation'
complete -c twal -n "__fish_twal_using_subcommand txn; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help'
complete -c twal -n "__fish_twal_using_subcommand txn; and __fish_seen_subcommand_from show" -l json -d 'Print one JSON object'
complete -c twal -n "__fish_twal_using_subcommand txn; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twal -n "__fish_twal_using_subcommand import" -l stream -d 'Stream of the records that are written' -r
complete -c twal -n "__fish_twal_using_subcommand import" -l create -d 'Make the log if there is none'
complete -c twal -n "__fish_twal_using_subcommand import" -l skip-damaged -d 'Pass over damage in the files and count it'
complete -c twal -n "__fish_twal_using_subcommand import" -l ignore-checksums -d 'Do not look at the checksums of payloads: their writer could switch them off'
complete -c twal -n "__fish_twal_using_subcommand import" -l allow-any-fs -d 'Accept a file system that cannot keep the promise of a durable write'
complete -c twal -n "__fish_twal_using_subcommand import" -l allow-buffered -d 'Accept a file system without direct I/O'
complete -c twal -n "__fish_twal_using_subcommand import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twal -n "__fish_twal_using_subcommand export" -l from -d 'Number of the first record' -r
complete -c twal -n "__fish_twal_using_subcommand export" -l leave-out -d 'The decision that what the layout cannot hold is left out, and counted'
complete -c twal -n "__fish_twal_using_subcommand export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twal -n "__fish_twal_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twal -n "__fish_twal_using_subcommand bench" -l seconds -d 'Seconds for each of the measurements' -r
complete -c twal -n "__fish_twal_using_subcommand bench" -l threads -d 'Threads that append' -r
complete -c twal -n "__fish_twal_using_subcommand bench" -l bytes -d 'Bytes of a record' -r
complete -c twal -n "__fish_twal_using_subcommand bench" -l engine -d 'Engine that is used' -r -f -a "auto\t'What suits the device best'
uring\t'io_uring'
blocking\t'pwritev2 and fdatasync on the calling thread'"
complete -c twal -n "__fish_twal_using_subcommand bench" -l allow-any-fs -d 'Accept a file system that cannot keep the promise of a durable write'
complete -c twal -n "__fish_twal_using_subcommand bench" -l allow-buffered -d 'Accept a file system without direct I/O'
complete -c twal -n "__fish_twal_using_subcommand bench" -s h -l help -d 'Print help (see more with \'--help\')'
