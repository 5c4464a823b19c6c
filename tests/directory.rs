//! Goal: what a writer's directory knows of its names stays what the names are,
//! also while a reader in the same process reads the directory anew.
//!
//! Method: a directory whose listing pauses after it was read, and a rollover's
//! two changes of names in that pause.
#![forbid(unsafe_code)]

use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{mpsc, Arc, Mutex};
use std::time::Duration;

use twal::disk::sim::SimDisk;
use twal::disk::{Access, Dir, Disk, Facts, File, LockKind};
use twal::segment::{Directory, SegmentName, State};

struct PausingDisk {
    disk: Arc<SimDisk>,
    listed: Sender<()>,
    go_on: Mutex<Option<Receiver<()>>>,
}

struct PausingDir {
    dir: Arc<dyn Dir>,
    listed: Sender<()>,
    go_on: Mutex<Receiver<()>>,
}

impl Disk for PausingDisk {
    fn open_dir(&self, path: &Path, create: bool) -> io::Result<Arc<dyn Dir>> {
        let dir = self.disk.open_dir(path, create)?;
        let go_on = Mutex::new(self.go_on.lock().unwrap().take().unwrap());
        Ok(Arc::new(PausingDir { dir, listed: self.listed.clone(), go_on }))
    }
}

impl Dir for PausingDir {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = self.dir.list();
        self.listed.send(()).unwrap();
        // Until the names were changed; or not, if they are kept as they are meanwhile.
        let _ = self.go_on.lock().unwrap().recv_timeout(Duration::from_millis(200));
        names
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.dir.create(name)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        self.dir.open(name, access)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.dir.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.dir.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.dir.sync()
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        self.dir.try_lock(kind)
    }

    fn unlock(&self) -> io::Result<()> {
        self.dir.unlock()
    }

    fn facts(&self) -> &Facts {
        self.dir.facts()
    }

    fn keep_room(&self) -> bool {
        self.dir.keep_room()
    }

    fn abandon(&self) {
        self.dir.abandon();
    }
}

#[test]
fn a_look_at_the_names_does_not_undo_a_rollover() {
    let (listed, when_listed) = mpsc::channel();
    let (changed, go_on) = mpsc::channel();
    let disk = PausingDisk { disk: SimDisk::new(1), listed, go_on: Mutex::new(Some(go_on)) };
    let directory = Directory::open(&disk, Path::new("/log"), true).unwrap();
    let name = |index, first_seq, state| SegmentName { index, first_seq, state };
    directory.publish(&directory.create_spare().unwrap(), name(1, 1, State::Active)).unwrap();

    std::thread::scope(|scope| {
        let reader = scope.spawn(|| directory.scan().map(drop));
        when_listed.recv().unwrap();
        let spare = directory.create_spare().unwrap();
        directory.publish(&spare, name(2, 10, State::Active)).unwrap();
        directory.seal(1).unwrap();
        let _ = changed.send(());
        reader.join().unwrap().unwrap();
    });

    assert_eq!(directory.segments(), [name(1, 1, State::Sealed), name(2, 10, State::Active)]);
}
