//! Goal: a log as large as it may be is emptied by its manager: its checkpoint, what ends an operation and its compaction
//! find room in one segment beyond the limit, which nobody else gets into.
//! Method: logs of a few segments, filled up; files are counted after every call; some of the lives go on behind a crash.

use twal::disk::sim::Stop;
use twal::txn::{CompactionOptions, Direction, Manager, Outcome, ResumeOptions, SagaSpec, TransactionState};
use twal::{Code, Durability, Entry, Error, How, Log};

use super::machine::Machine;
use super::shards::Shards;
use super::{name, saga, transaction};

/// Segments.
const LIMIT: usize = 4;

/// A log with a limit and its manager, whose files are counted.
struct Life {
    machine: Machine,
    log: Log,
    manager: Manager,
}

impl Life {
    fn new(durability: Durability, change: impl FnOnce(&mut Machine)) -> Life {
        let mut machine = Machine::new(1, durability);
        machine.options.log_size_max = LIMIT as u64 * machine.options.segment_size;
        change(&mut machine);
        let (log, manager, _) = machine.recover();
        Life { machine, log, manager }
    }

    fn files(&self) -> usize {
        self.machine.disk.names().iter().filter(|name| *name != "twal-lock").count()
    }

    /// One segment more than the limit at most.
    fn counted<T>(&self, result: T) -> T {
        let segments: u64 = self.log.segments().unwrap().iter().map(|segment| segment.size).sum();
        let spares = self.machine.disk.names().iter().filter(|name| name.starts_with("twal-spare")).count() as u64;
        let (taken, size) = (segments + spares * self.machine.options.segment_size, self.machine.options.segment_size);
        assert!(taken > 0 && taken <= (LIMIT as u64 + 1) * size, "{:?}", self.machine.disk.names());
        result
    }

    fn begin(&self) -> Result<u64, Error> {
        let spec = SagaSpec { coordinator: name(7), ..SagaSpec::default() };
        self.counted(self.manager.saga_create(&spec)).map(|begun| begun.id)
    }

    fn end(&self, id: u64) -> Result<u64, Error> {
        self.counted(self.manager.saga_aborted(id, Some(true)))
    }

    fn own(&self) -> Result<u64, Error> {
        self.own_of(8000)
    }

    fn own_of(&self, len: usize) -> Result<u64, Error> {
        let entry = Entry { data: &vec![1; len], stream: 0, timestamp: None, kind: 0x0100, required: false };
        self.counted(self.log.append(&entry, How { sync: Some(true), no_wait: false }))
    }

    /// Until it is refused, and stays so.
    fn fill_with<T>(&self, mut append: impl FnMut(&Life) -> Result<T, Error>) -> u64 {
        let full = |result: Result<T, Error>| match result {
            Ok(_) => None,
            Err(error) => Some(error.code),
        };
        for done in 0..20_000 {
            if let Some(code) = full(append(self)) {
                assert_eq!(code, Code::NoSpc);
                let last_seq = self.log.last_seq();
                for _ in 0..5 {
                    assert_eq!(full(append(self)), Some(Code::NoSpc));
                }
                assert_eq!(self.log.last_seq(), last_seq, "nobody else gets into what is kept");
                return done;
            }
        }
        panic!("the log is never full: {:?}", self.machine.disk.names());
    }

    /// The process or the machine dies, or the log is closed, and it goes on.
    fn again(self, how: u32) -> Life {
        let Life { machine, log, manager } = self;
        let (log, manager, _) = match how {
            0 => {
                drop(manager);
                log.close().unwrap();
                drop(log);
                machine.recover()
            }
            1 => machine.recover_again(),
            _ => machine.power_cut(),
        };
        Life { machine, log, manager }
    }
}

