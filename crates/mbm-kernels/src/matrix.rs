//! Products of strided matrices in slices, in single or double precision, computed by the `gemm` crate.

use std::ops::Range;

use gemm::Parallelism;
use rayon::prelude::*;

/// The type of a matrix's elements: `f32` or `f64`.
pub trait Element: sealed::Sealed + Copy + Sync + 'static {
    /// The number 1.
    const ONE: Self;
}

impl Element for f32 {
    const ONE: Self = 1.0;
}

impl Element for f64 {
    const ONE: Self = 1.0;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A strided view of a matrix in a slice.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, T = f32> {
    /// The slice, from the first element of the matrix on.
    pub values: &'a [T],
    /// Numbers of rows and columns.
    pub shape: [usize; 2],
    /// Row and column strides.
    pub strides: [usize; 2],
}

impl<'a, T> Matrix<'a, T> {
    /// Views contiguous rows.
    pub fn rows(values: &'a [T], shape: [usize; 2]) -> Self {
        Self { values, shape, strides: [shape[1], 1] }
    }

    /// Views rows that start `row_stride` apart.
    pub fn strided(values: &'a [T], shape: [usize; 2], row_stride: usize) -> Self {
        Self { values, shape, strides: [row_stride, 1] }
    }

    /// Views the transposed matrix.
    pub fn transposed(self) -> Self {
        let ([rows, columns], [row, column]) = (self.shape, self.strides);
        Self { values: self.values, shape: [columns, rows], strides: [column, row] }
    }

    /// Returns a view of some of the rows.
    pub(crate) fn some_rows(self, rows: Range<usize>) -> Self {
        assert!(rows.end <= self.shape[0]);
        Self { values: &self.values[rows.start * self.strides[0]..], shape: [rows.len(), self.shape[1]], strides: self.strides }
    }

    fn end(&self) -> usize {
        end(self.shape, self.strides)
    }
}

/// Returns the number of elements that a matrix spans.
fn end([rows, columns]: [usize; 2], [row, column]: [usize; 2]) -> usize {
    if rows == 0 || columns == 0 { 0 } else { (rows - 1) * row + (columns - 1) * column + 1 }
}

/// Computes `out += left * right` on one thread; rows of `out` are `row_stride` apart. The result depends on the shapes, the
/// values and the processor only.
///
/// # Panics
/// If the shapes do not match each other or their slices.
pub fn add_product<T: Element>(out: &mut [T], row_stride: usize, left: Matrix<T>, right: Matrix<T>) {
    let product = Product::checked(out, row_stride, left, right, true);
    // SAFETY: each matrix lies within its slice, as `checked` asserts, and `out` is borrowed mutably.
    unsafe { product.part(0..left.shape[0], 0..right.shape[1]) }
}

/// Computes `out = left * right`, or `out += left * right` if `adds`; rows of `out` are `row_stride` apart. Multithreaded if
/// `shared`.
///
/// # Panics
/// If the shapes do not match each other or their slices.
pub(crate) fn multiply(out: &mut [f32], row_stride: usize, left: Matrix, right: Matrix, adds: bool, shared: bool) {
    let ([m, _], [_, n]) = (left.shape, right.shape);
    let product = Product::checked(out, row_stride, left, right, adds);
    if !shared {
        // SAFETY: each matrix lies within its slice, as `checked` asserts, and `out` is borrowed mutably.
        return unsafe { product.part(0..m, 0..n) };
    }
    // Each thread computes a part of the longer side, in whole registers.
    let by_rows = m > n;
    let share = m.max(n).div_ceil(rayon::current_num_threads()).next_multiple_of(16);
    (0..m.max(n).div_ceil(share)).into_par_iter().for_each(|at| {
        let part = |length: usize| at * share..((at + 1) * share).min(length);
        // SAFETY: as above, and the parts are disjoint.
        unsafe { if by_rows { product.part(part(m), 0..n) } else { product.part(0..m, part(n)) } }
    });
}

#[derive(Clone, Copy)]
struct Product<'a, T> {
    out: *mut T,
    row_stride: usize,
    left: Matrix<'a, T>,
    right: Matrix<'a, T>,
    adds: bool,
}

