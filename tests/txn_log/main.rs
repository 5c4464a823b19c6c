//! Goal: the transaction manager over a real log on the simulated disk: whatever a crash leaves, every decision that was
//! acknowledged is there, nothing is done twice, and what is needed is not released.
//! Method: fixed lives for each rule; random lives from a seed, crashed anywhere and judged by a model.
//! TWAL_SEED=n plays one seed, TWAL_TXN_SEEDS=n sets how many.
#![forbid(unsafe_code)]
#![allow(clippy::cast_possible_truncation)]

mod compaction;
mod compaction_failures;
mod crashes;
mod edges;
mod export;
mod failures;
mod holes;
mod import;
mod import_beside;
mod import_ends;
mod inspect;
mod limit;
mod live;
mod machine;
mod resumes;
mod room;
mod shards;
mod tables;
#[path = "../txn/words.rs"]
mod words;

use words::{name, saga, transaction};
