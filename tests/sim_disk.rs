//! The simulated disk does everything that its fault model says, and nothing
//! that the disk trait rules out.
//!
//! Method: small files, every seed of a range, and the set of outcomes that
//! they reach compared with the set that the model allows.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use twal::base::clock::Clock;
use twal::disk::sim::{CallKind, Keep, SimDisk, Stop};
use twal::disk::{Access, Dir, Disk, Durable, File, LockByte, LockKind};

const SECTOR: usize = 512;
const EIO: i32 = libc::EIO;

fn open(disk: &SimDisk) -> Arc<dyn Dir> {
    disk.open_dir(Path::new("log"), true).expect("the directory opens")
}

/// A disk with a durable file "f" of so many sectors of `old`.
fn disk_with(seed: u64, sectors: usize, old: u8) -> (Arc<SimDisk>, Arc<dyn Dir>, Arc<dyn File>) {
    let disk = SimDisk::new(seed);
    let dir = open(&disk);
    disk.put_file("f", &vec![old; sectors * SECTOR]);
    let file = dir.open("f", Access::Write).unwrap();
    (disk, dir, file)
}

/// The first byte of each sector.
fn firsts(content: &[u8]) -> Vec<u8> {
    content.chunks(SECTOR).map(|sector| sector[0]).collect()
}

fn sector(byte: u8) -> Vec<u8> {
    vec![byte; SECTOR]
}

fn offset(sector: usize) -> u64 {
    u64::try_from(sector * SECTOR).unwrap()
}

fn errno<T>(result: io::Result<T>) -> i32 {
    result.err().and_then(|error| error.raw_os_error()).unwrap_or(0)
}

fn subsets(bits: usize, old: u8, new: u8) -> BTreeSet<Vec<u8>> {
    let subset = |mask: usize| (0..bits).map(|bit| if mask >> bit & 1 == 1 { new } else { old }).collect();
    (0..1 << bits).map(subset).collect()
}

// ---- Power cuts ----

#[test]
fn a_power_cut_reaches_every_subset_of_unflushed_sectors() {
    let (disk, _dir, file) = disk_with(1, 3, 1);
    for at in 0..3 {
        file.write_at(&sector(2), offset(at), Durable::No).unwrap();
    }
    assert_eq!(disk.unflushed_sectors("f"), [0, 512, 1024]);
    let mut reached = BTreeSet::new();
    for seed in 0..400 {
        let fork = disk.fork(seed);
        fork.power_cut();
        let content = firsts(&fork.content("f").unwrap());
        assert_eq!(fork.durable_content("f"), fork.content("f"));
        assert_eq!(fork.unflushed_sectors("f"), []);
        reached.insert(content);
    }
    assert_eq!(reached, subsets(3, 1, 2));
}

#[test]
fn a_sector_may_become_any_version_since_its_flush() {
    let (disk, _dir, file) = disk_with(1, 1, 1);
    for version in 2..5 {
        file.write_at(&sector(version), 0, Durable::No).unwrap();
    }
    let reached: BTreeSet<Vec<u8>> = (0..400)
        .map(|seed| {
            let fork = disk.fork(seed);
            fork.power_cut();
            firsts(&fork.content("f").unwrap())
        })
        .collect();
    assert_eq!(reached, (1..5).map(|version| vec![version]).collect());
}

#[test]
fn a_tear_unit_of_4096_stays_whole() {
    for whole in [true, false] {
        let (disk, _dir, file) = disk_with(1, 16, 1);
        if whole {
            disk.set_tear_unit(4096);
        }
        file.write_at(&[2; 16 * SECTOR], 0, Durable::No).unwrap();
        file.write_at(&[3; 4 * SECTOR], 0, Durable::No).unwrap();
        let mut reached = BTreeSet::new();
        for seed in 0..400 {
            let fork = disk.fork(seed);
            fork.power_cut();
            reached.insert(firsts(&fork.content("f").unwrap()));
        }
        let mixed = [vec![3; 4], vec![2; 4]].concat();
        let low = [vec![1; 8], vec![2; 8], mixed];
        let allowed: BTreeSet<Vec<u8>> =
            low.iter().flat_map(|low| [1, 2].map(|high| [low.clone(), vec![high; 8]].concat())).collect();
        assert_eq!(reached == allowed, whole, "{reached:?}");
        assert!(whole || reached.len() > 30);
    }
}

#[test]
fn extremes_keep_everything_and_nothing() {
    for (keep, byte, names) in [(Keep::Everything, 2, vec!["f", "g"]), (Keep::Nothing, 1, vec!["f"])] {
        for seed in 0..20 {
            let (disk, dir, file) = disk_with(seed, 100, 1);
            disk.set_keep(keep);
            file.write_at(&[2; 100 * SECTOR], 0, Durable::No).unwrap();
            dir.create("g").unwrap();
            disk.power_cut();
            assert_eq!(disk.content("f").unwrap(), [byte; 100 * SECTOR]);
            assert_eq!(disk.names(), names);
        }
    }
}

#[test]
fn a_random_cut_of_many_sectors_draws_all_none_and_a_prefix_in_time() {
    let (disk, _dir, file) = disk_with(1, 64, 1);
    for at in 0..64 {
        file.write_at(&sector(2), offset(at), Durable::No).unwrap();
    }
    let (mut all, mut none, mut prefix) = (0, 0, 0);
    for seed in 0..400 {
        let fork = disk.fork(seed);
        fork.power_cut();
        let content = firsts(&fork.content("f").unwrap());
        let new = content.iter().filter(|byte| **byte == 2).count();
        match new {
            0 => none += 1,
            64 => all += 1,
            _ => prefix += usize::from(content[..new].iter().all(|byte| *byte == 2)),
        }
    }
    assert!(all > 10 && none > 10 && prefix > 10, "{all} {none} {prefix}");
}

