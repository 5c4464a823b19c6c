//! Names of files of the v2.6 layout: `wal_segment_NNN.wal`, three digits or more.

const FRONT: &str = "wal_segment_";
const END: &str = ".wal";
/// Behind the name of a file that is being written.
const UNFINISHED: &str = ".tmp";

/// What a name in a directory stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// The file with this number.
    File(u64),
    /// One that a writer has not finished.
    Unfinished,
    /// It looks like one and is none: something was renamed.
    Odd,
    /// Another's.
    Foreign,
}

impl Named {
    /// Reads a name.
    pub fn parse(name: &str) -> Named {
        let Some(rest) = name.strip_prefix(FRONT) else { return Named::Foreign };
        if name.ends_with(UNFINISHED) {
            return Named::Unfinished;
        }
        let Some(digits) = rest.strip_suffix(END) else { return Named::Foreign };
        let good = digits.len() >= 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
        good.then(|| digits.parse().ok()).flatten().map_or(Named::Odd, Named::File)
    }
}

/// The name of the file with this number.
pub fn file_name(number: u64) -> String {
    format!("{FRONT}{number:03}{END}")
}

/// Its name while it is written.
pub fn unfinished_name(number: u64) -> String {
    file_name(number) + UNFINISHED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_or_more_and_nothing_else() {
        for number in [0, 1, 42, 999, 1000, u64::MAX] {
            assert_eq!(Named::parse(&file_name(number)), Named::File(number));
            assert_eq!(Named::parse(&unfinished_name(number)), Named::Unfinished);
        }
        assert_eq!(Named::parse("wal_segment_0007.wal"), Named::File(7));
        for odd in ["1", "12", "", "+12", "-12", "1 2", "0x1", "99999999999999999999"] {
            assert_eq!(Named::parse(&format!("wal_segment_{odd}.wal")), Named::Odd, "{odd}");
        }
        for foreign in ["wal_segment_001.wal.bak", "wal_segment_001", "xwal_segment_001.wal", "twal-spare-1", ""] {
            assert_eq!(Named::parse(foreign), Named::Foreign, "{foreign}");
        }
    }
}
