//! Improved precision and recall: whether features lie in the region that features of real data cover.

use candle_core::Tensor;
use rayon::prelude::*;

use crate::{Error, Result, rows::Features};

/// The number of rows in one tile: one number of each row fills the vector registers of the inner loop.
const LANES: usize = 16;
/// The number of rows that are compared with a tile while it is in the cache.
const BATCH_ROWS: usize = 64;

/// The region that a sample of real data covers: for every row a ball whose radius is the distance to its k-th
/// nearest other row (Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models",
/// 2019, arXiv 1904.06991, equations 1 and 2).
///
/// The share of generated rows that lie in the region of real rows is the improved precision; the share of real
/// rows that lie in the region of generated rows is the improved recall.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use lerp_eval::Neighbourhoods;
///
/// // Points of a line; their nearest neighbours are at the distances 1, 1 and 2.
/// let real = Tensor::new(&[[0_f32], [1.0], [3.0]], &Device::Cpu)?;
/// let generated = Tensor::new(&[[-0.5_f32], [4.5], [6.0]], &Device::Cpu)?;
/// let inside = Neighbourhoods::of(&real, 1)?.contains(&generated)?;
/// assert_eq!(inside, [true, true, false]); // a precision of 2/3
/// # Ok::<(), lerp_eval::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Neighbourhoods {
    tiles: Tiles,
    /// The squared radius of each ball; -1 for unused rows of the last tile, so that nothing lies within them.
    squares: Vec<[f64; LANES]>,
}

impl Neighbourhoods {
    /// Computes the balls of `real`, each with the distance to the `k`-th nearest other row as radius; equal rows
    /// are at distance 0. The paper's `k` is 3.
    ///
    /// # Shapes
    /// `[rows, width]`, of any floating type, on any device.
    ///
    /// # Errors
    /// If `real` is not such a matrix, holds NaN or infinity, or does not have `k` other rows, or if `k` is 0.
    pub fn of(real: &Tensor, k: usize) -> Result<Self> {
        let real = Features::new("real features", real, 2)?;
        let rows = real.len();
        if k == 0 || k >= rows {
            let wanted = "at least 1 and less than that of rows";
            return Err(Error::Range { what: "the number of neighbours", wanted, given: k as f64 });
        }
        let tiles = Tiles::new(&real);
        let mut squares: Vec<f64> = real
            .values
            .par_chunks(BATCH_ROWS * real.width)
            .enumerate()
            .flat_map_iter(|(chunk, values)| {
                let mut of_rows = vec![Vec::with_capacity(rows + LANES); values.len() / real.width];
                for tile in tiles.iter() {
                    for (distances, row) in of_rows.iter_mut().zip(values.chunks(real.width)) {
                        distances.extend(squared_distances(tile, row));
                    }
                }
                of_rows.into_iter().enumerate().map(move |(row, mut distances)| {
                    distances.truncate(rows);
                    distances.swap_remove(chunk * BATCH_ROWS + row);
                    *distances.select_nth_unstable_by(k - 1, f64::total_cmp).1
                })
            })
            .collect();
        squares.resize(rows.next_multiple_of(LANES), -1.0);
        Ok(Self { tiles, squares: squares.as_chunks().0.to_vec() })
    }

    /// Returns, for each row of `x`, whether it lies within the ball of at least one real row, or on its surface.
    /// The result does not depend on the number of threads. For 4608 rows and 4096 real ones of 64 numbers,
    /// computing the balls and this took 0.4 s on two cores.
    ///
    /// # Shapes
    /// `[rows, width]` with the width of the real rows; the result has `rows` entries.
    ///
    /// # Errors
    /// If `x` is not such a matrix, has no row, or holds NaN or infinity.
    pub fn contains(&self, x: &Tensor) -> Result<Vec<bool>> {
        const WHAT: &str = "features";
        let x = Features::new(WHAT, x, 1)?;
        x.check_width(WHAT, self.tiles.width)?;
        let inside = |values: &[f64]| {
            let mut inside = vec![false; values.len() / x.width];
            for (tile, squares) in self.tiles.iter().zip(&self.squares) {
                for (found, row) in
                    inside.iter_mut().zip(values.chunks(x.width)).filter(|(found, _)| !**found)
                {
                    let distances = squared_distances(tile, row);
                    *found = distances.iter().zip(squares).any(|(distance, square)| distance <= square);
                }
            }
            inside
        };
        Ok(x.values.par_chunks(BATCH_ROWS * x.width).flat_map_iter(inside).collect())
    }
}

/// Rows in tiles of `LANES`, transposed.
#[derive(Debug, Clone)]
struct Tiles {
    /// The tiles one after the other. Each has `width` elements; element `i` holds the `i`-th number of each row of
    /// the tile.
    numbers: Vec<[f64; LANES]>,
    width: usize,
}

impl Tiles {
    /// Arranges rows in tiles; the last tile is padded with zeros.
    fn new(rows: &Features) -> Self {
        let width = rows.width;
        let mut numbers = vec![[0.0; LANES]; rows.len().div_ceil(LANES) * width];
        for (row, values) in rows.values.chunks(width).enumerate() {
            let tile = row / LANES * width;
            for (numbers, value) in numbers[tile..tile + width].iter_mut().zip(values) {
                numbers[row % LANES] = *value;
            }
        }
        Self { numbers, width }
    }

    fn iter(&self) -> std::slice::ChunksExact<'_, [f64; LANES]> {
        self.numbers.chunks_exact(self.width)
    }
}