#[test]
fn sync_makes_every_write_before_it_durable_and_none_after() {
    for seed in 0..50 {
        let (disk, _dir, file) = disk_with(seed, 3, 1);
        file.write_at(&[2; 2 * SECTOR], 0, Durable::No).unwrap();
        file.sync().unwrap();
        file.write_at(&sector(3), offset(2), Durable::No).unwrap();
        assert_eq!(firsts(&disk.durable_content("f").unwrap()), [2, 2, 1]);
        disk.power_cut();
        assert_eq!(firsts(&disk.content("f").unwrap())[..2], [2, 2]);
    }
}

#[test]
fn a_dsync_write_flushes_only_itself() {
    let (disk, dir, file) = disk_with(1, 3, 1);
    dir.create("g").unwrap();
    file.write_at(&sector(2), 0, Durable::No).unwrap();
    file.write_at(&sector(2), offset(1), Durable::Yes).unwrap();
    file.write_at(&sector(2), offset(2), Durable::No).unwrap();
    assert_eq!(disk.unflushed_sectors("f"), [0, 1024]);
    assert_eq!(firsts(&disk.durable_content("f").unwrap()), [1, 2, 1]);
    assert_eq!(disk.durable_names(), ["f"], "nor a name");
    let mut reached = BTreeSet::new();
    for seed in 0..400 {
        let fork = disk.fork(seed);
        fork.power_cut();
        reached.insert(firsts(&fork.content("f").unwrap()));
    }
    assert_eq!(reached, [[1, 2, 1], [1, 2, 2], [2, 2, 1], [2, 2, 2]].map(Vec::from).into());
}

#[test]
fn a_dsync_write_that_grows_the_file_is_readable_after_a_power_cut() {
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let dir = open(&disk);
        let file = dir.create("f").unwrap();
        dir.sync().unwrap();
        file.allocate(4096).unwrap();
        file.write_at(&sector(7), 512, Durable::Yes).unwrap();
        disk.power_cut();
        let content = disk.content("f").unwrap();
        assert!([1024, 4096].contains(&content.len()));
        assert_eq!(firsts(&content)[..2], [0, 7]);
    }
}

#[test]
fn a_truncated_size_is_old_or_new_until_it_is_flushed() {
    let (disk, dir, file) = disk_with(1, 4, 1);
    file.truncate(700).unwrap();
    assert_eq!((file.size().unwrap(), disk.content("f").unwrap()), (700, vec![1; 700]));
    let mut buf = sector(9);
    assert_eq!(file.read_at(&mut buf, 512).unwrap(), 188);
    assert_eq!(errno(dir.open("f", Access::Read).unwrap().truncate(0)), libc::EBADF);
    let sizes: BTreeSet<usize> = (0..20)
        .map(|seed| {
            let cut = disk.fork(seed);
            cut.power_cut();
            cut.content("f").unwrap().len()
        })
        .collect();
    assert_eq!(sizes, BTreeSet::from([700, 2048]));
    file.sync().unwrap();
    disk.power_cut();
    assert_eq!(disk.content("f").unwrap(), vec![1; 700]);
}

#[test]
fn a_size_is_old_or_new_after_a_power_cut() {
    let disk = SimDisk::new(1);
    let dir = open(&disk);
    let file = dir.create("f").unwrap();
    dir.sync().unwrap();
    file.allocate(1024).unwrap();
    file.sync().unwrap();
    file.allocate(8192).unwrap();
    file.write_at(&sector(1), 8192, Durable::No).unwrap();
    let mut reached = BTreeSet::new();
    for seed in 0..200 {
        let fork = disk.fork(seed);
        fork.power_cut();
        reached.insert(fork.content("f").unwrap().len());
    }
    assert_eq!(reached, [1024, 8192, 8704].into());
}

#[test]
fn lying_flushes_make_nothing_durable() {
    let (disk, dir, file) = disk_with(1, 2, 1);
    disk.lie_about_flushes(true);
    disk.set_keep(Keep::Nothing);
    dir.create("g").unwrap();
    file.write_at(&sector(2), 0, Durable::Yes).unwrap();
    file.write_at(&sector(2), offset(1), Durable::No).unwrap();
    file.sync().unwrap();
    dir.sync().unwrap();
    assert_eq!(firsts(&disk.content("f").unwrap()), [2, 2]);
    disk.power_cut();
    assert_eq!((firsts(&disk.content("f").unwrap()), disk.names()), (vec![1, 1], vec!["f".to_owned()]));
}

// ---- Names ----

