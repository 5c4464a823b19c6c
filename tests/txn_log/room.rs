//! Goal: what the table has no room for is refused, and a refusal changes nothing; streams leave room for operations.
//! Method: managers of logs with small records, filled up.

use twal::txn::{Applied, Manager, SagaSpec, TransactionState};
use twal::{Code, Durability, Entry, Error, How};

use super::machine::Machine;
use super::{name, saga, transaction};

fn machine() -> Machine {
    let mut machine = Machine::new(1, Durability::Sync);
    machine.options.record_size_max = 2000;
    machine
}

fn begin_saga(manager: &Manager, id: Option<u64>) -> Result<u64, Error> {
    manager.saga_create(&SagaSpec { id, coordinator: name(7), ..SagaSpec::default() }).map(|begun| begun.id)
}

/// It may not even cost a remembered commit, which would be finished for whoever asks.
#[test]
fn a_refused_call_changes_nothing_in_a_full_table() {
    let machine = machine();
    let (_log, manager, _) = machine.recover();
    manager.append(&transaction(1, "N +1 P v1 C D"), None).unwrap();
    let remembered = |manager: &Manager| manager.transaction(1).unwrap().map(|one| one.state());
    // Full but for less than a saga takes.
    let room = 2000 - 16 - manager.counts().unwrap().state_bytes;
    for _ in 0..room / 64 {
        begin_saga(&manager, None).unwrap();
    }
    assert_eq!(remembered(&manager), Some(TransactionState::Committed));
    for _ in 0..2 {
        assert_eq!(begin_saga(&manager, Some(1)).unwrap_err().code, Code::State, "its id is used");
        assert_eq!(remembered(&manager), Some(TransactionState::Committed));
    }
    begin_saga(&manager, None).unwrap();
    assert_eq!(remembered(&manager), None, "for what is taken it gives way");
}

/// What is said of streams stays for ever; operations begin and end beside it, also behind a crash.
#[test]
fn streams_leave_room_for_operations() {
    let machine = machine();
    let (_log, manager, _) = machine.recover();
    let mut said = 0;
    let refused = loop {
        match manager.tombstone(said, u64::MAX, b"", None) {
            Ok(_) => said += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((refused.code, said), (Code::TooBig, (2000 - 16 - 48) / 2 / 24), "{refused}");
    assert_eq!(manager.applied(1, Applied { epoch: 1, position: 1 }, None).unwrap_err().code, Code::TooBig);
    manager.tombstone(0, u64::MAX, b"", None).unwrap(); // in the place of the first
    for _ in 0..2 {
        assert_eq!(begin_saga(&manager, None).map(|_| ()), Ok(()));
    }
    let (_log, manager, found) = machine.power_cut();
    assert_eq!((found.unfinished.len(), manager.tombstones().unwrap().len() as u64), (2, said));
    begin_saga(&manager, None).unwrap();
    assert_eq!(manager.tombstone(said, 1, b"", None).unwrap_err().code, Code::TooBig);
}

/// The highest id would be the last one: what the program names ends at 2^63, what it is given does not.
#[test]
fn an_id_leaves_room_for_others() {
    let machine = machine();
    let (_log, manager, _) = machine.recover();
    for id in [u64::MAX, (1 << 63) + 1] {
        assert_eq!(begin_saga(&manager, Some(id)).unwrap_err().code, Code::Inval);
        let refused = manager.append(&transaction(id, "N"), None).unwrap_err();
        assert_eq!(refused.code, Code::Inval, "{refused}");
    }
    assert_eq!(begin_saga(&manager, Some(1 << 63)), Ok(1 << 63));
    let next_named = begin_saga(&manager, Some((1 << 63) + 1)).unwrap_err();
    assert_eq!(next_named.code, Code::Inval, "not even the next one: {next_named}");
    assert_eq!(manager.transaction_create(Some(1 << 63), [0; 32], &[]).unwrap().id, 1 << 63);
    let next_named = manager.transaction_create(Some((1 << 63) + 1), [0; 32], &[]).unwrap_err();
    assert_eq!(next_named.code, Code::Inval, "{next_named}");
    assert_eq!(begin_saga(&manager, None), Ok((1 << 63) + 1));
    assert_eq!(begin_saga(&manager, Some((1 << 63) + 3)).unwrap_err().code, Code::Inval);
    let (log, manager, found) = machine.power_cut();
    assert_eq!((found.unfinished.len(), begin_saga(&manager, None)), (3, Ok((1 << 63) + 2)));

    // A record that no manager writes: the log is damaged.
    let mut payload = Vec::new();
    let kind = saga((1 << 63) + 5, "N")[0].encode(&mut payload);
    let entry = Entry { data: &payload, stream: 0, timestamp: None, kind, required: true };
    let seq = log.append(&entry, How::default()).unwrap();
    drop((log, manager));
    machine.disk.kill();
    let refused = Manager::recover(&machine.try_open().unwrap(), &machine.managed).err().expect("it is refused");
    assert_eq!((refused.code, refused.seq), (Code::Corrupt, seq), "{refused}");
}
