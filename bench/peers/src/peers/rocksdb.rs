//! RocksDB, the system's, as a log: keys that count up.
//!
//! - WriteOptions.sync = true: the write is in the WAL and the WAL is flushed when it
//!   returns; threads that wait at the same time share that.
//! - A batch is a WriteBatch.  Writes without waiting are WriteBatches of 64 KiB with
//!   sync = false, the last before a flush with sync = true.  (FlushWAL instead, beside
//!   other writers, made no difference.)
//! - recycle_log_file_num, so that WAL files are overwritten rather than grown, and a
//!   flush need not write their size as well.  Before the clock starts so much is
//!   written that there are files to be used again.  With the default recovery mode,
//!   which is kept, only versions with rocksdb#12403 (2024) do so; others, as 7.8,
//!   ignore it in silence and write files that fallocate reserved.
//! - No compression and no compactions: a log has nothing to merge, every key is new.
//!   Memtables are written out all the same; that is how RocksDB gives back its WAL.
//! - Memtables are vectors, made for loads that nobody reads meanwhile: a third less
//!   CPU than the default skip list, and twice the rate with 64 threads.
//! - enable_pipelined_write, made for many writers that wait for the WAL.

use std::ffi::{c_char, c_int, c_uchar, c_void, CStr, CString};
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::args::{Spec, Workload};
use crate::dynamic::{functions, Library};
use crate::workload::{Checker, Failure, Log, Producer, Record};

/// Debian 12, 13 and 14, Ubuntu 24.04 and 22.04; the first name is that of a development package.
const NAMES: [&str; 6] = [
    "librocksdb.so",
    "librocksdb.so.7.8",
    "librocksdb.so.9.10",
    "librocksdb.so.9.11",
    "librocksdb.so.8.9",
    "librocksdb.so.6.11",
];

/// A memtable's; its default.
const WRITE_BUFFER: u64 = 64 << 20;
/// WAL files that are kept to be overwritten.
const RECYCLED: usize = 4;
/// Writes without waiting gather this much.
const BATCH_BYTES: usize = 64 << 10;
const NO_COMPRESSION: c_int = 0;

functions! {
    struct Api from "rocksdb_" {
        fn options_create() -> *mut c_void;
        fn options_destroy(*mut c_void);
        fn options_set_create_if_missing(*mut c_void, c_uchar);
        fn options_set_recycle_log_file_num(*mut c_void, usize);
        fn options_set_enable_pipelined_write(*mut c_void, c_uchar);
        fn options_set_compression(*mut c_void, c_int);
        fn options_set_disable_auto_compactions(*mut c_void, c_int);
        fn options_set_allow_concurrent_memtable_write(*mut c_void, c_uchar);
        fn options_set_memtable_vector_rep(*mut c_void);
        fn options_set_write_buffer_size(*mut c_void, usize);
        fn open(*const c_void, *const c_char, *mut *mut c_char) -> *mut c_void;
        fn close(*mut c_void);
        fn free(*mut c_void);
        fn writeoptions_create() -> *mut c_void;
        fn writeoptions_set_sync(*mut c_void, c_uchar);
        fn put(*mut c_void, *const c_void, *const u8, usize, *const u8, usize, *mut *mut c_char);
        fn write(*mut c_void, *const c_void, *mut c_void, *mut *mut c_char);
        fn writebatch_create() -> *mut c_void;
        fn writebatch_destroy(*mut c_void);
        fn writebatch_clear(*mut c_void);
        fn writebatch_put(*mut c_void, *const u8, usize, *const u8, usize);
        fn readoptions_create() -> *mut c_void;
        fn create_iterator(*mut c_void, *const c_void) -> *mut c_void;
        fn iter_seek_to_first(*mut c_void);
        fn iter_valid(*const c_void) -> c_uchar;
        fn iter_next(*mut c_void);
        fn iter_value(*const c_void, *mut usize) -> *const u8;
        fn iter_get_error(*const c_void, *mut *mut c_char);
        fn iter_destroy(*mut c_void);
    }
}

fn load() -> Result<Api, String> {
    Api::load(&Library::open(&NAMES)?)
}

/// Its version, or why it is not there.
pub fn version() -> Result<String, String> {
    // The C interface does not say it; the file's name does.
    let file = Library::file_of(load()?.open as *const c_void).ok_or("where it came from is unknown")?;
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(name.split_once(".so.").map_or(name.clone(), |(_, version)| version.to_owned()))
}

pub struct RocksDb {
    api: Api,
    db: *mut c_void,
    waiting: *mut c_void,
    not_waiting: *mut c_void,
    last_key: AtomicU64,
}

// SAFETY: a DB may be used by many threads at once; the write options do not change any more.
unsafe impl Sync for RocksDb {}