/// The sets of names that power cuts leave of `changes` in a directory that durably holds `names`.
fn names_after(names: &[&str], changes: impl Fn(&dyn Dir)) -> BTreeSet<String> {
    let disk = SimDisk::new(1);
    let dir = open(&disk);
    for name in names {
        disk.put_file(name, name.as_bytes());
    }
    changes(&*dir);
    let left = |seed| {
        let fork = disk.fork(seed);
        fork.power_cut();
        assert_eq!(fork.durable_names(), fork.names());
        fork.names().join(" ")
    };
    (0..400).map(left).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_power_cut_keeps_any_subset_of_name_changes() {
    let reached = names_after(&["a", "b"], |dir| {
        dir.rename("a", "c").unwrap();
        dir.remove("b").unwrap();
        dir.create("d").unwrap();
    });
    assert_eq!(reached, set(&["a b", "a", "b c", "c", "a b d", "a d", "b c d", "c d"]));
}

#[test]
fn a_change_that_stays_without_the_one_it_needs_is_lost_too() {
    let created_then_renamed = names_after(&[], |dir| {
        dir.create("a").unwrap();
        dir.rename("a", "b").unwrap();
    });
    assert_eq!(created_then_renamed, set(&["", "a", "b"]));
    let renamed_twice = names_after(&["a"], |dir| {
        dir.rename("a", "b").unwrap();
        dir.rename("b", "c").unwrap();
    });
    assert_eq!(renamed_twice, set(&["a", "b", "c"]), "never two names");
    let replaced = names_after(&["old", "new"], |dir| {
        dir.remove("old").unwrap();
        dir.rename("new", "old").unwrap();
    });
    assert_eq!(replaced, set(&["new old", "new", "old"]));
}

#[test]
fn a_file_that_is_replaced_is_there_until_the_other_is() {
    let mut seen = BTreeSet::new();
    for seed in 0..60 {
        let disk = SimDisk::new(seed);
        let dir = open(&disk);
        disk.put_file("old", b"old");
        disk.put_file("new", b"new");
        let held = dir.open("old", Access::Read).unwrap();
        dir.replace("new", "old").unwrap();
        assert_eq!((disk.names(), disk.content("old")), (vec!["old".to_owned()], Some(b"new".to_vec())));
        assert_eq!(held.room().unwrap(), 4096, "it lives on for who has it open");
        assert_eq!(errno(dir.replace("new", "old")), libc::ENOENT);
        assert_eq!(errno(dir.replace("old", "none")), libc::ENOENT);
        disk.power_cut();
        seen.insert((disk.names().join(" "), disk.content("old").unwrap()));
    }
    let before = ("new old".to_owned(), b"old".to_vec());
    assert_eq!(seen, [before, ("old".to_owned(), b"new".to_vec())].into());
}

#[test]
fn names_are_exchanged_or_not() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..40 {
        let disk = SimDisk::new(seed);
        let dir = open(&disk);
        disk.put_file("f", b"1");
        disk.put_what_is_no_file("d");
        assert_eq!(errno(dir.open("d", Access::Read)), libc::ELOOP);
        assert_eq!(errno(dir.exchange("f", "none")), libc::ENOENT);
        dir.exchange("f", "d").unwrap();
        assert_eq!(disk.content("d").unwrap(), b"1");
        assert_eq!(errno(dir.open("f", Access::Read)), libc::ELOOP);
        disk.power_cut();
        assert_eq!(disk.names(), ["d", "f"]);
        outcomes.insert(disk.content("d").unwrap());
    }
    assert_eq!(outcomes, BTreeSet::from([vec![], b"1".to_vec()]));
}

/// Never nowhere; in both places only if the second directory was not flushed.
#[test]
fn a_move_to_another_directory_is_whole_or_not_done() {
    let mut outcomes = BTreeSet::new();
    for (seed, flushes) in (0..120).flat_map(|seed| (0..3).map(move |flushes| (seed, flushes))) {
        let disk = SimDisk::new(seed);
        let (dir, other) = (open(&disk), disk.open_dir(Path::new("other"), true).unwrap());
        disk.put_file("f", b"1");
        disk.put_file("other/taken", b"2");
        assert_eq!(errno(dir.move_to("f", other.as_ref(), "taken")), libc::EEXIST);
        assert_eq!(errno(dir.move_to("none", other.as_ref(), "g")), libc::ENOENT);
        let elsewhere = SimDisk::new(0);
        assert_eq!(errno(dir.move_to("f", open(&elsewhere).as_ref(), "g")), libc::EXDEV);
        dir.move_to("f", other.as_ref(), "g").unwrap();
        assert_eq!((disk.names(), disk.content("other/g").unwrap()), (vec![], b"1".to_vec()));
        for dir in [&other, &dir].into_iter().take(flushes) {
            dir.sync().unwrap();
        }
        disk.power_cut();
        let there = (disk.content("f").is_some(), disk.content("other/g").is_some());
        assert!(there.0 || there.1, "it is nowhere");
        outcomes.insert((flushes, there));
    }
    let expected = [(0, (true, false)), (0, (false, true)), (1, (true, true)), (1, (false, true)), (2, (false, true))];
    assert_eq!(outcomes, BTreeSet::from(expected));
}

#[test]
fn a_directory_sync_makes_names_durable_and_content_belongs_to_the_file() {
    for seed in 0..50 {
        let (disk, dir, file) = disk_with(seed, 1, 1);
        dir.rename("f", "g").unwrap();
        file.write_at(&sector(2), 0, Durable::Yes).unwrap();
        dir.sync().unwrap();
        dir.remove("g").unwrap();
        assert_eq!(disk.content("g"), None);
        disk.power_cut();
        let content = disk.content("g");
        assert!(content.is_none_or(|content| content == sector(2)), "the durable write is there if the name is");
        assert_eq!(disk.content("f"), None);
    }
}

#[test]
fn names_behave() {
    let disk = SimDisk::new(1);
    assert_eq!(errno(disk.open_dir(Path::new("log"), false)), libc::ENOENT);
    assert_eq!(errno(disk.open_dir(Path::new("no/log"), true)), libc::ENOENT);
    let dir = open(&disk);
    dir.create("a").unwrap();
    dir.create("b").unwrap();
    assert_eq!(errno(dir.create("a")), libc::EEXIST);
    assert_eq!(errno(dir.rename("a", "b")), libc::EEXIST);
    assert_eq!(errno(dir.rename("c", "d")), libc::ENOENT);
    assert_eq!(errno(dir.remove("c")), libc::ENOENT);
    assert_eq!(errno(dir.open("c", Access::Read)), libc::ENOENT);
    assert_eq!(errno(disk.open_dir(Path::new("log/a"), true)), libc::ENOTDIR);
    let mut names = dir.list().unwrap();
    names.sort();
    assert_eq!(names, ["a", "b"]);
    let other = disk.open_dir(Path::new("log/sub"), true).unwrap();
    other.create("x").unwrap();
    assert_eq!((disk.names(), disk.names_in(Path::new("log/sub"))), (names, vec!["x".to_owned()]));
    assert_eq!(disk.content("log/sub/x"), Some(vec![]));
}

// ---- Files ----

