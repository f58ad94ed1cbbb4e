//! Whether features lie where features of real data lie: improved precision and recall.

use candle_core::Tensor;
use rayon::prelude::*;

use crate::{Error, Result, rows::Features};

/// Rows of one tile: one number of each fills the vector registers of the inner loop.
const LANES: usize = 16;
/// Rows that are compared to a tile while it is at hand.
const TOGETHER: usize = 64;

/// The region that a sample of real data covers: for every row a ball that reaches to its k-th nearest other row (Kynkäänniemi et
/// al., "Improved Precision and Recall Metric for Assessing Generative Models", 2019, arXiv 1904.06991, equations 1 and 2).
///
/// The share of made rows that lie in the region of real rows is the improved precision; the share of real rows that lie in
/// the region of made rows is the improved recall.
#[derive(Debug, Clone)]
pub struct Neighbourhoods {
    tiles: Tiles,
    /// The square of each ball's radius; of a place in the last tile that no row fills, -1, which nothing is near to.
    squares: Vec<[f64; LANES]>,
}

impl Neighbourhoods {
    /// The balls of `real`, each as large as the distance to the `k`-th nearest other row; equal rows are at distance 0. The
    /// paper takes a `k` of 3.
    ///
    /// # Shapes
    /// `[rows, width]`, of any floating type, on any device.
    ///
    /// # Errors
    /// If it is no such matrix, holds NaN or infinity, or has no `k` other rows, or `k` is 0.
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
            .par_chunks(TOGETHER * real.width)
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
                    distances.swap_remove(chunk * TOGETHER + row);
                    *distances.select_nth_unstable_by(k - 1, f64::total_cmp).1
                })
            })
            .collect();
        squares.resize(rows.next_multiple_of(LANES), -1.0);
        Ok(Self { tiles, squares: squares.as_chunks().0.to_vec() })
    }

    /// Whether each row of `x` lies within the ball of at least one real row, or on its surface; the same for any number of
    /// threads. For 4608 rows and 4096 real ones of 64 numbers, making the balls and this took 0.4 s on two cores.
    ///
    /// # Shapes
    /// `[rows, width]` with the width of the real ones; one answer a row.
    ///
    /// # Errors
    /// If it is no such matrix, has no row, or holds NaN or infinity.
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
        Ok(x.values.par_chunks(TOGETHER * x.width).flat_map_iter(inside).collect())
    }
}

/// Rows in tiles of as many as there are lanes.
#[derive(Debug, Clone)]
struct Tiles {
    /// Tile after tile; each has `width` elements, of which one holds the numbers that the tile's rows have in one place.
    numbers: Vec<[f64; LANES]>,
    width: usize,
}

impl Tiles {
    /// The last tile is filled up with zeros.
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

/// The squared distance of `row` to each row of a tile: of differences, not of products, so that equal rows are exactly 0 apart and
/// a distance is the same from either end.
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
    fn precision_is_that_of_published_code() {
        // x = np.sin(np.arange(1200.)**2).reshape(300, 4)
        // k = np.arange(400.); y = 1.2 * np.cos(k**2 + k).reshape(100, 4)
        // prdc.compute_prdc(x, y, nearest_k=3)   # 0.2; it counts the row itself apart, so its k is that of the paper
        // and for the places, with d = prdc.prdc.compute_pairwise_distance:
        // r = prdc.prdc.compute_nearest_neighbour_distances(x, 1); np.flatnonzero((d(x, y) < r[:, None]).any(0))
        let x = tensor((0..1200).map(f64::from).map(|k| (k * k).sin()).collect(), 4);
        let y = tensor((0..400).map(f64::from).map(|k| 1.2 * (k * k + k).cos()).collect(), 4);
        let places = |of: &Tensor, x: &Tensor, k| -> Vec<usize> {
            let inside = Neighbourhoods::of(of, k).unwrap().contains(x).unwrap();
            (0..inside.len()).filter(|i| inside[*i]).collect()
        };
        let first =
            [3, 13, 17, 20, 25, 27, 39, 42, 43, 45, 48, 59, 61, 63, 67, 68, 69, 70, 74, 75, 84, 87, 90, 98];
        assert_eq!(places(&x, &y, 1), first);
        assert_eq!([3, 5].map(|k| places(&x, &y, k).len()), [70, 92]);
        // Recall: 0.71 and 0.9867 of 300.
        assert_eq!([1, 3].map(|k| places(&y, &x, k).len()), [213, 296]);
    }

    #[test]
    fn surfaces_belong_to_balls() {
        // On a line: the radii of the nearest other are 1, 1, 2 and 4, of the second nearest 3, 2, 3 and 6.
        let real = tensor(vec![0.0, 1.0, 3.0, 7.0], 1);
        let x = tensor(vec![-3.5, -3.0, -1.0, 1.9, 5.5, 11.0, 11.5, 13.0, 13.1], 1);
        let inside = |k| Neighbourhoods::of(&real, k).unwrap().contains(&x).unwrap();
        assert_eq!(inside(1), [false, false, true, true, true, true, false, false, false]);
        assert_eq!(inside(2), [false, true, true, true, true, true, true, true, false]);
        // Balls of equal rows have no radius, and hold what is equal to them.
        let equal = Neighbourhoods::of(&tensor(vec![0.1, 0.7, 0.1, 0.7, 0.1, 0.7], 2), 2).unwrap();
        assert_eq!(equal.contains(&tensor(vec![0.1, 0.7, 0.0, 0.0], 2)).unwrap(), [true, false]);
    }

    #[test]
    fn every_row_lies_in_the_ball_of_its_kth_neighbour() {
        // Not a multiple of the rows of a tile, nor of those compared at once.
        let real = Draws::new(5, &Device::Cpu).normal("real", (333, 7)).unwrap();
        let balls = Neighbourhoods::of(&real, 332).unwrap();
        assert!(balls.contains(&real).unwrap().into_iter().all(|inside| inside));
        let far = (real + 100.0).unwrap();
        assert!(!balls.contains(&far).unwrap().into_iter().any(|inside| inside));
    }

    #[test]
    fn threads_do_not_matter() {
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