/// Returns the squared distance of `row` to each row of a tile. It is computed from differences, not from products,
/// so that equal rows are exactly 0 apart and the distance is exactly symmetric.
fn squared_distances(tile: &[[f64; LANES]], row: &[f64]) -> [f64; LANES] {
    let mut sums = [0.0; LANES];
    for (numbers, value) in tile.iter().zip(row) {
        for (sum, number) in sums.iter_mut().zip(numbers) {
            *sum += (number - value).powi(2);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use lerp_core::Draws;

    use super::*;

    fn tensor(values: Vec<f64>, width: usize) -> Tensor {
        let rows = values.len() / width;
        Tensor::from_vec(values, (rows, width), &Device::Cpu).unwrap()
    }

    #[test]
    fn precision_equals_that_of_published_code() {
        // x = np.sin(np.arange(1200.)**2).reshape(300, 4)
        // k = np.arange(400.); y = 1.2 * np.cos(k**2 + k).reshape(100, 4)
        // prdc.compute_prdc(x, y, nearest_k=3)   # 0.2; its k excludes the row itself, as the paper's
        // The indices, with d = prdc.prdc.compute_pairwise_distance:
        // r = prdc.prdc.compute_nearest_neighbour_distances(x, 1); np.flatnonzero((d(x, y) < r[:, None]).any(0))
        let x = tensor((0..1200).map(f64::from).map(|k| (k * k).sin()).collect(), 4);
        let y = tensor((0..400).map(f64::from).map(|k| 1.2 * (k * k + k).cos()).collect(), 4);
        let indices = |of: &Tensor, x: &Tensor, k| -> Vec<usize> {
            let inside = Neighbourhoods::of(of, k).unwrap().contains(x).unwrap();
            (0..inside.len()).filter(|i| inside[*i]).collect()
        };
        let first =
            [3, 13, 17, 20, 25, 27, 39, 42, 43, 45, 48, 59, 61, 63, 67, 68, 69, 70, 74, 75, 84, 87, 90, 98];
        assert_eq!(indices(&x, &y, 1), first);
        assert_eq!([3, 5].map(|k| indices(&x, &y, k).len()), [70, 92]);
        // The improved recall is 0.71 and 0.9867 of 300 rows.
        assert_eq!([1, 3].map(|k| indices(&y, &x, k).len()), [213, 296]);
    }

    #[test]
    fn points_on_the_surface_are_inside_a_ball() {
        // On a line: the distances to the nearest other point are 1, 1, 2 and 4, to the second nearest 3, 2, 3 and
        // 6.
        let real = tensor(vec![0.0, 1.0, 3.0, 7.0], 1);
        let x = tensor(vec![-3.5, -3.0, -1.0, 1.9, 5.5, 11.0, 11.5, 13.0, 13.1], 1);
        let inside = |k| Neighbourhoods::of(&real, k).unwrap().contains(&x).unwrap();
        assert_eq!(inside(1), [false, false, true, true, true, true, false, false, false]);
        assert_eq!(inside(2), [false, true, true, true, true, true, true, true, false]);
        // Balls of equal rows have radius 0, and contain only rows equal to them.
        let equal = Neighbourhoods::of(&tensor(vec![0.1, 0.7, 0.1, 0.7, 0.1, 0.7], 2), 2).unwrap();
        assert_eq!(equal.contains(&tensor(vec![0.1, 0.7, 0.0, 0.0], 2)).unwrap(), [true, false]);
    }

    #[test]
    fn every_row_lies_in_the_ball_of_its_kth_neighbour() {
        // The number of rows is a multiple neither of `LANES` nor of `BATCH_ROWS`.
        let real = Draws::new(5, &Device::Cpu).normal("real", (333, 7)).unwrap();
        let balls = Neighbourhoods::of(&real, 332).unwrap();
        assert!(balls.contains(&real).unwrap().into_iter().all(|inside| inside));
        let far = (real + 100.0).unwrap();
        assert!(!balls.contains(&far).unwrap().into_iter().any(|inside| inside));
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let draws = Draws::new(6, &Device::Cpu);
        let (real, x) = (draws.normal("real", (700, 6)).unwrap(), draws.normal("x", (500, 6)).unwrap());
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let balls = Neighbourhoods::of(&real, 3).unwrap();
                (balls.contains(&x).unwrap(), balls.squares)
            })
        };
        let one = run(1);
        assert!(one.0.contains(&true) && one.0.contains(&false));
        assert_eq!(one, run(2));
        assert_eq!(one, run(3));
    }

    #[test]
    fn wrong_arguments_are_refused() {
        let real = tensor(vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 2);
        for k in [0, 3] {
            let message = Neighbourhoods::of(&real, k).unwrap_err().to_string();
            assert!(message.contains("number of neighbours must be at least 1"), "{message}");
        }
        assert!(Neighbourhoods::of(&real.narrow(0, 0, 1).unwrap(), 1).is_err());
        let balls = Neighbourhoods::of(&real, 2).unwrap();
        let fails = |x: &Tensor| balls.contains(x).unwrap_err().to_string();
        assert!(fails(&tensor(vec![0.0; 3], 3)).contains("[rows, 2], as wide as"));
        assert!(
            fails(&tensor(vec![0.0; 4], 4).flatten_all().unwrap()).contains("features must be [rows, width]")
        );
        assert!(fails(&tensor(vec![0.0, 1.0, 0.0, f64::INFINITY], 2)).contains("row 1 holds NaN"));
    }
}