#[test]
fn reads_end_where_the_file_ends_and_holes_are_zeros() {
    let (disk, dir, file) = disk_with(1, 1, 9);
    file.write_at(&sector(8), offset(2), Durable::No).unwrap();
    let mut buf = vec![1; 4 * SECTOR];
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 3 * SECTOR);
    assert_eq!(firsts(&buf), [9, 0, 8, 1]);
    assert_eq!(file.read_at(&mut buf, offset(3)).unwrap(), 0);
    let reader = dir.open("f", Access::Read).unwrap();
    assert_eq!(errno(reader.write_at(&sector(1), 0, Durable::No)), libc::EBADF);
    assert_eq!(reader.size().unwrap(), 1536);
    assert_eq!(errno(file.write_at(&[0; 100], 0, Durable::No)), libc::EINVAL);
    assert_eq!(errno(file.write_at(&sector(1), 100, Durable::No)), libc::EINVAL);
    assert_eq!(errno(file.read_at(&mut buf[..512], 100)), libc::EINVAL);
    disk.set_align(4096, 512);
    assert_eq!(errno(file.read_at(&mut buf[..512], 0)), libc::EINVAL);
    assert_eq!(open(&disk).facts().block_align, 4096);
}

#[test]
fn written_until_follows_the_writes_and_big_zero_files_cost_nothing() {
    const BIG: u64 = 64 << 20;
    let disk = SimDisk::new(1);
    let dir = open(&disk);
    let file = dir.create("big").unwrap();
    dir.sync().unwrap();
    file.allocate(BIG).unwrap();
    file.sync().unwrap();
    assert_eq!((file.size().unwrap(), file.written_until(0).unwrap()), (BIG, 0));
    let zeros = vec![0; 256 << 10];
    let piece = u64::try_from(zeros.len()).unwrap();
    for at in 0..BIG / piece {
        assert_eq!(file.written_until(0).unwrap(), at * piece);
        file.write_at(&zeros, at * piece, Durable::No).unwrap();
    }
    assert_eq!(file.written_until(0).unwrap(), BIG);
    assert_eq!(disk.unflushed_sectors("big"), [], "zeros over zeros need no flush");
    let fork = disk.fork(1);
    fork.set_keep(Keep::Nothing);
    fork.power_cut();
    let file = open(&fork).open("big", Access::Write).unwrap();
    assert_eq!(file.written_until(0).unwrap(), 0, "that it was written was not flushed");
    file.write_at(&sector(1), 1024, Durable::No).unwrap();
    assert_eq!(file.written_until(0).unwrap(), 0);
    assert_eq!(file.written_until(1024).unwrap(), 1536);
}

#[test]
fn room_is_taken_by_allocation_and_given_back_by_removal() {
    let disk = SimDisk::new(1);
    let dir = open(&disk);
    disk.set_capacity(Some(12288));
    let one = dir.create("one").unwrap();
    one.allocate(8192).unwrap();
    let two = dir.create("two").unwrap();
    assert_eq!(errno(two.allocate(8192)), libc::ENOSPC);
    two.allocate(4096).unwrap();
    assert_eq!(disk.room_taken(), 12288);
    two.write_at(&[1; 4096], 0, Durable::Yes).unwrap();
    assert_eq!(errno(two.write_at(&sector(1), 4096, Durable::No)), libc::ENOSPC);
    assert_eq!(two.size().unwrap(), 4096, "a refused write has no effect");
    dir.remove("one").unwrap();
    assert_eq!(errno(two.write_at(&sector(1), 4096, Durable::No)), libc::ENOSPC, "it is still open");
    drop(one);
    two.write_at(&sector(1), 4096, Durable::No).unwrap();
}

// ---- Lives ----

#[test]
fn handles_of_a_dead_life_answer_eio_for_ever() {
    for end in [SimDisk::power_cut, SimDisk::kill] {
        let (disk, dir, file) = disk_with(1, 1, 1);
        end(&disk);
        let mut buf = sector(0);
        let answers = [
            errno(file.size()),
            errno(file.read_at(&mut buf, 0)),
            errno(file.write_at(&buf, 0, Durable::No)),
            errno(file.sync()),
            errno(file.try_lock(LockByte::Writer, LockKind::Exclusive)),
            errno(dir.list()),
            errno(dir.create("x")),
            errno(dir.sync()),
            errno(dir.try_lock(LockKind::Shared)),
        ];
        assert_eq!(answers, [EIO; 9]);
        assert_eq!(disk.names(), ["f"]);
        assert!(open(&disk).open("f", Access::Read).is_ok());
    }
}

#[test]
fn a_kill_keeps_what_was_written_but_does_not_flush_it() {
    let (disk, dir, file) = disk_with(1, 1, 1);
    file.write_at(&sector(2), 0, Durable::No).unwrap();
    dir.create("g").unwrap();
    disk.kill();
    assert_eq!((firsts(&disk.content("f").unwrap()), disk.names().len()), (vec![2], 2));
    disk.set_keep(Keep::Nothing);
    disk.power_cut();
    assert_eq!((firsts(&disk.content("f").unwrap()), disk.names().len()), (vec![1], 1));
}

/// Every kind of step, once; returns at the first error.
fn all_steps(disk: &SimDisk) -> io::Result<()> {
    let dir = disk.open_dir(Path::new("log"), true)?;
    let file = dir.create("f")?;
    file.allocate(4096)?;
    file.write_at(&[1; 4096], 0, Durable::No)?;
    file.sync()?;
    dir.sync()?;
    file.write_at(&[2; 4096], 0, Durable::Yes)?;
    dir.rename("f", "g")?;
    dir.remove("g")?;
    dir.sync()
}

#[test]
fn a_stop_strikes_every_step_and_nothing_has_an_effect_until_the_restart() {
    let disk = SimDisk::new(0);
    all_steps(&disk).unwrap();
    let steps = disk.steps();
    assert_eq!(steps, 10);
    for stop in [Stop::PowerCut, Stop::Kill] {
        for (step, seed) in (0..steps).flat_map(|step| (0..20).map(move |seed| (step, seed))) {
            let disk = SimDisk::new(seed);
            disk.stop_at(step, stop);
            assert_eq!(errno(all_steps(&disk)), EIO);
            assert!(disk.is_down());
            let names = disk.names();
            assert_eq!(errno(disk.open_dir(Path::new("log"), true)), EIO);
            assert_eq!((disk.steps(), disk.names()), (step + 1, names));
            assert!(disk.restart());
            open(&disk);
        }
        let disk = SimDisk::new(0);
        disk.stop_at(steps, stop);
        all_steps(&disk).unwrap();
        assert!(!disk.restart(), "a stop after the end never strikes");
        open(&disk).create("h").unwrap();
    }
}