// SAFETY: threads write to disjoint parts of `out`.
unsafe impl<T: Element> Sync for Product<'_, T> {}

impl<'a, T: Element> Product<'a, T> {
    /// Checks that the shapes match each other and their slices.
    fn checked(out: &mut [T], row_stride: usize, left: Matrix<'a, T>, right: Matrix<'a, T>, adds: bool) -> Self {
        let ([m, k], [depth, n]) = (left.shape, right.shape);
        assert!(k == depth && left.end() <= left.values.len() && right.end() <= right.values.len());
        assert!(end([m, n], [row_stride, 1]) <= out.len() && (m < 2 || row_stride >= n));
        Self { out: out.as_mut_ptr(), row_stride, left, right, adds }
    }

    /// Computes some rows and columns of the product.
    ///
    /// # Safety
    /// The matrices must lie within their slices, and nothing else may access that part of `out`.
    unsafe fn part(&self, rows: Range<usize>, columns: Range<usize>) {
        let ([left_row, left_column], [right_row, right_column]) = (self.left.strides, self.right.strides);
        // SAFETY: guaranteed by the caller.
        unsafe {
            gemm::gemm(
                rows.len(),
                columns.len(),
                self.left.shape[1],
                self.out.add(rows.start * self.row_stride + columns.start),
                1,
                self.row_stride as isize,
                self.adds,
                self.left.values.as_ptr().add(rows.start * left_row),
                left_column as isize,
                left_row as isize,
                self.right.values.as_ptr().add(columns.start * right_column),
                right_column as isize,
                right_row as isize,
                T::ONE,
                T::ONE,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn products_match_the_definition_with_any_threading(
            m in 1usize..50, k in 1usize..20, n in 1usize..50, gap in 0usize..3, adds: bool, shared: bool, turned: bool,
        ) {
            let number = |at: usize| (at as f32 * 0.37).sin();
            let (left, right): (Vec<f32>, Vec<f32>) = ((0..m * k).map(number).collect(), (0..k * n).map(|at| number(at + 7)).collect());
            let left = if turned { Matrix::rows(&left, [k, m]).transposed() } else { Matrix::rows(&left, [m, k]) };
            let stride = n + gap;
            let mut out = vec![0.5; m * stride];
            multiply(&mut out, stride, left, Matrix::rows(&right, [k, n]), adds, shared);
            for (at, found) in out.into_iter().enumerate() {
                let (row, column) = (at / stride, at % stride);
                let factor = |at: usize| f64::from(left.values[row * left.strides[0] + at * left.strides[1]]);
                let terms = |column: usize| (0..k).map(move |at| factor(at) * f64::from(number(at * n + column + 7))).sum::<f64>();
                let want = if column >= n { 0.5 } else { terms(column) + if adds { 0.5 } else { 0.0 } };
                prop_assert!((f64::from(found) - want).abs() < 1e-5, "{found} is not {want}");
            }
        }

        #[test]
        fn double_precision_products_are_added(m in 1usize..20, k in 0usize..40, n in 1usize..20) {
            let number = |at: usize| (at as f64 * 0.37).sin();
            let (left, right): (Vec<f64>, Vec<f64>) = ((0..m * k).map(number).collect(), (0..k * n).map(|at| number(at + 7)).collect());
            let mut out = vec![0.5; m * n];
            add_product(&mut out, n, Matrix::rows(&left, [k, m]).transposed(), Matrix::rows(&right, [k, n]));
            for (at, found) in out.into_iter().enumerate() {
                let want: f64 = (0..k).map(|i| left[i * m + at / n] * right[i * n + at % n]).sum();
                prop_assert!((found - 0.5 - want).abs() < 1e-12, "{found} is not {want}");
            }
        }
    }
}
