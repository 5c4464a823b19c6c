//! Operations that are not finished: listed, shown, and not trimmed away.

use serde_json::Value;
use twal::txn::{Manager, ManagerOptions, SagaSpec, Step};
use twal::{Log, Options};

use crate::common::options;
use crate::harness::{a_log, append, expect, on, write_on};

fn named(text: &str) -> [u8; 32] {
    let mut name = [0; 32];
    name[..text.len()].copy_from_slice(text.as_bytes());
    name
}

/// A saga in the middle, a transaction with every vote but no decision, one without votes, and finished ones.
fn tell_operations(log: &Log) {
    let options = ManagerOptions { stream: 9, keep_records: true, ..ManagerOptions::default() };
    let (manager, _) = Manager::recover(log, &options).unwrap();
    let step = |index, depends_on: &[u32], payload: &[u8]| Step {
        index,
        action: 1,
        depends_on: depends_on.to_vec(),
        payload: payload.to_vec(),
    };
    let steps = vec![step(1, &[], b"refund 7"), step(2, &[1], b""), step(3, &[1], b"\x1b\xff")];
    let spec = SagaSpec { coordinator: named("orders"), steps, start: true, ..SagaSpec::default() };
    let saga = manager.saga_create(&spec).unwrap();
    manager.saga_step_succeeded(saga.id, 1, None).unwrap();
    let finished = SagaSpec { steps: vec![], start: true, ..SagaSpec::default() };
    let finished = manager.saga_create(&finished).unwrap();
    manager.saga_completed(finished.id, None).unwrap();
    let shards = [(named("shard-a"), named("node-1")), (named("shard-b"), named("node-2"))];
    let prepared = manager.transaction_create(None, named("payments"), &shards).unwrap();
    manager.transaction_prepare(prepared.id).unwrap();
    for (shard, _) in &shards {
        manager.transaction_vote(prepared.id, *shard, true, None).unwrap();
    }
    let asked = manager.transaction_create(None, [0xab; 32], &shards).unwrap();
    manager.transaction_prepare(asked.id).unwrap();
    manager.transaction_vote(asked.id, shards[0].0, true, None).unwrap();
    log.sync(0).unwrap();
}

#[test]
fn unfinished_operations_are_listed_and_shown() {
    let (dir, log) = a_log("txn");
    tell_operations(&log);
    // From outside a record is known to be durable when something behind it says so: an idle writer's mark.
    let last = format!("last seq {}", log.last_seq());
    while !on(&dir, "txn ls LOG").ends(0).stdout.contains(&last) {}
    for round in ["beside their coordinator", "after it"] {
        expect("txn-ls.txt", &on(&dir, "txn ls LOG").ends(0).stdout);
        expect("txn-show-saga.txt", &on(&dir, "txn show LOG saga 1").ends(0).stdout);
        expect("txn-show-transaction.txt", &on(&dir, "txn show LOG transaction 1").ends(0).stdout);
        let lines = on(&dir, "txn ls LOG --json").ends(0).stdout;
        let actions: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["action"].clone()).collect();
        assert_eq!(actions, ["saga_resume_execute", "tx_resume_commit", "tx_resume_abort"], "{round}");
        let saga: Value = serde_json::from_str(&on(&dir, "txn show LOG saga 1 --json").ends(0).stdout).unwrap();
        assert_eq!((&saga["steps"][1]["depends_on"][0], &saga["steps"][2]["payload"]), (&1.into(), &"1bff".into()));
        let of_two: Value =
            serde_json::from_str(&on(&dir, "txn show LOG transaction 2 --json").ends(0).stdout).unwrap();
        assert_eq!(
            (&of_two["participants"][1]["vote"], &of_two["coordinator"]),
            (&"none".into(), &"ab".repeat(32).into())
        );
        on(&dir, "txn show LOG saga 2").ends(2);
        on(&dir, "txn show LOG saga 3").ends(2);
        log.close().unwrap();
    }
}

/// Here is no manager that would hold what its operations need, so a trim has to find that out: else the next
/// recovery would not know of them.
#[test]
fn a_trim_leaves_what_unfinished_operations_need() {
    let (dir, log) = a_log("txn-trim");
    append(&log, b"before");
    log.roll().unwrap();
    tell_operations(&log);
    for _ in 0..3 {
        log.roll().unwrap();
        append(&log, b"behind");
    }
    let last_seq = log.last_seq();
    log.close().unwrap();
    let listed = on(&dir, "txn ls LOG").ends(0).stdout;
    let refused = write_on(&dir, &format!("trim LOG --below {last_seq}")).ends(5);
    assert!(refused.stdout.contains("released  segment 1, records 1"), "{}", refused.stdout);
    assert!(refused.stderr.contains("held by transactions that are not finished"), "{}", refused.stderr);
    assert_eq!(on(&dir, "txn ls LOG").ends(0).stdout, listed);
    let log = Log::open(&dir, &Options { max_retained_segments: u64::MAX, ..options() }).unwrap();
    let (_, found) = Manager::recover(&log, &ManagerOptions::default()).unwrap();
    assert_eq!(found.unfinished.len(), 3);
    log.close().unwrap();
}
