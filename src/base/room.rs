//! Collections with all the room that they will ever need, or an error where
//! `with_capacity` would end the host's process.

use std::collections::VecDeque;

use super::{Code, Error, Result};

fn no_memory(count: usize) -> Error {
    Error::new(Code::NoMem, format!("no memory for {count} entries of a table"))
}

/// An empty vector with room for `count`.
pub fn vec<T>(count: usize) -> Result<Vec<T>> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(count).map_err(|_| no_memory(count))?;
    Ok(vec)
}

/// An empty queue with room for `count`.
pub fn deque<T>(count: usize) -> Result<VecDeque<T>> {
    let mut deque = VecDeque::new();
    deque.try_reserve_exact(count).map_err(|_| no_memory(count))?;
    Ok(deque)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_room_is_an_error() {
        assert!(vec::<u64>(10).unwrap().capacity() >= 10);
        assert!(deque::<u64>(10).unwrap().capacity() >= 10);
        assert_eq!(vec::<u64>(usize::MAX / 16).unwrap_err().code, Code::NoMem);
        assert_eq!(deque::<u64>(usize::MAX / 16).unwrap_err().code, Code::NoMem);
    }
}