#[test]
fn a_stopped_call_did_or_did_not_happen() {
    let mut reached = BTreeSet::new();
    for seed in 0..100 {
        let (disk, dir, _file) = disk_with(seed, 1, 1);
        disk.stop_at(disk.steps(), Stop::Kill);
        assert_eq!(errno(dir.rename("f", "g")), EIO);
        disk.restart();
        reached.extend(disk.names());
        let (disk, _dir, file) = disk_with(seed, 1, 1);
        file.write_at(&sector(2), 0, Durable::No).unwrap();
        disk.stop_at(disk.steps(), Stop::Kill);
        assert_eq!(errno(file.sync()), EIO);
        disk.restart();
        reached.insert(if disk.unflushed_sectors("f").is_empty() { "flushed" } else { "not" }.to_owned());
    }
    assert_eq!(reached, set(&["f", "g", "flushed", "not"]));
}

#[test]
fn a_write_cut_by_the_power_reaches_every_subset() {
    let mut reached = BTreeSet::new();
    for seed in 0..800 {
        let (disk, _dir, file) = disk_with(seed, 3, 1);
        disk.stop_at(disk.steps(), Stop::PowerCut);
        assert_eq!(errno(file.write_at(&[2; 3 * SECTOR], 0, Durable::Yes)), EIO);
        disk.restart();
        assert_eq!(disk.late_writes(), 0);
        reached.insert(firsts(&disk.content("f").unwrap()));
    }
    assert_eq!(reached, subsets(3, 1, 2));
}

/// A disk whose first life was killed in a write of 2s over 1s, most of it still to land.
fn killed_in_a_write(seed: u64, locked: bool) -> Arc<SimDisk> {
    let (disk, _dir, file) = disk_with(seed, 3, 1);
    if locked {
        assert!(file.try_lock(LockByte::Writer, LockKind::Exclusive).unwrap());
    }
    disk.stop_at(disk.steps(), Stop::Kill);
    assert_eq!(errno(file.write_at(&[2; 3 * SECTOR], 0, Durable::Yes)), EIO);
    drop(file);
    disk.restart();
    disk
}

#[test]
fn a_late_write_lands_over_newer_data_if_the_lock_is_ignored() {
    let mut reached = BTreeSet::new();
    for seed in 0..800 {
        let disk = killed_in_a_write(seed, true);
        let file = open(&disk).open("f", Access::Write).unwrap();
        file.write_at(&[3; 3 * SECTOR], 0, Durable::Yes).unwrap();
        let mut buf = vec![0; 3 * SECTOR];
        for _ in 0..40 {
            file.read_at(&mut buf, 0).unwrap();
        }
        assert_eq!(disk.late_writes(), 0, "it lands within 32 calls");
        reached.insert(firsts(&buf));
    }
    assert_eq!(reached, subsets(3, 3, 2), "seen as newer than what the next life wrote");
}

#[test]
fn a_late_write_cannot_hurt_who_waits_for_the_lock() {
    let mut waits = 0;
    for seed in 0..400 {
        let disk = killed_in_a_write(seed, true);
        let file = open(&disk).open("f", Access::Write).unwrap();
        assert!(file.try_lock(LockByte::Reader, LockKind::Exclusive).unwrap(), "only the byte that was locked");
        while !file.try_lock(LockByte::Writer, LockKind::Exclusive).unwrap() {
            assert_eq!(disk.late_writes(), 1);
            waits += 1;
        }
        assert_eq!(disk.late_writes(), 0);
        file.write_at(&[3; 3 * SECTOR], 0, Durable::Yes).unwrap();
        for _ in 0..40 {
            file.size().unwrap();
        }
        assert_eq!(firsts(&disk.content("f").unwrap()), [3, 3, 3]);
    }
    assert!(waits > 400, "most had to wait");
    let disk = (0..).map(|seed| killed_in_a_write(seed, false)).find(|disk| disk.late_writes() == 1).unwrap();
    let file = open(&disk).open("f", Access::Write).unwrap();
    assert!(file.try_lock(LockByte::Writer, LockKind::Exclusive).unwrap(), "nobody locked it");
}

#[test]
fn late_writes_land_by_the_simulated_time_and_not_after_a_power_cut() {
    let clock = Clock::simulated();
    let disk = SimDisk::new(5).with_clock(clock.clone());
    disk.set_late_within(u64::MAX, 1_000_000);
    let dir = open(&disk);
    disk.put_file("f", &[1; 8 * SECTOR]);
    let file = dir.open("f", Access::Write).unwrap();
    disk.stop_at(disk.steps(), Stop::Kill);
    assert_eq!(errno(file.write_at(&[2; 8 * SECTOR], 0, Durable::No)), EIO);
    disk.restart();
    let file = open(&disk).open("f", Access::Write).unwrap();
    assert_eq!(disk.late_writes(), 1, "another seed, if the numbers changed");
    let fork = disk.fork(1);
    fork.power_cut();
    assert_eq!(fork.late_writes(), 0);
    let fork = disk.fork(1);
    fork.land_late_writes();
    assert_eq!(fork.content("f").unwrap(), [2; 8 * SECTOR]);
    clock.pass(Duration::from_millis(2));
    file.size().unwrap();
    assert_eq!((disk.late_writes(), disk.content("f").unwrap()), (0, vec![2; 8 * SECTOR]));
}

#[test]
fn a_late_write_follows_its_file_into_another_name() {
    let disk = (0..).map(|seed| killed_in_a_write(seed, true)).find(|disk| disk.late_writes() == 1).unwrap();
    let dir = open(&disk);
    dir.rename("f", "spare").unwrap();
    disk.put_file("f", &[9; 3 * SECTOR]);
    disk.land_late_writes();
    assert_eq!(firsts(&disk.content("f").unwrap()), [9, 9, 9]);
    assert_eq!(firsts(&disk.content("spare").unwrap()), [2, 2, 2]);
}

