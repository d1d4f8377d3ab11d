//! Products of a few rows with a prepacked matrix that is reused many times.

use crate::Instructions;

/// A matrix `[depth, columns]` packed for `multiply_add`: row-major panels of a few columns, the last one padded with zeros.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    panels: Vec<f32>,
    depth: usize,
    columns: usize,
}

/// Returns the number of columns of a panel: two vector registers.
#[inline(always)]
const fn panel<I: Instructions>() -> usize {
    2 * I::LANES
}

impl Packed {
    /// Packs a matrix whose element `(row, column)` is at `row * row_stride + column * column_stride`.
    #[inline(always)]
    pub(crate) fn new<I: Instructions>(matrix: &[f32], shape: [usize; 2], row_stride: usize, column_stride: usize) -> Self {
        let [depth, columns] = shape;
        let width = panel::<I>();
        let mut panels = vec![0.0; columns.div_ceil(width) * depth * width];
        for (first, panel) in (0..columns).step_by(width).zip(panels.chunks_exact_mut((depth * width).max(1))) {
            let used = width.min(columns - first);
            for (row, place) in panel.chunks_exact_mut(width).enumerate() {
                for column in 0..used {
                    place[column] = matrix[row * row_stride + (first + column) * column_stride];
                }
            }
        }
        Self { panels, depth, columns }
    }
}

/// Rows of `depth` values that start `stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub values: &'a [f32],
    pub stride: usize,
    pub count: usize,
}

/// `out[row] += rows[row] * matrix` for each row; rows of `out` are `out_stride` apart.
#[inline(always)]
pub(crate) fn multiply_add<I: Instructions>(rows: Rows, matrix: &Packed, out: &mut [f32], out_stride: usize) {
    // The rows of a tile are limited by the vector registers left next to the panel: there are 32 of the widest vectors, 16 of
    // the others.
    match I::LANES {
        16 => tiles::<I, 8>(rows, matrix, out, out_stride),
        8 => tiles::<I, 6>(rows, matrix, out, out_stride),
        _ => tiles::<I, 4>(rows, matrix, out, out_stride),
    }
}

#[inline(always)]
fn tiles<I: Instructions, const M: usize>(rows: Rows, matrix: &Packed, out: &mut [f32], out_stride: usize) {
    let (depth, width) = (matrix.depth, panel::<I>());
    if depth == 0 {
        return;
    }
    for (first, panel) in (0..matrix.columns).step_by(width).zip(matrix.panels.chunks_exact(depth * width)) {
        let used = width.min(matrix.columns - first);
        let mut row = 0;
        while row + M <= rows.count {
            tile::<I, M>(rows, row, panel, &mut out[row * out_stride + first..], out_stride, used);
            row += M;
        }
        while row + 2 <= rows.count {
            tile::<I, 2>(rows, row, panel, &mut out[row * out_stride + first..], out_stride, used);
            row += 2;
        }
        if row < rows.count {
            tile::<I, 1>(rows, row, panel, &mut out[row * out_stride + first..], out_stride, used);
        }
    }
}

/// Multiplies `M` rows by one panel, accumulating in registers.
#[inline(always)]
fn tile<I: Instructions, const M: usize>(
    rows: Rows,
    first: usize,
    panel: &[f32],
    out: &mut [f32],
    out_stride: usize,
    used: usize,
) {
    let depth = panel.len() / (2 * I::LANES);
    let mut left: [&[f32]; M] = [&[]; M];
    for (row, place) in left.iter_mut().enumerate() {
        *place = &rows.values[(first + row) * rows.stride..][..depth];
    }
    let mut sums = [[I::splat(0.0); 2]; M];
    for (at, right) in panel.chunks_exact(2 * I::LANES).enumerate() {
        let (near, far) = (I::load(right), I::load(&right[I::LANES..]));
        for row in 0..M {
            let factor = I::splat(left[row][at]);
            sums[row] = [I::fused(factor, near, sums[row][0]), I::fused(factor, far, sums[row][1])];
        }
    }
    for (row, [near, far]) in sums.into_iter().enumerate() {
        let place = &mut out[row * out_stride..][..used];
        if used == 2 * I::LANES {
            let (first, last) = place.split_at_mut(I::LANES);
            I::store(I::add(I::load(first), near), first);
            I::store(I::add(I::load(last), far), last);
        } else {
            let mut sums = [0.0; 32];
            I::store(near, &mut sums);
            I::store(far, &mut sums[I::LANES..]);
            place.iter_mut().zip(sums).for_each(|(place, sum)| *place += sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Kernel;
    use crate::dispatch::each;

    #[derive(Clone)]
    struct Product {
        left: Vec<f32>,
        right: Vec<f32>,
        shape: [usize; 3],
    }
    impl Kernel for Product {
        type Output = Vec<f32>;
        #[inline(always)]
        fn run<I: Instructions>(self) -> Vec<f32> {
            let [m, k, n] = self.shape;
            let matrix = Packed::new::<I>(&self.right, [k, n], n, 1);
            // Input and output rows have two values of padding.
            let mut out = vec![0.5; m * (n + 2)];
            multiply_add::<I>(Rows { values: &self.left, stride: k + 2, count: m }, &matrix, &mut out, n + 2);
            out
        }
    }

    proptest! {
        #[test]
        fn products_match_the_definition(m in 0usize..20, k in 0usize..40, n in 0usize..70, seed in 0u32..1000) {
            let number = |at: usize| ((at as f32 + seed as f32) * 0.37).sin();
            let product = Product {
                left: (0..m * (k + 2)).map(number).collect(),
                right: (0..k * n).map(|at| number(at + 7)).collect(),
                shape: [m, k, n],
            };
            for out in each(product.clone()) {
                for row in 0..m {
                    for column in 0..n {
                        let terms = (0..k).map(|at| f64::from(product.left[row * (k + 2) + at]) * f64::from(product.right[at * n + column]));
                        let want = 0.5 + terms.sum::<f64>();
                        prop_assert!((f64::from(out[row * (n + 2) + column]) - want).abs() < 1e-5);
                    }
                    prop_assert_eq!(&out[row * (n + 2) + n..(row + 1) * (n + 2)], &[0.5, 0.5]);
                }
            }
        }
    }
}
