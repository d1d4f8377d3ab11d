//! Products of matrices that lie in slices, by the `gemm` crate.

use gemm::Parallelism;

/// A matrix in a slice.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub values: &'a [f32],
    pub shape: [usize; 2],
    /// From row to row and from column to column.
    pub strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// Rows behind each other.
    pub fn rows(values: &'a [f32], shape: [usize; 2]) -> Self {
        Self { values, shape, strides: [shape[1], 1] }
    }

    /// Rows that are further apart than they are long.
    pub fn strided(values: &'a [f32], shape: [usize; 2], row_stride: usize) -> Self {
        Self { values, shape, strides: [row_stride, 1] }
    }

    pub fn transposed(self) -> Self {
        let ([rows, columns], [row, column]) = (self.shape, self.strides);
        Self { values: self.values, shape: [columns, rows], strides: [column, row] }
    }

    fn end(&self) -> usize {
        end(self.shape, self.strides)
    }
}

/// Places that a matrix takes.
fn end([rows, columns]: [usize; 2], [row, column]: [usize; 2]) -> usize {
    if rows == 0 || columns == 0 { 0 } else { (rows - 1) * row + (columns - 1) * column + 1 }
}

/// `out = left * right`, or `out += left * right`; rows of `out` are `row_stride` apart. By several threads where `shared`.
///
/// # Panics
/// Shapes that do not fit each other or their slices.
pub(crate) fn multiply(out: &mut [f32], row_stride: usize, left: Matrix, right: Matrix, adds: bool, shared: bool) {
    let ([m, k], [depth, n]) = (left.shape, right.shape);
    assert!(k == depth && left.end() <= left.values.len() && right.end() <= right.values.len());
    assert!(end([m, n], [row_stride, 1]) <= out.len() && (m < 2 || row_stride >= n));
    let parallelism = if shared { Parallelism::Rayon(0) } else { Parallelism::None };
    let [left_strides, right_strides] = [left.strides, right.strides].map(|strides| strides.map(|stride| stride as isize));
    // SAFETY: each matrix lies within its slice, as has just been checked, and `out` is borrowed for writing alone.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            row_stride as isize,
            adds,
            left.values.as_ptr(),
            left_strides[1],
            left_strides[0],
            right.values.as_ptr(),
            right_strides[1],
            right_strides[0],
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}