// ---- Locks ----

#[test]
fn directory_locks_are_by_opening() {
    let disk = SimDisk::new(1);
    let (one, two) = (open(&disk), open(&disk));
    assert!(one.try_lock(LockKind::Exclusive).unwrap());
    assert!(one.try_lock(LockKind::Exclusive).unwrap(), "again through the same handle");
    assert!(!two.try_lock(LockKind::Shared).unwrap());
    assert!(one.try_lock(LockKind::Shared).unwrap());
    assert!(two.try_lock(LockKind::Shared).unwrap());
    assert!(!one.try_lock(LockKind::Exclusive).unwrap());
    assert!(two.try_lock(LockKind::Exclusive).unwrap(), "a refused conversion lost the old lock, as flock does");
    two.unlock().unwrap();
    assert!(one.try_lock(LockKind::Exclusive).unwrap());
    drop(one);
    assert!(two.try_lock(LockKind::Exclusive).unwrap());
    disk.kill();
    assert!(open(&disk).try_lock(LockKind::Exclusive).unwrap());
}

#[test]
fn file_locks_are_by_opening_and_byte() {
    let (disk, dir, one) = disk_with(1, 1, 1);
    let two = dir.open("f", Access::Read).unwrap();
    assert!(one.try_lock(LockByte::Writer, LockKind::Exclusive).unwrap());
    assert!(!two.try_lock(LockByte::Writer, LockKind::Shared).unwrap());
    assert_eq!(errno(two.try_lock(LockByte::Reader, LockKind::Exclusive)), libc::EBADF);
    assert!(two.try_lock(LockByte::Reader, LockKind::Shared).unwrap());
    assert!(one.try_lock(LockByte::Reader, LockKind::Shared).unwrap());
    assert!(!one.try_lock(LockByte::Reader, LockKind::Exclusive).unwrap());
    drop(two);
    assert!(one.try_lock(LockByte::Reader, LockKind::Exclusive).unwrap());
    let two = dir.open("f", Access::Write).unwrap();
    one.unlock(LockByte::Writer).unwrap();
    assert!(two.try_lock(LockByte::Writer, LockKind::Exclusive).unwrap());
    disk.kill();
    let three = open(&disk).open("f", Access::Write).unwrap();
    assert!(three.try_lock(LockByte::Writer, LockKind::Exclusive).unwrap(), "nothing of the dead was in flight");
}

// ---- Planned faults ----

#[test]
fn the_kth_call_fails_whatever_it_is() {
    for code in [EIO, libc::ENOSPC] {
        for k in 0..10 {
            let disk = SimDisk::new(1);
            disk.fail_call(k, code);
            assert_eq!(errno(all_steps(&disk)), code);
            assert_eq!(disk.steps(), k + 1);
        }
        let disk = SimDisk::new(1);
        disk.fail_call(10, code);
        all_steps(&disk).unwrap();
    }
}

#[test]
fn the_kth_call_of_a_kind_fails_once_or_for_ever() {
    let (disk, _dir, file) = disk_with(1, 2, 1);
    let mut buf = sector(0);
    disk.fail_kind(CallKind::Read, 1, EIO);
    let mut read = || errno(file.read_at(&mut buf, 0));
    assert_eq!([read(), read(), read()], [0, EIO, 0]);
    disk.fail_from(Some(CallKind::Sync), 1, libc::ENOSPC);
    let sync = || errno(file.sync());
    assert_eq!([sync(), sync(), sync()], [0, libc::ENOSPC, libc::ENOSPC]);
    disk.clear_faults();
    assert_eq!(sync(), 0);
    assert_eq!((disk.counts().of(CallKind::Read), disk.counts().of(CallKind::Sync)), (3, 4));
}

#[test]
fn a_failed_write_leaves_any_subset_and_a_short_one_a_prefix() {
    let (mut reached, mut short) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..400 {
        let (disk, _dir, file) = disk_with(seed, 3, 1);
        disk.fail_kind(CallKind::Write, 0, EIO);
        assert_eq!(errno(file.write_at(&[2; 3 * SECTOR], 0, Durable::Yes)), EIO);
        assert_eq!(firsts(&disk.durable_content("f").unwrap()), [1, 1, 1]);
        reached.insert(firsts(&disk.content("f").unwrap()));
        let (disk, _dir, file) = disk_with(seed, 3, 1);
        disk.shorten_write(0, EIO);
        assert_eq!(errno(file.write_at(&[2; 3 * SECTOR], 0, Durable::Yes)), EIO);
        short.insert(firsts(&disk.content("f").unwrap()));
    }
    assert_eq!(reached, subsets(3, 1, 2));
    assert_eq!(short, [[1, 1, 1], [2, 1, 1], [2, 2, 1]].map(Vec::from).into());
}

#[test]
fn a_failed_flush_forgets_and_no_later_flush_brings_it_back() {
    let mut reached = BTreeSet::new();
    for seed in 0..200 {
        let (disk, _dir, file) = disk_with(seed, 1, 1);
        file.write_at(&sector(2), 0, Durable::No).unwrap();
        disk.fail_kind(CallKind::Sync, 0, EIO);
        assert_eq!(errno(file.sync()), EIO);
        let seen = firsts(&disk.content("f").unwrap())[0];
        file.sync().unwrap();
        disk.kill();
        assert_eq!(firsts(&disk.content("f").unwrap())[0], seen, "a kill changes nothing that reads see");
        disk.power_cut();
        reached.insert((seen, firsts(&disk.content("f").unwrap())[0]));
    }
    // (seen, left): flushed all the same or by the second flush; dropped while
    // reads still saw it; dropped at once.
    assert_eq!(reached, [(2, 2), (2, 1), (1, 1)].into());
}

