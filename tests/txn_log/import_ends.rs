//! Goal: an import that returned is durable, in every mode; one that failed or was stopped has taken nothing of what was
//! there, not even a commit that was only remembered.
//! Method: files of commits alone, more than are remembered, into logs with room for all of them and for few; power is cut
//! when the import returns, and in the middle.

use std::path::Path;
use std::sync::Arc;

use twal::base::clock::Clock;
use twal::disk::sim::{CallKind, Keep, SimDisk};
use twal::interchange::{WriteOptions, Writer};
use twal::txn::limits::COMMITTED_KEPT;
use twal::txn::{Event, Manager, Status, TransactionState};
use twal::{Code, Durability, Log};

use super::import::{begun, files, import, import_telling, machine, FIRST_ID};
use super::machine::Machine;
use super::transaction;

/// Nobody asks for the end, or for anything else, before power is cut: asking would make durable what is told.
#[test]
fn an_import_is_durable_when_it_returns() {
    let files = files();
    for durability in [Durability::Group, Durability::Async] {
        let mut machine = machine(1);
        machine.options.durability = Some(durability);
        machine.disk.set_keep(Keep::Nothing);
        let (log, manager) = begun(&machine);
        let imported = import(&manager, &files).unwrap();
        assert!(log.durable_seq() > imported.last_seq, "{durability:?}: its end");
        let (_log, _manager, found) = machine.fork_after_cut().recover();
        assert_eq!(found.unfinished, manager.active().unwrap());
        assert!(found.unfinished.len() > 10);
    }
}

const OWN: u64 = 3;
const COMMITS: u64 = COMMITTED_KEPT as u64 + 44;
const COMMIT: &str = "N +1 P v1 C D";

fn files_of_commits() -> Arc<SimDisk> {
    let disk = SimDisk::new(1);
    let options = WriteOptions { file_records_max: 300, ..WriteOptions::default() };
    let mut writer = Writer::create_on(disk.as_ref(), Path::new("v26"), options, Clock::simulated()).unwrap();
    let mut payload = Vec::new();
    let commits = (FIRST_ID..FIRST_ID + COMMITS).flat_map(|id| transaction(id, COMMIT));
    for (seq, event) in (1..).zip(commits) {
        let kind = event.encode_short(&mut payload);
        writer.append(u8::try_from(kind).unwrap(), seq, 0, &payload).unwrap();
    }
    writer.finish().unwrap();
    disk
}

/// Which of the log's own commits can be rolled back.
fn remembered(manager: &Manager) -> Vec<u64> {
    let is_there = |id: &u64| manager.transaction(*id).unwrap().is_some();
    (1..=OWN).filter(is_there).collect()
}

/// Types of the last two records.
fn last_kinds(log: &Log) -> Vec<u16> {
    let mut kinds = Vec::new();
    let mut iter = log.iter(log.last_seq() - 1).unwrap();
    while let Some(record) = iter.next_record().unwrap() {
        kinds.push(record.kind);
    }
    kinds
}

#[test]
fn an_import_that_failed_has_taken_no_commit_away() {
    let files = files_of_commits();
    let marked = [Event::ImportAbandoned { saga_highest: 0, transaction_highest: OWN }.kind(), 0xF0];
    // Room for all; and for some 20 commits, so that the log's own give way in the middle.
    for record_size_max in [0, 3000] {
        let mut machine = Machine::new(2, Durability::Sync);
        machine.options.record_size_max = record_size_max;
        let (log, manager, _) = machine.recover();
        for id in 1..=OWN {
            manager.append(&transaction(id, COMMIT), Some(true)).unwrap();
        }
        let own: Vec<u64> = (1..=OWN).collect();
        let bytes = manager.counts().unwrap().state_bytes;
        let mut told = 0;
        let failed = import_telling(&manager, &files, &mut |_, _| {
            told += 1;
            if told != 1000 {
                return;
            }
            assert_eq!(remembered(&manager).is_empty(), record_size_max > 0);
            // A crash here: nothing was imported, and recovery says so.
            log.sync(0).unwrap();
            let (log, manager, _) = machine.fork_after_cut().recover();
            assert_eq!((remembered(&manager), manager.counts().unwrap().state_bytes), (own.clone(), bytes));
            assert_eq!(last_kinds(&log), marked);
            files.fail_kind(CallKind::Read, 0, libc::EIO);
        });
        files.clear_faults();
        assert_eq!(failed.unwrap_err().code, Code::Io);
        assert!((1000..6 * COMMITS).contains(&told), "{told}");
        assert_eq!((remembered(&manager), manager.counts().unwrap().state_bytes), (own.clone(), bytes));
        assert_eq!(last_kinds(&log), marked);
        manager.append(&transaction(2, "R S"), Some(true)).unwrap();
        let (_log, manager, _) = machine.power_cut();
        assert_eq!(remembered(&manager), [1, 3]);

        import(&manager, &files).unwrap();
        let newest = manager.transaction(FIRST_ID + COMMITS - 1).unwrap().map(|one| one.state());
        assert_eq!((newest, remembered(&manager)), (Some(TransactionState::Committed), Vec::new()));
        assert_eq!(manager.transaction_status(1).unwrap(), Status::Finished);
        assert_eq!(manager.append(&transaction(1, "R"), None).unwrap_err().code, Code::State);
    }
}
