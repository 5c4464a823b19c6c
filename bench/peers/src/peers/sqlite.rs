//! SQLite, the system's.
//!
//! - journal_mode WAL and synchronous FULL: a commit is durable when it returns.
//!   (NORMAL, which its documentation recommends for WAL, may lose commits when the
//!   power goes.)
//! - One writer at a time is its rule.  Connections that take turns sleep in the busy
//!   handler, so there is one connection, behind a mutex: SQLITE_OPEN_NOMUTEX.
//! - locking_mode EXCLUSIVE: no other process comes, so the index of the WAL is in
//!   memory, and no file locks are taken.
//! - A batch, and 4 MiB of writes without waiting, is one transaction.
//! - One table, INTEGER PRIMARY KEY: an append goes to the last page of one tree.
//! - wal_autocheckpoint 16,384 pages: 64 MiB, as twal's segments.  With the default,
//!   1,000 pages, the slowest of batches take ten times as long, and the rest as long.
//! - Before the clock starts the WAL has grown to that length and was checkpointed, so
//!   that commits overwrite it, as they do after a while.

use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::path::Path;
use std::ptr::{self, null_mut};
use std::sync::Mutex;

use crate::args::{Spec, Workload};
use crate::dynamic::{functions, Library};
use crate::workload::{Checker, Failure, Log, Producer};

const OK: c_int = 0;
const ROW: c_int = 100;
const DONE: c_int = 101;
const OPEN_READWRITE: c_int = 0x2;
const OPEN_CREATE: c_int = 0x4;
const OPEN_NOMUTEX: c_int = 0x8000;

const SETTINGS: &CStr = c"PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
      PRAGMA wal_autocheckpoint = 16384;";
const CREATE: &CStr = c"CREATE TABLE log (seq INTEGER PRIMARY KEY, data BLOB NOT NULL)";
const INSERT: &CStr = c"INSERT INTO log (data) VALUES (?)";
const SELECT: &CStr = c"SELECT data FROM log ORDER BY seq";
/// More pages than wal_autocheckpoint.  It stays, for inserts would take its pages if it went.
const GROW: &CStr = c"CREATE TABLE filler (data BLOB); INSERT INTO filler VALUES (zeroblob(70000000));";

functions! {
    struct Api from "sqlite3_" {
        fn libversion() -> *const c_char;
        fn open_v2(*const c_char, *mut *mut c_void, c_int, *const c_char) -> c_int;
        fn close(*mut c_void) -> c_int;
        fn errmsg(*mut c_void) -> *const c_char;
        fn exec(*mut c_void, *const c_char, *const c_void, *mut c_void, *mut *mut c_char) -> c_int;
        fn prepare_v2(*mut c_void, *const c_char, c_int, *mut *mut c_void, *mut *const c_char) -> c_int;
        fn bind_blob(*mut c_void, c_int, *const c_void, c_int, *const c_void) -> c_int;
        fn step(*mut c_void) -> c_int;
        fn reset(*mut c_void) -> c_int;
        fn column_blob(*mut c_void, c_int) -> *const c_void;
        fn column_bytes(*mut c_void, c_int) -> c_int;
        fn finalize(*mut c_void) -> c_int;
    }
}

fn load() -> Result<Api, String> {
    Api::load(&Library::open(&["libsqlite3.so.0"])?)
}

/// Its version, or why it is not there.
pub fn version() -> Result<String, String> {
    let api = load()?;
    // SAFETY: the function gives a string that lives as long as the library.
    Ok(unsafe { CStr::from_ptr((api.libversion)()) }.to_string_lossy().into_owned())
}

/// A connection, and the statement that inserts.
struct Connection {
    api: Api,
    db: *mut c_void,
    insert: *mut c_void,
}

// SAFETY: with SQLITE_OPEN_NOMUTEX a connection may be used by any thread, by one at a time.
unsafe impl Send for Connection {}

impl Connection {
    fn open(dir: &Path) -> Result<Self, Failure> {
        let path = CString::new(dir.join("log.db").to_str().ok_or("the directory's name is not UTF-8")?)?;
        let mut connection = Connection { api: load()?, db: null_mut(), insert: null_mut() };
        let flags = OPEN_READWRITE | OPEN_CREATE | OPEN_NOMUTEX;
        // SAFETY: the path ends in a zero byte, `db` is writable.
        let rc = unsafe { (connection.api.open_v2)(path.as_ptr(), &mut connection.db, flags, ptr::null()) };
        connection.checked(rc, OK)?;
        connection.exec(SETTINGS)?;
        Ok(connection)
    }

