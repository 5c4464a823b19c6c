//! Goal: the transaction manager over a real log on the simulated disk: whatever a crash leaves, every decision that was
//! acknowledged is there, nothing is done twice, and what is needed is not released.
//! Method: fixed lives for each rule; random lives from a seed, crashed anywhere and judged by a model.
//! TWAL_SEED=n plays one seed.
#![forbid(unsafe_code)]

mod live;
mod machine;

use twal::txn::event::Name;

/// A shard, node or coordinator.
fn name(number: u8) -> Name {
    [number; 32]
}
