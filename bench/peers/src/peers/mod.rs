//! The peers.

mod naive;
#[cfg(feature = "nodedb")]
mod nodedb_wal;
mod okaywal;
mod raft_engine;
mod rocksdb;
mod sqlite;

use crate::args::Spec;
use crate::workload::{self, Failure, Log, Outcome};

/// One peer, in one configuration.
pub struct Peer {
    pub name: &'static str,
    /// Its version, or why it cannot run here.
    pub version: fn() -> Result<String, String>,
    pub configuration: &'static str,
    pub run: fn(&Spec) -> Result<Option<Outcome>, Failure>,
}

const fn peer<L: Log>(name: &'static str, version: fn() -> Result<String, String>) -> Peer {
    Peer { name, version, configuration: L::CONFIGURATION, run: workload::run::<L> }
}

pub const ALL: &[Peer] = &[
    peer::<naive::Naive>("naive", || Ok(env!("CARGO_PKG_VERSION").into())),
    peer::<okaywal::OkayWal>("okaywal", || locked("okaywal")),
    peer::<raft_engine::RaftEngine>("raft-engine", || locked("raft-engine")),
    #[cfg(feature = "nodedb")]
    peer::<nodedb_wal::NodedbWal<false>>("nodedb-wal", || locked("nodedb-wal")),
    #[cfg(feature = "nodedb")]
    peer::<nodedb_wal::NodedbWal<true>>("nodedb-wal-dw", || locked("nodedb-wal")),
    #[cfg(not(feature = "nodedb"))]
    left_out("nodedb-wal"),
    #[cfg(not(feature = "nodedb"))]
    left_out("nodedb-wal-dw"),
    peer::<sqlite::Sqlite>("sqlite", sqlite::version),
    peer::<rocksdb::RocksDb>("rocksdb", rocksdb::version),
];

#[cfg(not(feature = "nodedb"))]
const fn left_out(name: &'static str) -> Peer {
    const REASON: &str = "not built in: make bench-peers, or cargo build --features nodedb --ignore-rust-version";
    Peer { name, version: || Err(REASON.into()), configuration: "", run: |_| Err(REASON.into()) }
}

/// The version of a crate that this was built with.
fn locked(name: &str) -> Result<String, String> {
    const LOCK: &str = include_str!("../../Cargo.lock");
    let package = LOCK.split("[[package]]").find(|package| field(package, "name") == Some(name));
    let version = package.and_then(|package| field(package, "version"));
    version.map(str::to_owned).ok_or(format!("Cargo.lock does not name {name}"))
}

fn field<'a>(package: &'a str, name: &str) -> Option<&'a str> {
    package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"'))
}
