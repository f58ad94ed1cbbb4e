//! Stateless shuffling.

use lerp_core::Draws;

/// Number of rounds of the Feistel network; four would do where there is no attacker.
const ROUNDS: usize = 8;

/// A pseudo-random permutation of `0..n` whose values are computed one at a time.
///
/// A balanced Feistel network is a permutation of the numbers with an even number of bits, whatever its round
/// function. Applying it until the result is below `n` (at most four times on average) makes it a permutation
/// of `0..n` (Black & Rogaway, "Ciphers with arbitrary finite domains", 2002). The keys of the rounds are
/// drawn.
#[derive(Debug, Clone)]
pub struct Permutation {
    n: u64,
    half: u32,
    keys: Vec<u32>,
}

impl Permutation {
    /// The permutation of `0..n` that `draws` determine, at their step and in their scope.
    pub fn new(n: u64, draws: &Draws) -> Self {
        let bits = u64::BITS - n.saturating_sub(1).leading_zeros();
        Self { n, half: bits.div_ceil(2).clamp(1, 31), keys: draws.words("shuffle", ROUNDS) }
    }

    /// The value of the permutation at `position`.
    ///
    /// # Panics
    /// Panics if `position` is not below `n`.
    pub fn of(&self, position: u64) -> u64 {
        assert!(position < self.n, "position {position} of {}", self.n);
        let mask = (1_u64 << self.half) - 1;
        let mut value = position;
        loop {
            let (mut left, mut right) = (value >> self.half, value & mask);
            for &key in &self.keys {
                (left, right) = (right, left ^ (u64::from(mix(right as u32 ^ key)) & mask));
            }
            value = left << self.half | right;
            if value < self.n {
                return value;
            }
        }
    }
}

/// The finaliser of `MurmurHash3`: every bit of the result depends on every bit of `x`.
fn mix(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
    x = (x ^ (x >> 13)).wrapping_mul(0xc2b2_ae35);
    x ^ (x >> 16)
}

/// The indices of the samples in training batch `draws.step()`: consecutive positions in an endless sequence of
/// epochs, each of which holds every one of `n` samples once, in its own order.
///
/// It is a pure function of the seed, scope and step of `draws` and of `size` and `n`, so a run resumes at any
/// step.
///
/// ```
/// use candle_core::Device;
/// use lerp_core::Draws;
/// use lerp_data::epoch_order;
///
/// let draws = Draws::new(1, &Device::Cpu).scope("train");
/// // Three batches of four are one epoch of twelve samples.
/// let mut epoch: Vec<usize> = (0..3).flat_map(|step| epoch_order(12, 4, &draws.at(step))).collect();
/// epoch.sort_unstable();
/// assert_eq!(epoch, (0..12).collect::<Vec<_>>());
/// // A resumed run gets the same batch.
/// assert_eq!(epoch_order(12, 4, &draws.at(2)), epoch_order(12, 4, &draws.at(2)));
/// ```
pub fn epoch_order(n: usize, size: usize, draws: &Draws) -> Vec<usize> {
    if n == 0 {
        return Vec::new();
    }
    let (n, first) = (n as u64, u128::from(draws.step()) * size as u128);
    let mut current: Option<(u64, Permutation)> = None;
    let mut order = Vec::with_capacity(size);
    for position in (0..size as u128).map(|i| first + i) {
        let epoch = (position / u128::from(n)) as u64;
        let permutation = match current.take() {
            Some((of, permutation)) if of == epoch => permutation,
            _ => Permutation::new(n, &draws.at(epoch)),
        };
        order.push(permutation.of((position % u128::from(n)) as u64) as usize);
        current = Some((epoch, permutation));
    }
    order
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use candle_core::Device;

    use super::*;

    fn draws(seed: u64) -> Draws {
        Draws::new(seed, &Device::Cpu).scope("data")
    }

    fn all(n: u64, draws: &Draws) -> Vec<u64> {
        let permutation = Permutation::new(n, draws);
        (0..n).map(|position| permutation.of(position)).collect()
    }

    #[test]
    fn it_is_a_permutation_of_any_size() {
        for n in (1..70).chain([255, 256, 257, 1000, 5000, 60_000]) {
            let values: BTreeSet<u64> = all(n, &draws(n)).into_iter().collect();
            assert_eq!(values.len() as u64, n);
            assert_eq!(values.last(), Some(&(n - 1)));
        }
    }

    #[test]
    fn it_differs_by_epoch_and_seed() {
        let base = all(1000, &draws(1));
        assert_eq!(base, all(1000, &draws(1)));
        for other in [all(1000, &draws(1).at(1)), all(1000, &draws(2)), all(1000, &draws(1).scope("x"))] {
            let fixed = base.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!(fixed < 10, "{fixed} of 1000 positions agree");
        }
        assert_ne!(base, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn places_are_spread_evenly() {
        // The value at 0 over 4000 epochs, in 10 bins of 400 expected: within five standard deviations (19).
        let mut bins = [0_i32; 10];
        for epoch in 0..4000 {
            bins[(Permutation::new(1000, &draws(3).at(epoch)).of(0) / 100) as usize] += 1;
        }
        assert!(bins.iter().all(|count| (count - 400).abs() < 95), "{bins:?}");
        // Neighbours are not kept together.
        let order = all(60_000, &draws(4));
        let near = order.windows(2).filter(|w| w[0].abs_diff(w[1]) < 600).count();
        assert!((900..1500).contains(&near), "{near} of 60000 neighbours within 1 %: 1200 expected");
    }

    #[test]
    fn an_epoch_holds_every_sample_once_and_resumes_anywhere() {
        let (n, size) = (50, 7);
        let steps: Vec<Vec<usize>> = (0..50).map(|step| epoch_order(n, size, &draws(9).at(step))).collect();
        let row: Vec<usize> = steps.concat();
        for epoch in row.chunks_exact(n) {
            assert_eq!(epoch.iter().copied().collect::<BTreeSet<_>>().len(), n);
        }
        assert_ne!(row[..50], row[50..100]);
        // Step 23 alone, as after a resume, and steps that no run reaches.
        assert_eq!(epoch_order(n, size, &draws(9).at(23)), steps[23]);
        assert_eq!(epoch_order(n, size, &draws(9).at(u64::MAX)).len(), size);
        assert_eq!(epoch_order(3, 10, &draws(9)).len(), 10, "a batch of several epochs");
        assert!(epoch_order(0, 10, &draws(9)).is_empty());
    }
}