#[test]
fn what_a_failed_flush_dropped_is_durable_once_written_again() {
    for seed in 0..200 {
        let (disk, _dir, file) = disk_with(seed, 4, 1);
        disk.set_keep(Keep::Nothing);
        file.write_at(&[2; 4 * SECTOR], 0, Durable::No).unwrap();
        disk.fail_kind(CallKind::Sync, 0, EIO);
        assert_eq!(errno(file.sync()), EIO);
        file.write_at(&[2; 4 * SECTOR], 0, Durable::No).unwrap();
        file.sync().unwrap();
        disk.power_cut();
        assert_eq!(disk.content("f").unwrap(), [2; 4 * SECTOR]);
    }
}

#[test]
fn reads_fail_at_a_place_and_then_succeed() {
    let (disk, _dir, file) = disk_with(1, 3, 1);
    disk.fail_reads("f", 600..601, 2, EIO);
    let mut buf = sector(0);
    let mut read = |at| errno(file.read_at(&mut buf, offset(at)));
    assert_eq!([read(0), read(2), read(1), read(0), read(1), read(1)], [0, 0, EIO, 0, EIO, 0]);
}

#[test]
fn a_bad_sector_that_is_written_can_be_read() {
    let (disk, _dir, file) = disk_with(1, 4, 1);
    disk.fail_reads("f", 600..1600, u64::MAX, EIO);
    let mut buf = sector(0);
    file.write_at(&sector(2), offset(2), Durable::No).unwrap();
    let read: Vec<i32> = (0..4).map(|at| errno(file.read_at(&mut buf, offset(at)))).collect();
    assert_eq!(read, [0, EIO, 0, EIO]);
}

#[test]
fn a_write_is_lost_or_lands_elsewhere() {
    let (disk, _dir, file) = disk_with(1, 4, 1);
    disk.lose_next_write();
    file.write_at(&sector(2), 0, Durable::Yes).unwrap();
    disk.misdirect_next_write(1024);
    file.write_at(&sector(3), 0, Durable::Yes).unwrap();
    disk.misdirect_next_write(-512);
    file.write_at(&[4; 2 * SECTOR], 0, Durable::Yes).unwrap();
    assert_eq!(firsts(&disk.durable_content("f").unwrap()), [4, 1, 3, 1]);
    disk.misdirect_next_write(512);
    file.write_at(&sector(5), offset(3), Durable::Yes).unwrap();
    assert_eq!(firsts(&disk.content("f").unwrap()), [4, 1, 3, 1], "the file has no such place");
}

#[test]
fn damage_is_in_every_version() {
    let (disk, _dir, file) = disk_with(1, 2, 1);
    file.write_at(&sector(2), 0, Durable::No).unwrap();
    disk.flip_bit("f", 3, 7);
    disk.overwrite("f", 510, &[9; 4]);
    assert_eq!((disk.durable_content("f").unwrap()[3], disk.content("f").unwrap()[3]), (0x81, 0x82));
    assert_eq!(disk.content("f").unwrap()[508..516], [2, 2, 9, 9, 9, 9, 1, 1]);
    assert_eq!(disk.durable_content("f").unwrap()[508..516], [1, 1, 9, 9, 9, 9, 1, 1]);
    disk.flip_bit("f", 3, 7);
    assert_eq!(disk.content("f").unwrap()[3], 2);
    disk.set_size("f", 700);
    disk.set_size("f", 1024);
    assert_eq!(disk.content("f").unwrap()[698..702], [1, 1, 0, 0]);
    assert_eq!(disk.durable_content("f").unwrap().len(), 1024);
}

#[test]
fn files_vanish_double_and_swap() {
    let disk = SimDisk::new(1);
    disk.set_keep(Keep::Nothing);
    let dir = open(&disk);
    disk.put_file("a", b"A");
    disk.put_file("b", b"B");
    disk.copy_file("a", "c");
    disk.swap_files("a", "b");
    let file = dir.open("a", Access::Read).unwrap();
    assert_eq!(file.size().unwrap(), 1);
    disk.remove_file("b");
    disk.power_cut();
    assert_eq!(disk.names(), ["a", "c"]);
    assert_eq!((disk.content("a").unwrap(), disk.content("c").unwrap()), (b"B".to_vec(), b"A".to_vec()));
}

// ---- Readers and writers at once ----

#[test]
fn a_reader_sees_a_write_in_part_and_a_hook_may_end_the_life() {
    let mut seen = BTreeSet::new();
    for seed in 0..100 {
        let (disk, dir, file) = disk_with(seed, 3, 1);
        let reader = dir.open("f", Access::Read).unwrap();
        let views = Arc::new(Mutex::new(Vec::new()));
        let (store, writer) = (Arc::clone(&views), Arc::clone(&file));
        disk.between_units(Some(Box::new(move |name, _offset| {
            assert_eq!(name, "f");
            let mut buf = vec![0; 3 * SECTOR];
            reader.read_at(&mut buf, 0).unwrap();
            store.lock().unwrap().push(firsts(&buf));
            writer.write_at(&sector(5), offset(8), Durable::No).unwrap(); // calls no hook of its own
        })));
        file.write_at(&[2; 3 * SECTOR], 0, Durable::Yes).unwrap();
        seen.extend(std::mem::take(&mut *views.lock().unwrap()));
        assert_eq!(firsts(&disk.durable_content("f").unwrap()), [2, 2, 2]);
        for (end, late) in [(Stop::PowerCut, 0), (Stop::Kill, 1)] {
            let ender = SimDisk::clone(&disk);
            disk.between_units(Some(Box::new(move |_, _| match end {
                Stop::PowerCut => ender.power_cut(),
                Stop::Kill => ender.kill(),
            })));
            let file = open(&disk).open("f", Access::Write).unwrap();
            assert!(file.try_lock(LockByte::Writer, LockKind::Exclusive).unwrap());
            assert_eq!(errno(file.write_at(&[3; 3 * SECTOR], 0, Durable::Yes)), EIO);
            assert_eq!(disk.late_writes(), late);
            let next = open(&disk).open("f", Access::Write).unwrap();
            let free = next.try_lock(LockByte::Writer, LockKind::Exclusive).unwrap();
            assert_eq!(free, disk.late_writes() == 0);
        }
        disk.between_units(None);
    }
    let mut parts = subsets(3, 1, 2);
    parts.remove(&vec![1, 1, 1]);
    parts.remove(&vec![2, 2, 2]);
    assert_eq!(seen, parts);
}