/// Whoever ends everything is never refused, although no interval is ever full.
#[test]
fn operations_that_end_never_fill_a_log() {
    for limit in 3..6 {
        for durability in [Durability::Sync, Durability::Group, Durability::Async] {
            let life = Life::new(durability, |machine| {
                machine.options.log_size_max = limit * machine.options.segment_size;
            });
            for _ in 0..3000 {
                let id = life.manager.saga_create(&SagaSpec::default()).unwrap().id;
                life.manager.saga_aborted(id, Some(true)).unwrap();
                assert!(life.files() as u64 <= limit + 1, "{:?}", life.machine.disk.names());
            }
            assert!(life.log.first_seq() > 1 && life.log.stats().checkpoints > 1);
            life.manager.checkpoint().unwrap();
            life.own().unwrap();
            assert!(life.files() as u64 <= limit, "{:?}", life.machine.disk.names());
            life.log.close().unwrap();
        }
    }
}

/// The oldest operation keeps everything.  The log is full; nothing is written that gives nothing back; it is ended, and
/// all is well.
#[test]
fn the_one_that_holds_a_full_log_can_be_ended() {
    for how in 0..4 {
        let mut life = Life::new(Durability::Sync, |_| {});
        let oldest = life.begin().unwrap();
        let filled = life.fill_with(|life| life.end(life.begin()?));
        assert!(filled > 20);
        if how < 3 {
            for _ in 0..3 {
                life = life.again(how);
                life.fill_with(Life::begin);
            }
        }
        let last_seq = life.log.last_seq();
        for _ in 0..200 {
            life.counted(life.manager.checkpoint()).unwrap();
        }
        assert!(life.log.last_seq() <= last_seq + 1, "one says what the others would");
        assert_eq!(life.log.first_seq(), 1);
        life.end(oldest).unwrap();
        life.counted(life.manager.checkpoint()).unwrap();
        assert!(life.log.first_seq() > 1);
        for _ in 0..filled {
            life.end(life.begin().unwrap()).unwrap();
        }
        let life = life.again(how % 3);
        assert_eq!(life.manager.counts().unwrap().active_sagas, 0);
        life.begin().unwrap();
        life.log.close().unwrap();
        assert_eq!(life.machine.try_open().map(|_| ()), Ok(()));
    }
}

/// Many that wait are ended one by one, each from where it is; where that is too much for what is kept, a compaction, which
/// always can, makes room for the next ones.
#[test]
fn all_that_fill_a_log_can_be_ended() {
    for (how, seal) in [(0, false), (1, true), (2, false), (3, true)] {
        let mut life = Life::new(Durability::Sync, |_| {});
        life.manager.append(&transaction(1, "N +1 +2 P v1"), None).unwrap();
        life.manager.append(&transaction(2, "N +1 P v1 C"), None).unwrap();
        let mut ids = Vec::new();
        life.fill_with(|life| life.begin().map(|id| ids.push(id)));
        if how < 3 {
            life = life.again(how);
        }
        life.manager.append(&transaction(2, "D"), None).unwrap();
        life.manager.append(&transaction(1, "v2 C D"), Some(true)).unwrap();
        assert_eq!(life.manager.transaction(1).unwrap().map(|one| one.state()), Some(TransactionState::Committed));
        let (mut compacted, options) = (0, CompactionOptions { seal, ..CompactionOptions::default() });
        for &id in ids.iter().rev() {
            if let Err(error) = life.end(id) {
                assert_eq!(error.code, Code::NoSpc);
                life.manager.compact(&options).unwrap();
                compacted += 1;
                life.end(id).unwrap();
            }
        }
        life.counted(life.manager.checkpoint()).unwrap();
        assert!(compacted < 10, "{compacted}");
        assert!(life.log.first_seq() > ids.len() as u64 / 2);
        life.begin().unwrap();
    }
}

