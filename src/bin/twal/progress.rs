//! How far a long command is, on a terminal.
//!
//! Goes to standard error, and nowhere where that is no terminal, or a dumb one.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{channel, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::output::size;

/// Between two lines; the first comes after as long, so what is short shows nothing.
const EVERY: Duration = Duration::from_millis(250);
/// Characters of the bar.
const WIDTH: u64 = 24;

/// Does `work`, and shows how far it is meanwhile: `look` says how many bytes of how many.
pub fn showing<T>(look: &(dyn Fn() -> (u64, u64) + Sync), work: impl FnOnce() -> T) -> T {
    if !std::io::stderr().is_terminal() || std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
        return work();
    }
    std::thread::scope(|scope| {
        let (done, is_done) = channel::<()>();
        scope.spawn(move || {
            let begun = Instant::now();
            let mut shown = false;
            while is_done.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                let (now, all) = look();
                let _ = write!(std::io::stderr(), "\r{}\x1b[K", line(now, all, begun.elapsed()));
                shown = true;
            }
            if shown {
                let _ = write!(std::io::stderr(), "\r\x1b[K");
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// A bar, and how long it will take if it goes on like this.
fn line(now: u64, all: u64, elapsed: Duration) -> String {
    let share =
        |of: u64| u64::try_from(u128::from(of) * u128::from(now.min(all)) / u128::from(all.max(1))).unwrap_or(of);
    let filled = share(WIDTH);
    let bar: String = (0..WIDTH).map(|at| if at < filled { '#' } else { '.' }).collect();
    let millis = elapsed.as_millis().max(1);
    let per_second = u64::try_from(u128::from(now) * 1000 / millis).unwrap_or(u64::MAX);
    let left = all.saturating_sub(now).checked_div(per_second);
    let eta = left.map_or("?".into(), |left| format!("{}:{:02}", left / 60, left % 60));
    format!("{bar} {:>3}%  {} of {}  {}/s  ETA {eta}", share(100), size(now), size(all), size(per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_and_how_long() {
        let half = line(1 << 30, 2 << 30, Duration::from_secs(2));
        assert_eq!(half, "############............  50%  1.0 GiB of 2.0 GiB  512.0 MiB/s  ETA 0:02");
        let none = line(0, 2 << 30, Duration::from_secs(1));
        assert_eq!(none, "........................   0%  0 B of 2.0 GiB  0 B/s  ETA ?");
        assert!(line(5, 0, Duration::ZERO).contains("  0%"), "of nothing");
    }
}
