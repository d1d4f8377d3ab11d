//! Features of images that need no training: histograms of oriented gradients (Dalal and Triggs 2005), each normalized by the four
//! blocks around it as Felzenszwalb et al. (2010) do, and a thumbnail.

/// Number of cells along each side of an image.
const N_CELLS: usize = 8;

/// Number of orientations between 0 and 180 degrees.
const N_ORIENTATIONS: usize = 9;

/// Upper limit of a normalized histogram value.
const MAX_SHARE: f32 = 0.2;

/// Factor of the thumbnail, whose values would otherwise outweigh those of the histograms.
const THUMBNAIL_SCALE: f32 = 0.2;

/// Added to the norm of a block, so that noise in even areas stays small.
const MIN_NORM: f32 = 0.1;

/// Returns the number of features of an image with a number of channels.
pub fn n_image_features(n_channels: usize) -> usize {
    N_CELLS * N_CELLS * (N_ORIENTATIONS + n_channels)
}

/// Returns the features of an image `[channels, height, width]`: `[n_image_features(channels)]`, the histograms of the cells in rows from
/// the top, then the thumbnail of each channel.
///
/// # Panics
/// Panics if `image` has another number of values.
pub fn image_features(image: &[f32], [n_channels, height, width]: [usize; 3]) -> Vec<f32> {
    assert_eq!(image.len(), n_channels * height * width, "an image of {n_channels} x {height} x {width} values");
    let planes: Vec<&[f32]> = image.chunks((height * width).max(1)).collect();
    let mut features = normalized(&histograms(&planes, height, width));
    planes.iter().for_each(|plane| features.extend(thumbnail(plane, height, width)));
    features.resize(n_image_features(n_channels), 0.0);
    features
}

type Histogram = [f32; N_ORIENTATIONS];

/// Returns the histogram of each cell; a pixel takes part in the four cells whose centers are nearest, and in two orientations.
fn histograms(planes: &[&[f32]], height: usize, width: usize) -> Vec<Histogram> {
    let mut cells = vec![[0.0; N_ORIENTATIONS]; N_CELLS * N_CELLS];
    let columns: Vec<[(usize, f32); 2]> = (0..width).map(|x| shares(x, width)).collect();
    for y in 0..height {
        let rows = shares(y, height);
        for (x, columns) in columns.iter().enumerate() {
            let (dy, dx) = gradient(planes, y, x, height, width);
            let magnitude = (dy * dy + dx * dx).sqrt();
            if magnitude <= 0.0 || !magnitude.is_finite() {
                continue;
            }
            let angle = dy.atan2(dx).rem_euclid(std::f32::consts::PI) / std::f32::consts::PI * N_ORIENTATIONS as f32;
            let (lower, share) = (angle as usize % N_ORIENTATIONS, angle.fract());
            for (row, row_share) in rows {
                for (column, column_share) in columns {
                    let weight = magnitude * row_share * column_share;
                    let cell = &mut cells[row * N_CELLS + column];
                    cell[lower] += weight * (1.0 - share);
                    cell[(lower + 1) % N_ORIENTATIONS] += weight * share;
                }
            }
        }
    }
    cells
}

/// Returns the two cells along a side whose centers are next to a pixel, with the pixel's share in each.
fn shares(pixel: usize, n_pixels: usize) -> [(usize, f32); 2] {
    let position = (pixel as f32 + 0.5) / n_pixels as f32 * N_CELLS as f32 - 0.5;
    let lower = position.floor();
    let cell = |at: f32| at.clamp(0.0, (N_CELLS - 1) as f32) as usize;
    [(cell(lower), 1.0 - (position - lower)), (cell(lower + 1.0), position - lower)]
}

/// Returns the vertical and horizontal central differences at a pixel, of the channel in which they are largest.
fn gradient(planes: &[&[f32]], y: usize, x: usize, height: usize, width: usize) -> (f32, f32) {
    let of_plane = |plane: &&[f32]| {
        let at = |y: usize, x: usize| plane[y * width + x];
        let vertical = at((y + 1).min(height - 1), x) - at(y.saturating_sub(1), x);
        (vertical, at(y, (x + 1).min(width - 1)) - at(y, x.saturating_sub(1)))
    };
    let squared = |(dy, dx): &(f32, f32)| dy * dy + dx * dx;
    planes.iter().map(of_plane).max_by(|a, b| squared(a).total_cmp(&squared(b))).unwrap_or_default()
}