/// The room ends in the middle of a resume: it has brought the oldest to their ends, leaves the others, and says why; a compaction
/// makes room for the next one, and each effect happens once.  It once began them all, and none could end any more.
#[test]
fn a_resume_in_a_full_log_goes_on_when_there_is_room() {
    for how in 0..3 {
        let mut life = Life::new(Durability::Sync, |_| {});
        let mut begun = 0;
        life.fill_with(|life| {
            let id = begun / 2 + 1;
            let events = if begun % 2 == 0 { saga(id, "N +1 +2:1 E") } else { transaction(id, "N +1 +2 P v1 v2") };
            life.counted(life.manager.append(&events, None))?;
            begun += 1;
            Ok::<_, Error>(())
        });
        life = life.again(how);
        assert_eq!(life.manager.active().unwrap().len() as u64, begun);
        let shards = Shards::new(|_| Outcome::Done);
        let options = ResumeOptions { threads: 1, ..ResumeOptions::default() };
        let (mut resumes, mut finished) = (0, 0);
        loop {
            let resumed = life.counted(life.manager.resume(&shards, &options)).unwrap();
            if resumes == 0 {
                // A saga and a transaction of one id were begun one behind the other.
                assert_eq!(shards.parts(1, Direction::Commit).len(), 2, "the oldest first");
                assert!(shards.memory.lock().unwrap().effects.is_sorted_by_key(|effect| effect.0));
            }
            (resumes, finished) = (resumes + 1, finished + resumed.finished);
            if resumed.left.is_empty() {
                break;
            }
            let is_full = |error: &Error| error.code == Code::NoSpc;
            assert!(resumed.left.iter().all(|left| left.error.as_ref().is_some_and(is_full)));
            assert!(resumed.finished > 0, "{resumes} resumes, {finished} of {begun} are finished");
            life.counted(life.manager.compact(&CompactionOptions::default())).unwrap();
        }
        println!("{resumes} resumes, {finished} of {begun} are finished");
        assert!(resumes > 1, "the room never ended");
        assert_eq!(finished, begun);
        for id in 1..=begun / 2 {
            assert_eq!(shards.parts(id, Direction::Execute), [1, 2]);
            let mut told = shards.parts(id, Direction::Commit);
            told.sort_unstable();
            assert_eq!(told, [1, 2]);
        }
        life.begin().unwrap();
        let life = life.again(how);
        assert_eq!(life.manager.counts().unwrap().active_transactions, 0);
    }
}

/// The program's own records fill it; the manager is asked for the checkpoint, or an event asks for it.
#[test]
fn a_checkpoint_releases_what_the_program_filled() {
    for (how, by_event) in [(0, false), (1, true), (2, false), (3, true)] {
        let mut life = Life::new(Durability::Sync, |_| {});
        for round in 0..4 {
            let filled = life.fill_with(Life::own);
            assert!(filled > 5, "{how} {round}: {filled} {:?}", life.machine.disk.names());
            if how < 3 {
                life = life.again(how);
            }
            let first_seq = life.log.first_seq();
            if by_event {
                life.fill_with_big_saga();
            } else {
                life.counted(life.manager.checkpoint()).unwrap();
            }
            assert!(life.log.first_seq() > first_seq, "{round}");
            life.own().unwrap();
        }
    }
}

impl Life {
    /// More than what is left of the last segment.
    fn fill_with_big_saga(&self) {
        let step = |index| twal::txn::Step { index, action: 1, depends_on: Vec::new(), payload: vec![2; 5000] };
        let spec = SagaSpec { steps: (1..4).map(step).collect(), ..SagaSpec::default() };
        let begun = self.counted(self.manager.saga_create(&spec)).unwrap();
        self.end(begun.id).unwrap();
    }
}

/// Nothing is released then; but the hold rises, and the program trims.
#[test]
fn with_kept_records_a_trim_makes_room() {
    let life = Life::new(Durability::Sync, |machine| machine.managed.keep_records = true);
    for round in 0..4 {
        assert!(life.fill_with(|life| life.end(life.begin()?)) > 8, "{round}");
        let first_seq = life.log.first_seq();
        life.counted(life.log.trim(life.log.last_seq() + 1)).unwrap();
        assert!(life.log.first_seq() > first_seq, "{round}");
    }
}

