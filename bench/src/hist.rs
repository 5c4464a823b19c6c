//! A histogram of times: 128 steps to a power of two, so a value read back is
//! at most 0.8 % above the one put in.  Fixed size; adding allocates nothing.

const STEP_BITS: u32 = 7;
const STEPS: usize = 1 << STEP_BITS;
const SLOTS: usize = (64 - STEP_BITS as usize + 1) * STEPS;

/// Counts of nanosecond values.
#[derive(Clone)]
pub struct Histogram {
    slots: Vec<u64>,
    count: u64,
    max_ns: u64,
}

fn slot_of(value: u64) -> usize {
    if value < STEPS as u64 {
        return value as usize;
    }
    let shift = 63 - value.leading_zeros() - STEP_BITS;
    let step = (value >> shift) as usize; // STEPS ≤ step < 2 × STEPS
    shift as usize * STEPS + step
}

/// The largest value that falls into `slot`.
fn slot_top(slot: usize) -> u64 {
    if slot < 2 * STEPS {
        return slot as u64;
    }
    let shift = slot / STEPS - 1;
    let step = (slot - shift * STEPS) as u128;
    u64::try_from(((step + 1) << shift) - 1).unwrap_or(u64::MAX)
}

impl Histogram {
    /// An empty one.
    pub fn new() -> Self {
        Histogram { slots: vec![0; SLOTS], count: 0, max_ns: 0 }
    }

    /// Counts one value.
    pub fn add(&mut self, ns: u64) {
        self.slots[slot_of(ns)] += 1;
        self.count += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    /// Counts everything that `other` counted.
    pub fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.slots.iter_mut().zip(&other.slots) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The largest, exactly.
    pub fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The value that `share` (0…1) of all values do not exceed; 0 if there are none.
    pub fn quantile_ns(&self, share: f64) -> u64 {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (slot, count) in self.slots.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return slot_top(slot).min(self.max_ns);
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_the_slot_that_covers_it() {
        let mut values: Vec<u64> = (0..5000).collect();
        for bit in 8..64 {
            values.extend([(1 << bit) - 1, 1 << bit, (1 << bit) + 1, (1 << bit) + (1 << (bit - 1))]);
        }
        values.push(u64::MAX);
        for value in values {
            let slot = slot_of(value);
            assert!(slot < SLOTS, "{value}");
            let top = slot_top(slot);
            assert!(top >= value && top - value <= value / STEPS as u64, "{value} {top}");
            assert!(slot == 0 || slot_top(slot - 1) < value, "{value}");
        }
    }

    #[test]
    fn quantiles_of_a_known_set() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile_ns(0.5), 0);
        (1..=100).for_each(|value| histogram.add(value));
        assert_eq!(histogram.quantile_ns(0.5), 50);
        assert_eq!(histogram.quantile_ns(0.99), 99);
        assert_eq!(histogram.quantile_ns(1.0), 100);
        let mut both = histogram.clone();
        both.merge(&histogram);
        assert_eq!((both.count(), both.max_ns(), both.quantile_ns(0.5)), (200, 100, 50));
    }
}