/// Divides the histogram of each cell by the norm of each of the four blocks of two by two cells that it belongs to, limits the values, and
/// returns their means, `[cells, orientations]`.
fn normalized(cells: &[Histogram]) -> Vec<f32> {
    let energy: Vec<f32> = cells.iter().map(|cell| cell.iter().map(|value| value * value).sum()).collect();
    let at = |row: isize, column: isize| {
        let inside = |index: isize| index.clamp(0, N_CELLS as isize - 1) as usize;
        energy[inside(row) * N_CELLS + inside(column)]
    };
    let mut normalized = Vec::with_capacity(cells.len() * N_ORIENTATIONS);
    for (index, cell) in cells.iter().enumerate() {
        let (row, column) = ((index / N_CELLS) as isize, (index % N_CELLS) as isize);
        let blocks = [(-1, -1), (-1, 0), (0, -1), (0, 0)].map(|(up, left)| {
            let (row, column) = (row + up, column + left);
            (at(row, column) + at(row, column + 1) + at(row + 1, column) + at(row + 1, column + 1)).sqrt() + MIN_NORM
        });
        let mean = |value: &f32| blocks.iter().map(|norm| (value / norm).min(MAX_SHARE)).sum::<f32>() / blocks.len() as f32;
        normalized.extend(cell.iter().map(mean));
    }
    normalized
}

/// Returns the mean of the pixels in each cell, `[cells]`, scaled.
fn thumbnail(plane: &[f32], height: usize, width: usize) -> Vec<f32> {
    let range = |cell: usize, n_pixels: usize| {
        let first = cell * n_pixels / N_CELLS;
        first..((cell + 1) * n_pixels / N_CELLS).clamp((first + 1).min(n_pixels), n_pixels)
    };
    let mean = |cell: usize| {
        let (rows, columns) = (range(cell / N_CELLS, height), range(cell % N_CELLS, width));
        let n = (rows.len() * columns.len()).max(1) as f32;
        let sum: f32 = rows.map(|y| plane[y * width..][columns.clone()].iter().sum::<f32>()).sum();
        sum / n * THUMBNAIL_SCALE
    };
    (0..N_CELLS * N_CELLS).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image of one channel whose brightness grows along a direction.
    fn ramp(height: usize, width: usize, (dy, dx): (f32, f32)) -> Vec<f32> {
        (0..height * width).map(|at| dy * (at / width) as f32 + dx * (at % width) as f32).collect()
    }

    fn orientations(features: &[f32]) -> Vec<f32> {
        let sum = |at: usize| features[..N_CELLS * N_CELLS * N_ORIENTATIONS].iter().skip(at).step_by(N_ORIENTATIONS).sum();
        (0..N_ORIENTATIONS).map(sum).collect()
    }

    #[test]
    fn a_ramp_has_one_orientation() {
        let horizontal = orientations(&image_features(&ramp(24, 24, (0.0, 1.0)), [1, 24, 24]));
        assert!(horizontal[0] > 0.0 && horizontal[1..].iter().all(|value| *value == 0.0), "{horizontal:?}");
        let vertical = orientations(&image_features(&ramp(24, 24, (1.0, 0.0)), [1, 24, 24]));
        assert_eq!(
            vertical.iter().filter(|value| **value > 0.0).count(),
            2,
            "90 degrees lie between two orientations: {vertical:?}"
        );
        assert!((vertical[4] - vertical[5]).abs() < 1e-3);
    }

    #[test]
    fn histograms_do_not_depend_on_brightness_and_hardly_on_contrast() {
        let image: Vec<f32> = (0..32 * 20).map(|at| ((at * 37) % 101) as f32 / 10.0).collect();
        let changed: Vec<f32> = image.iter().map(|value| value * 3.0 + 2.0).collect();
        let n = N_CELLS * N_CELLS * N_ORIENTATIONS;
        let (image, changed) = (image_features(&image, [1, 32, 20]), image_features(&changed, [1, 32, 20]));
        assert!(image[..n].iter().zip(&changed[..n]).all(|(a, b)| (a - b).abs() < 1e-2));
        assert!(image[n..].iter().zip(&changed[n..]).all(|(a, b)| a < b));
    }

    #[test]
    fn a_thumbnail_has_the_means_of_the_cells() {
        let features = image_features(&ramp(16, 16, (0.0, 1.0)), [1, 16, 16]);
        let thumbnail = &features[features.len() - N_CELLS * N_CELLS..];
        let want: Vec<f32> = (0..N_CELLS).map(|cell| (2 * cell) as f32 + 0.5).map(|mean| mean * THUMBNAIL_SCALE).collect();
        assert!(thumbnail.chunks(N_CELLS).all(|row| row.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-5)));
    }

    proptest::proptest! {
        #[test]
        fn features_of_any_image_are_finite(
            n_channels in 0usize..4, height in 0usize..20, width in 0usize..20, seed in 0usize..1000,
        ) {
            let image: Vec<f32> = (0..n_channels * height * width).map(|at| ((at * 7919 + seed * 31) % 256) as f32 - 128.0).collect();
            let features = image_features(&image, [n_channels, height, width]);
            proptest::prop_assert_eq!(features.len(), n_image_features(n_channels));
            proptest::prop_assert!(features.iter().all(|value| value.is_finite()));
        }
    }
}