    fn checked(&self, rc: c_int, expected: c_int) -> Result<(), Failure> {
        if rc == expected {
            return Ok(());
        }
        // SAFETY: gives a string, good until the next call with this connection.
        let text = unsafe { CStr::from_ptr((self.api.errmsg)(self.db)) };
        Err(format!("SQLite: {} ({rc})", text.to_string_lossy()).into())
    }

    fn exec(&self, sql: &CStr) -> Result<(), Failure> {
        // SAFETY: the connection is open; no callback and no error text are asked for.
        let rc = unsafe { (self.api.exec)(self.db, sql.as_ptr(), ptr::null(), null_mut(), null_mut()) };
        self.checked(rc, OK)
    }

    fn prepare(&self, sql: &CStr) -> Result<*mut c_void, Failure> {
        let mut statement = null_mut();
        // SAFETY: the connection is open, `statement` is writable, -1: up to the zero byte.
        let rc = unsafe { (self.api.prepare_v2)(self.db, sql.as_ptr(), -1, &mut statement, null_mut()) };
        self.checked(rc, OK).map(|()| statement)
    }

    fn insert(&self, record: &[u8]) -> Result<(), Failure> {
        let len = c_int::try_from(record.len())?;
        // SAFETY: the statement is prepared; no destructor: the record outlives the
        // step, and the reset after it lets go of it before anything binds again.
        let rc = unsafe {
            (self.api.bind_blob)(self.insert, 1, record.as_ptr().cast(), len, ptr::null());
            let rc = (self.api.step)(self.insert);
            (self.api.reset)(self.insert);
            rc
        };
        self.checked(rc, DONE)
    }

    fn read_all(&self, checker: &mut Checker) -> Result<(), Failure> {
        let select = self.prepare(SELECT)?;
        loop {
            // SAFETY: the statement is prepared and not finalized.
            match unsafe { (self.api.step)(select) } {
                ROW => {
                    // SAFETY: the row's blob lives until the next step; with a length of 0 the pointer is null.
                    let record = unsafe {
                        let (data, len) = ((self.api.column_blob)(select, 0), (self.api.column_bytes)(select, 0));
                        if data.is_null() {
                            &[]
                        } else {
                            std::slice::from_raw_parts(data.cast(), usize::try_from(len)?)
                        }
                    };
                    checker.check(record)?;
                }
                rc => {
                    self.checked(rc, DONE)?;
                    // SAFETY: the statement is prepared, and not used any more.
                    unsafe { (self.api.finalize)(select) };
                    return Ok(());
                }
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: both are null, for which these do nothing, or were opened here and are used no more.
        unsafe {
            (self.api.finalize)(self.insert);
            (self.api.close)(self.db);
        }
    }
}

pub struct Sqlite(Mutex<Connection>);

impl Log for Sqlite {
    const CONFIGURATION: &'static str = "journal_mode WAL, synchronous FULL, locking_mode EXCLUSIVE, \
         wal_autocheckpoint 64 MiB and a WAL that has that length, one connection behind a mutex; a batch is a transaction";

    type Producer<'a> = Transaction<'a>;

    fn open(dir: &Path, spec: &Spec) -> Result<Self, Failure> {
        let mut connection = Connection::open(dir)?;
        connection.exec(CREATE)?;
        if spec.workload != Workload::Fill {
            connection.exec(GROW)?;
        }
        connection.insert = connection.prepare(INSERT)?;
        Ok(Sqlite(Mutex::new(connection)))
    }

    fn producer(&self, _number: u64) -> Result<Transaction<'_>, Failure> {
        Ok(Transaction { log: self, bytes: Vec::new(), ends: Vec::new() })
    }

    fn close(self) -> Result<(), Failure> {
        Ok(()) // dropping it closes it
    }

    fn replay(dir: &Path, _spec: &Spec, mut checker: Checker) -> Result<Checker, Failure> {
        Connection::open(dir)?.read_all(&mut checker)?;
        Ok(checker)
    }
}

/// Records that wait for their transaction.  The connection is everybody's, so it
/// is taken only for as long as they take to be inserted.
pub struct Transaction<'a> {
    log: &'a Sqlite,
    bytes: Vec<u8>,
    /// Where each record ends in them.
    ends: Vec<usize>,
}

impl Producer for Transaction<'_> {
    fn append(&mut self, record: &[u8]) -> Result<(), Failure> {
        self.log.0.lock().expect("no thread panics").insert(record)
    }

    fn write(&mut self, record: &[u8]) -> Result<(), Failure> {
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let connection = self.log.0.lock().expect("no thread panics");
        connection.exec(c"BEGIN")?;
        let mut begin = 0;
        for end in &self.ends {
            connection.insert(&self.bytes[begin..*end])?;
            begin = *end;
        }
        connection.exec(c"COMMIT")?;
        self.bytes.clear();
        self.ends.clear();
        Ok(())
    }
}
