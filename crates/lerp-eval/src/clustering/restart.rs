//! One restart of k-means.

use crate::rows::Rows;

/// The sentinel for a point that has no cluster yet.
const NONE: u32 = u32::MAX;

/// The stopping criteria of a restart.
pub(super) struct Settings {
    pub(super) max_iterations: usize,
    /// The sum of squared movements of the centres at or below which a restart has converged.
    pub(super) stop_below: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Running,
    /// The centres are final, and the points are assigned once more.
    Last,
    Ended,
}

/// One restart: its centres, and the points' clusters.
#[derive(Debug, Clone)]
pub(super) struct Restart {
    pub(super) number: usize,
    pub(super) state: State,
    pub(super) iterations: usize,
    /// The centres, `[clusters, width]`.
    pub(super) centres: Vec<f32>,
    /// Half the squared norm of each centre.
    pub(super) half_squares: Vec<f32>,
    pub(super) assigned: Vec<u32>,
    /// The sum of squared distances; infinite until the restart has ended.
    pub(super) inertia: f64,
    /// The number of points that changed their cluster in this iteration.
    changed: usize,
    /// The sum of each cluster's points, `[clusters, width]`, updated for each point that changes its cluster, in
    /// `f64` so that rounding errors do not accumulate.
    sums: Vec<f64>,
    counts: Vec<usize>,
    width: usize,
}

impl Restart {
    /// Creates a restart whose first centres are the points with indices `first`.
    pub(super) fn new(number: usize, points: &Rows, first: &[usize]) -> Self {
        let width = points.width();
        let mut restart = Self {
            number,
            state: State::Running,
            iterations: 0,
            centres: Vec::new(),
            half_squares: Vec::new(),
            assigned: vec![NONE; points.len()],
            inertia: f64::INFINITY,
            changed: 0,
            sums: vec![0.0; first.len() * width],
            counts: vec![0; first.len()],
            width,
        };
        restart.set_centres(first.iter().flat_map(|i| point(points, *i).iter().copied()).collect());
        restart
    }

    pub(super) fn set_centres(&mut self, centres: Vec<f32>) {
        let half_square = |c: &[f32]| (c.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / 2.0) as f32;
        self.half_squares = centres.chunks_exact(self.width).map(half_square).collect();
        self.centres = centres;
    }

    /// Assigns the points from index `start` on, given their products with all centres, `[clusters, points]`.
    pub(super) fn assign_block(&mut self, points: &Rows, start: usize, products: &[f32]) {
        for (i, cluster) in (start..).zip(nearest(&self.half_squares, products)) {
            if self.assigned[i] != cluster {
                self.changed += 1;
                self.assign(points, i, cluster);
            }
        }
    }

    /// Moves the centres to the means of their points, or ends the restart.
    pub(super) fn move_centres(&mut self, points: &Rows, settings: &Settings) {
        let changed = std::mem::take(&mut self.changed);
        if self.state == State::Last || changed == 0 {
            self.state = State::Ended;
            self.inertia = self.sum_of_squares(points);
            return;
        }
        self.fill_empty(points);
        let width = self.width;
        let of_cluster = |(sums, count): (&[f64], &usize)| -> Vec<f32> {
            sums.iter().map(|sum| (sum / *count as f64) as f32).collect()
        };
        let centres: Vec<f32> =
            self.sums.chunks_exact(width).zip(&self.counts).flat_map(of_cluster).collect();
        let moved: f64 =
            centres.iter().zip(&self.centres).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
        self.set_centres(centres);
        self.iterations += 1;
        if moved <= settings.stop_below || self.iterations >= settings.max_iterations {
            self.state = State::Last;
        }
    }

    /// Returns the sum of squared distances of points to the centres of their clusters.
    pub(super) fn sum_of_squares(&self, points: &Rows) -> f64 {
        (0..points.len()).map(|i| self.distance(points, i)).sum()
    }

    fn assign(&mut self, points: &Rows, i: usize, cluster: u32) {
        let point = point(points, i);
        let width = self.width;
        let mut add = |cluster: u32, sign: f64| {
            let at = cluster as usize * width;
            for (sum, value) in self.sums[at..at + width].iter_mut().zip(point) {
                *sum += sign * f64::from(*value);
            }
        };
        let old = std::mem::replace(&mut self.assigned[i], cluster);
        if old != NONE {
            add(old, -1.0);
            self.counts[old as usize] -= 1;
        }
        add(cluster, 1.0);
        self.counts[cluster as usize] += 1;
    }

    /// Gives every empty cluster the point that is farthest from its own centre, among points that are not the only
    /// one of their cluster.
    fn fill_empty(&mut self, points: &Rows) {
        let empty: Vec<usize> = (0..self.counts.len()).filter(|c| self.counts[*c] == 0).collect();
        if empty.is_empty() {
            return;
        }
        let mut far: Vec<(f64, usize)> = (0..points.len()).map(|i| (self.distance(points, i), i)).collect();
        // Sorted by decreasing distance, then by index.
        far.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut far = far.into_iter().map(|(_, i)| i);
        for cluster in empty {
            for i in far.by_ref() {
                if self.counts[self.assigned[i] as usize] > 1 {
                    self.assign(points, i, cluster as u32);
                    break;
                }
            }
        }
    }

    fn distance(&self, points: &Rows, i: usize) -> f64 {
        let centre = &self.centres[self.assigned[i] as usize * self.width..][..self.width];
        // Eight partial sums let the compiler use vector additions.
        let mut sums = [0.0; 8];
        for (a, b) in point(points, i).chunks(8).zip(centre.chunks(8)) {
            for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
                *sum += (f64::from(*a) - f64::from(*b)).powi(2);
            }
        }
        sums.iter().sum()
    }
}

fn point(points: &Rows, i: usize) -> &[f32] {
    &points.values()[i * points.width()..][..points.width()]
}

/// Returns the nearest centre of each point, the first of several equally near ones. `products` is
/// `[centres, points]`.
pub(super) fn nearest(half_squares: &[f32], products: &[f32]) -> Vec<u32> {
    let n = products.len() / half_squares.len();
    // The compared values are half the squared distance, less half the point's squared norm.
    let (mut smallest, mut index) = (vec![f32::INFINITY; n], vec![0; n]);
    for (cluster, (half, row)) in half_squares.iter().zip(products.chunks_exact(n)).enumerate() {
        for ((smallest, index), product) in smallest.iter_mut().zip(&mut index).zip(row) {
            let value = half - product;
            // Branch-free selection lets the compiler process a vector of points at a time.
            let nearer = value < *smallest;
            *smallest = if nearer { value } else { *smallest };
            *index = if nearer { cluster as u32 } else { *index };
        }
    }
    index
}