/// Nothing in it has ended, so nothing goes; but each record has a block of its own.
#[test]
fn a_compaction_packs_what_stays_in_a_full_log() {
    for how in 0..3 {
        let life = Life::new(Durability::Sync, |_| {});
        for _ in 0..36 {
            life.begin().unwrap();
        }
        // What this one has seen and left as it was has not changed when the log is full.
        let seen = life.manager.compact(&CompactionOptions { seal: true, ..CompactionOptions::default() }).unwrap();
        assert!(seen.segments_compacted < seen.segments_read, "{seen:?}");
        let begun = 36 + life.fill_with(Life::begin);
        let done = life.counted(life.manager.compact(&CompactionOptions::default())).unwrap();
        assert_eq!(done.events_purged, 0, "{done:?}");
        let segments = life.log.segments().unwrap();
        let (_, sealed) = segments.split_last().unwrap();
        assert!(sealed.iter().all(|segment| segment.size < life.machine.options.segment_size / 2), "{sealed:?}");
        let begun = begun + life.fill_with(Life::begin);
        let life = life.again(how);
        assert_eq!(life.manager.counts().unwrap().active_sagas, begun);
        let mut created = 0;
        let mut iter = life.log.iter(0).unwrap();
        while let Some(record) = iter.next_record().unwrap() {
            created += u64::from(record.kind == 0x01);
        }
        assert_eq!(created, begun, "none is missing");
    }
}

/// A frame that is open in what is kept has room left, and still takes nobody else.
#[test]
fn an_open_frame_beyond_the_limit_takes_nobody_else() {
    for durability in [Durability::Group, Durability::Async] {
        let life = Life::new(durability, |_| {});
        let mut ids = Vec::new();
        life.fill_with(|life| life.begin().map(|id| ids.push(id)));
        // The second of them finds it open, and notes how far it may grow.
        life.counted(life.manager.saga_aborted(ids[0], Some(false))).unwrap();
        life.counted(life.manager.saga_aborted(ids[1], Some(false))).unwrap();
        let last_seq = life.log.last_seq();
        assert!(life.log.durable_seq() < last_seq, "its frame is open");
        let entry = Entry { data: b"small", stream: 0, timestamp: None, kind: 0x0100, required: false };
        let refused = life.counted(life.log.append(&entry, How { sync: Some(false), no_wait: false }));
        assert_eq!((refused.unwrap_err().code, life.log.last_seq()), (Code::NoSpc, last_seq));
        life.counted(life.manager.saga_aborted(ids[2], Some(false))).unwrap();
    }
}

/// The file that is kept was made, and whom it was made for has not come to use it: also after the next open nobody else does.
#[test]
fn what_was_kept_for_a_killed_checkpoint_is_for_nobody_else() {
    let mut made = 0;
    for step in 0.. {
        let life = Life::new(Durability::Sync, |_| {});
        let oldest = life.begin().unwrap(); // holds everything
        life.fill_with(Life::own);
        life.fill_with(|life| life.own_of(1));
        let disk = &life.machine.disk;
        disk.stop_at(disk.steps() + step, Stop::Kill);
        let done = life.manager.checkpoint();
        let spares =
            |life: &Life| life.machine.disk.names().iter().filter(|name| name.starts_with("twal-spare")).count();
        made += u64::from(done.is_err() && spares(&life) > 0);
        let struck = disk.restart();
        let life = life.again(1);
        let last_seq = life.log.last_seq();
        for _ in 0..3 {
            assert_eq!(life.own().unwrap_err().code, Code::NoSpc, "step {step}");
        }
        assert_eq!(life.log.last_seq(), last_seq);
        life.end(oldest).unwrap();
        life.counted(life.manager.checkpoint()).unwrap();
        life.own().unwrap();
        if !struck {
            break;
        }
    }
    assert!(made > 0, "no file was made and not used");
}

/// A log that is larger than its limit allows, because it had another one, gets nothing more.
#[test]
fn a_limit_that_is_lowered_far_is_no_door() {
    let mut life = Life::new(Durability::Sync, |machine| {
        machine.options.log_size_max = 9 * machine.options.segment_size;
    });
    while life.files() < 8 {
        let id = life.manager.saga_create(&SagaSpec::default()).unwrap().id;
        life.manager.saga_step_succeeded(id, 1, None).unwrap_err();
    }
    life.log.close().unwrap();
    let files = life.files();
    life.machine.options.log_size_max = LIMIT as u64 * life.machine.options.segment_size;
    let Life { machine, log, manager } = life;
    drop((manager, log));
    let (log, manager, _) = machine.recover();
    let life = Life { machine, log, manager };
    while life.manager.saga_create(&SagaSpec::default()).is_ok() {}
    assert_eq!(life.manager.checkpoint().map_err(|error| error.code), Err(Code::NoSpc));
    assert_eq!(life.files(), files);
}
