//! Identities that no two logs, files or openings share.

use super::{Code, Error, Result};

/// 16 random bytes from the kernel.
pub fn id() -> Result<[u8; 16]> {
    let mut id = [0; 16];
    getrandom::fill(&mut id)
        .map_err(|error| Error::new(Code::NoMem, format!("the kernel gives no random bytes: {error}")))?;
    Ok(id)
}