#[test]
fn concurrent_writes_land_in_either_order_and_never_hang() {
    let mut last = BTreeSet::new();
    for seed in 0..300 {
        let (disk, _dir, file) = disk_with(seed, 8, 1);
        disk.set_concurrency(true);
        std::thread::scope(|scope| {
            for byte in [2, 3] {
                let file = &file;
                scope.spawn(move || file.write_at(&[byte; 8 * SECTOR], 0, Durable::No).unwrap());
            }
        });
        let content = firsts(&disk.content("f").unwrap());
        assert!(content.iter().all(|byte| [2, 3].contains(byte)));
        last.insert(content[0]);
    }
    assert_eq!(last, [2, 3].into());
}

// ---- The seed ----

#[test]
fn a_seed_and_its_calls_determine_the_disk() {
    let run = |seed| {
        let (disk, dir, file) = disk_with(seed, 8, 1);
        dir.create("g").unwrap();
        file.write_at(&[2; 8 * SECTOR], 0, Durable::No).unwrap();
        disk.fail_kind(CallKind::Sync, 0, EIO);
        assert_eq!(errno(file.sync()), EIO);
        file.write_at(&[3; 8 * SECTOR], 0, Durable::No).unwrap();
        disk.power_cut();
        (disk.names(), disk.content("f"), disk.trace())
    };
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
    assert!((1..20).any(|seed| run(seed).1 != run(0).1));
    let trace = run(0).2;
    assert!(trace.contains("Write f 0+4096\n") && trace.contains("Sync f = errno 5\n"), "{trace}");
}

#[test]
fn counts_tell_the_calls_apart() {
    let disk = SimDisk::new(1);
    all_steps(&disk).unwrap();
    let counts = disk.counts();
    let of = |kind| counts.of(kind);
    assert_eq!((of(CallKind::Write), counts.durable_writes, counts.bytes_written), (2, 1, 8192));
    assert_eq!((of(CallKind::Sync), of(CallKind::DirSync), of(CallKind::MakeDir), of(CallKind::OpenDir)), (1, 2, 1, 0));
}

#[test]
fn counts_tell_what_power_cuts_took() {
    let disk = SimDisk::new(1);
    let dir = open(&disk);
    let file = dir.create("f").unwrap();
    dir.sync().unwrap();
    file.write_at(&sector(1), 0, Durable::No).unwrap();
    dir.create("g").unwrap();
    disk.set_keep(Keep::Nothing);
    let fork = disk.fork(1);
    fork.power_cut();
    let took = |disk: &SimDisk| {
        let counts = disk.counts();
        [counts.names_lost, counts.sizes_lost, counts.files_torn]
    };
    assert_eq!((took(&fork), fork.content("f")), ([1, 1, 0], Some(Vec::new())));
    assert_eq!(took(&disk), [0; 3]);
    // Of two sectors one: a tear.
    let tears = |seed| {
        let (disk, _dir, file) = disk_with(seed, 2, 1);
        file.write_at(&[2; 2 * SECTOR], 0, Durable::No).unwrap();
        disk.power_cut();
        let torn = [vec![1, 2], vec![2, 1]].contains(&firsts(&disk.content("f").unwrap()));
        assert_eq!(disk.counts().files_torn, u64::from(torn), "seed {seed}");
        torn
    };
    assert!((0..20).filter(|seed| tears(*seed)).count() > 0);
}

#[test]
fn a_write_that_fails_is_passed_by_another() {
    let passed = (0..50).filter(|&seed| {
        let (disk, _dir, file) = disk_with(seed, 8, 1);
        let (other, count) = (Arc::clone(&file), Arc::new(Mutex::new(0)));
        let counted = Arc::clone(&count);
        disk.between_units(Some(Box::new(move |_, _| {
            let mut count = counted.lock().unwrap();
            if *count == 0 {
                other.write_at(&sector(3), offset(7), Durable::Yes).unwrap();
            }
            *count += 1;
        })));
        disk.fail_kind(CallKind::Write, 0, libc::ENOSPC);
        assert_eq!(errno(file.write_at(&[2; 7 * SECTOR], 0, Durable::Yes)), libc::ENOSPC);
        disk.between_units(None);
        let (content, landed) = (firsts(&disk.content("f").unwrap()), *count.lock().unwrap());
        let twos = content[..7].iter().filter(|byte| **byte == 2).count();
        assert!(
            twos <= landed + 1 && (landed == 0 || twos == landed + 1),
            "seed {seed}: {content:?}, {landed} in between"
        );
        assert_eq!(content[7] == 3, landed > 0, "seed {seed}");
        landed > 0
    });
    assert!(passed.count() > 10);
}

#[test]
#[should_panic(expected = "this goes on for ever")]
fn calls_without_end_are_ended() {
    let disk = SimDisk::new(1);
    let dir = open(&disk);
    disk.limit_calls(10);
    loop {
        dir.list().unwrap();
    }
}

#[test]
fn handles_are_counted() {
    let (disk, dir, file) = disk_with(1, 1, 1);
    assert_eq!(disk.open_handles(), 2);
    drop(file);
    assert_eq!(disk.open_handles(), 1);
    drop(dir);
    assert_eq!(disk.open_handles(), 0);
}

#[test]
fn a_new_seed_decides_whatever_was_drawn_before() {
    let cut = |before: u64| {
        let (disk, _dir, file) = disk_with(before, 8, 1);
        file.write_at(&[2; 8 * SECTOR], 0, Durable::No).unwrap();
        disk.reseed(5);
        disk.power_cut();
        disk.content("f")
    };
    assert_eq!(cut(1), cut(2));
}
