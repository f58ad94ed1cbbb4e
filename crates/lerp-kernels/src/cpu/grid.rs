//! Zero-padded channels-last images and their memory layout.

use std::mem::MaybeUninit;

/// The layout of images `[height, width, channels]` with a border of zeros ("edge"), one image after the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Grid {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    /// Width of the border, in pixels.
    pub edge: usize,
}

impl Grid {
    /// Floats from one row to the next.
    pub fn pitch(self) -> usize {
        (self.width + 2 * self.edge) * self.channels
    }

    /// Floats of an image with its border.
    pub fn image(self) -> usize {
        (self.height + 2 * self.edge) * self.pitch()
    }

    /// Floats of a row without its border.
    pub fn row(self) -> usize {
        self.width * self.channels
    }

    /// The index of a pixel's first channel in its image.
    pub fn at(self, y: usize, x: usize) -> usize {
        (y + self.edge) * self.pitch() + (x + self.edge) * self.channels
    }

    /// The grid of the same images without a border.
    pub fn dense(self) -> Self {
        Self { edge: 0, ..self }
    }

    /// The grid of the images at twice the size.
    pub fn doubled(self) -> Self {
        Self { height: 2 * self.height, width: 2 * self.width, ..self }
    }

    /// The grid of the images at half the size.
    pub fn halved(self) -> Self {
        Self { height: self.height / 2, width: self.width / 2, ..self }
    }

    /// Sets the borders of images to zero.
    pub fn clear_edges(self, images: &mut [MaybeUninit<f32>]) {
        if self.edge == 0 {
            return;
        }
        let zero = MaybeUninit::new(0.0);
        let (side, inside) = (self.edge * self.channels, self.edge * self.pitch());
        for image in images.chunks_exact_mut(self.image()) {
            image[..inside].fill(zero);
            image[self.image() - inside..].fill(zero);
            for row in image[inside..self.image() - inside].chunks_exact_mut(self.pitch()) {
                row[..side].fill(zero);
                row[self.pitch() - side..].fill(zero);
            }
        }
    }

    /// Returns the rows of images, without their borders.
    pub fn rows(self, images: &[f32]) -> impl Iterator<Item = &[f32]> {
        images
            .chunks_exact(self.image())
            .flat_map(move |image| (0..self.height).map(move |y| &image[self.at(y, 0)..][..self.row()]))
    }

    /// Calls `f` with every row of images, without its border, and the row's number, counted over all images.
    pub fn each_row(
        self,
        images: &mut [MaybeUninit<f32>],
        mut f: impl FnMut(usize, &mut [MaybeUninit<f32>]),
    ) {
        for (i, image) in images.chunks_exact_mut(self.image()).enumerate() {
            for y in 0..self.height {
                let start = self.at(y, 0);
                f(i * self.height + y, &mut image[start..start + self.row()]);
            }
        }
    }
}

/// Images to read, with their layout.
#[derive(Clone, Copy)]
pub(super) struct Images<'a> {
    pub values: &'a [f32],
    pub grid: Grid,
}

impl Images<'_> {
    /// The number of images.
    pub fn count(self) -> usize {
        self.values.len() / self.grid.image()
    }
}

/// Images to write, with their layout.
pub(super) struct ImagesMut<'a> {
    pub values: &'a mut [MaybeUninit<f32>],
    pub grid: Grid,
}

impl ImagesMut<'_> {
    /// The number of images.
    pub fn count(&self) -> usize {
        self.values.len() / self.grid.image()
    }

    /// The same images, borrowed for a shorter time.
    pub fn reborrow(&mut self) -> ImagesMut<'_> {
        ImagesMut { values: &mut *self.values, grid: self.grid }
    }
}

/// The arrangement of tiles in an image.
#[derive(Debug, Clone, Copy)]
pub(super) struct TileLayout {
    /// Tiles from the top to the bottom.
    pub down: usize,
    /// Tiles, or starts of rows of tiles, from left to right.
    pub across: usize,
    /// Pixels from one tile to the next.
    pub step: usize,
    /// Pixels, above and to the left, from where a tile begins to its own first pixel.
    pub before: usize,
}

/// Computes the index at which each tile of a number of images begins.
///
/// # Panics
/// If a tile would begin outside of the images' border.
pub(super) fn tile_origins(images: usize, grid: Grid, layout: TileLayout, origins: &mut Vec<usize>) {
    let TileLayout { down, across, step, before } = layout;
    assert!(grid.edge >= before, "tiles begin {before} pixels before images with an edge of {}", grid.edge);
    origins.clear();
    for image in 0..images {
        for y in 0..down {
            let row = image * grid.image() + grid.at(y * step, 0) - before * (grid.pitch() + grid.channels);
            origins.extend((0..across).map(|x| row + x * step * grid.channels));
        }
    }
}