impl RocksDb {
    fn open_in(dir: &Path) -> Result<Self, Failure> {
        let path = CString::new(dir.to_str().ok_or("the directory's name is not UTF-8")?)?;
        let api = load()?;
        let mut error = null_mut();
        // SAFETY: options and write options are made by their functions and used as those want it;
        // the path ends in a zero byte; open() copies the options.  Write options live to the process's end.
        let (db, waiting, not_waiting) = unsafe {
            let options = (api.options_create)();
            (api.options_set_create_if_missing)(options, 1);
            (api.options_set_recycle_log_file_num)(options, RECYCLED);
            (api.options_set_enable_pipelined_write)(options, 1);
            (api.options_set_allow_concurrent_memtable_write)(options, 0); // VectorRep takes one writer
            (api.options_set_memtable_vector_rep)(options);
            (api.options_set_compression)(options, NO_COMPRESSION);
            (api.options_set_disable_auto_compactions)(options, 1);
            (api.options_set_write_buffer_size)(options, WRITE_BUFFER as usize);
            let db = (api.open)(options, path.as_ptr(), &mut error);
            (api.options_destroy)(options);
            let waiting = (api.writeoptions_create)();
            (api.writeoptions_set_sync)(waiting, 1);
            (db, waiting, (api.writeoptions_create)())
        };
        let log = RocksDb { api, db, waiting, not_waiting, last_key: AtomicU64::new(0) };
        log.checked(error)?;
        Ok(log)
    }

    fn checked(&self, error: *mut c_char) -> Result<(), Failure> {
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: an error is a string that belongs to the caller.
        let text = unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned();
        // SAFETY: it is not used after this.
        unsafe { (self.api.free)(error.cast()) };
        Err(format!("RocksDB: {text}").into())
    }

    /// The next key in order.
    fn key(&self) -> [u8; 8] {
        (self.last_key.fetch_add(1, Relaxed) + 1).to_be_bytes()
    }

    /// Fills memtables until there are WAL files to be used again.
    fn age(&self) -> Result<(), Failure> {
        let mut record = Record::new(64 << 10);
        let mut producer = self.producer(0)?;
        for number in 0..4 * WRITE_BUFFER / (64 << 10) {
            producer.write(record.numbered(number))?;
        }
        producer.flush()
    }

    fn read_all(&self, checker: &mut Checker) -> Result<(), Failure> {
        // SAFETY: the DB is open; a value lives until the iterator moves; the iterator is destroyed once, at the end.
        unsafe {
            let iter = (self.api.create_iterator)(self.db, (self.api.readoptions_create)());
            (self.api.iter_seek_to_first)(iter);
            while (self.api.iter_valid)(iter) != 0 {
                let mut len = 0;
                let value = (self.api.iter_value)(iter, &mut len);
                checker.check(std::slice::from_raw_parts(value, len))?;
                (self.api.iter_next)(iter);
            }
            let mut error = null_mut();
            (self.api.iter_get_error)(iter, &mut error);
            (self.api.iter_destroy)(iter);
            self.checked(error)
        }
    }
}

impl Drop for RocksDb {
    fn drop(&mut self) {
        if !self.db.is_null() {
            // SAFETY: it is open, and used no more.
            unsafe { (self.api.close)(self.db) };
        }
    }
}

impl Log for RocksDb {
    const CONFIGURATION: &'static str = "WriteOptions.sync, recycle_log_file_num 4 (works from 2024 on), \
         VectorRep memtables, enable_pipelined_write, no compression, no compactions; a batch is a WriteBatch";

    type Producer<'a> = Batch<'a>;

    fn open(dir: &Path, spec: &Spec) -> Result<Self, Failure> {
        let log = RocksDb::open_in(dir)?;
        if spec.workload != Workload::Fill {
            log.age()?;
        }
        Ok(log)
    }

    fn producer(&self, _number: u64) -> Result<Batch<'_>, Failure> {
        // SAFETY: takes nothing and gives a batch of its own.
        let batch = unsafe { (self.api.writebatch_create)() };
        Ok(Batch { log: self, batch, bytes: 0 })
    }

    fn close(self) -> Result<(), Failure> {
        Ok(()) // dropping it closes it
    }

    fn replay(dir: &Path, _spec: &Spec, mut checker: Checker) -> Result<Checker, Failure> {
        RocksDb::open_in(dir)?.read_all(&mut checker)?;
        Ok(checker)
    }
}

pub struct Batch<'a> {
    log: &'a RocksDb,
    batch: *mut c_void,
    bytes: usize,
}

impl Batch<'_> {
    fn drain(&mut self, options: *mut c_void) -> Result<(), Failure> {
        let mut error = null_mut();
        // SAFETY: DB, options and batch are those made here; write() takes a copy of the batch.
        unsafe {
            (self.log.api.write)(self.log.db, options, self.batch, &mut error);
            (self.log.api.writebatch_clear)(self.batch);
        }
        self.bytes = 0;
        self.log.checked(error)
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        // SAFETY: it was made here and is used no more.
        unsafe { (self.log.api.writebatch_destroy)(self.batch) };
    }
}

impl Producer for Batch<'_> {
    fn append(&mut self, record: &[u8]) -> Result<(), Failure> {
        let (log, key, mut error) = (self.log, self.log.key(), null_mut());
        // SAFETY: DB and options are those made here; key and value are read, with their lengths.
        unsafe {
            (log.api.put)(log.db, log.waiting, key.as_ptr(), 8, record.as_ptr(), record.len(), &mut error);
        }
        log.checked(error)
    }

    fn write(&mut self, record: &[u8]) -> Result<(), Failure> {
        if self.bytes >= BATCH_BYTES {
            self.drain(self.log.not_waiting)?;
        }
        let key = self.log.key();
        // SAFETY: the batch is alive; key and value are copied, with their lengths.
        unsafe { (self.log.api.writebatch_put)(self.batch, key.as_ptr(), 8, record.as_ptr(), record.len()) };
        self.bytes += record.len();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.drain(self.log.waiting)
    }
}
