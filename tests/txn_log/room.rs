//! Goal: what the table has no room for is refused, and a refusal changes nothing.
//! Method: managers of logs with small records, filled up.

use twal::txn::{Manager, SagaSpec, TransactionState};
use twal::{Code, Durability, Error};

use super::machine::Machine;
use super::{name, transaction};

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
