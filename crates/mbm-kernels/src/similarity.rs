//! Inner products of one vector with many stored vectors, in full or reduced precision: the hot loop of an index.

use crate::{Instructions, Kernel, dispatch};

/// Contiguous vectors of one width.
#[derive(Debug, Clone, Copy)]
pub enum Stored<'a> {
    /// In single precision.
    F32(&'a [f32]),
    /// In IEEE half precision.
    F16(&'a [u16]),
    /// In 8-bit integers, with one scale per vector.
    I8(&'a [i8], &'a [f32]),
}

/// A vector to compare with stored ones, in a precision that matches theirs.
#[derive(Debug, Clone, PartialEq)]
pub enum Query {
    /// For 32-bit and 16-bit vectors.
    Float(Vec<f32>),
    /// For 8-bit vectors, with its scale.
    Byte(Vec<i8>, f32),
}

/// The largest quantized value.
const TOP: f32 = 127.0;

/// Number of rows to prefetch ahead.
const PREFETCH_DISTANCE: usize = 3;

/// Quantizes a vector to integers from -127 to 127; returns them with the scale by which they must be multiplied.
pub fn to_bytes(values: &[f32]) -> (Vec<i8>, f32) {
    let top = values.iter().fold(0f32, |top, x| top.max(x.abs()));
    let scale = if top > 0.0 { top / TOP } else { 1.0 };
    (values.iter().map(|x| (x / scale).round() as i8).collect(), scale)
}

/// Rounds to the nearest half-precision value, ties to even; values out of range become infinite.
pub fn to_half(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let size = bits & 0x7fff_ffff;
    if size > 0x7f80_0000 {
        return sign | 0x7e00;
    }
    if size >= 0x4780_0000 {
        return sign | 0x7c00;
    }
    if size < 0x3880_0000 {
        // Subnormal: adding 0.5 shifts the mantissa to its position, rounded.
        let shifted = f32::from_bits(size) + 0.5;
        return sign | (shifted.to_bits() - 0.5f32.to_bits()) as u16;
    }
    let rounded = size + 0xfff + (size >> 13 & 1);
    sign | ((rounded - 0x3800_0000) >> 13) as u16
}

/// Converts a half-precision value to single precision.
pub fn from_half(half: u16) -> f32 {
    let (sign, size) = (u32::from(half & 0x8000) << 16, u32::from(half & 0x7fff));
    let value = match size {
        0x7c00.. => f32::from_bits(size << 13 | 0x7f80_0000),
        0x400.. => f32::from_bits((size << 13) + 0x3800_0000),
        _ => size as f32 * 2f32.powi(-24),
    };
    f32::from_bits(value.to_bits() | sign)
}

impl Stored<'_> {
    /// Converts a vector to a query for these vectors.
    pub fn query(&self, values: &[f32]) -> Query {
        match self {
            Self::F32(_) | Self::F16(_) => Query::Float(values.to_vec()),
            Self::I8(..) => {
                let (values, scale) = to_bytes(values);
                Query::Byte(values, scale)
            }
        }
    }

    /// Returns the number of vectors.
    pub fn len(&self, width: usize) -> usize {
        match self {
            Self::F32(values) => values.len() / width,
            Self::F16(values) => values.len() / width,
            Self::I8(values, scales) => (values.len() / width).min(scales.len()),
        }
    }

    /// Returns one stored vector as a query.
    pub fn row(&self, row: usize, width: usize) -> Query {
        let places = row * width..(row + 1) * width;
        match self {
            Self::F32(values) => Query::Float(values[places].to_vec()),
            Self::F16(values) => Query::Float(values[places].iter().map(|half| from_half(*half)).collect()),
            Self::I8(values, scales) => Query::Byte(values[places].to_vec(), scales[row]),
        }
    }
}

impl Query {
    fn width(&self) -> usize {
        match self {
            Self::Float(values) => values.len(),
            Self::Byte(values, _) => values.len(),
        }
    }
}

/// Computes the inner products of a query with some of the stored vectors, in the order of `rows`.
///
/// # Panics
/// If a row is out of range, or the query does not match the precision of the stored vectors.
pub fn products(query: &Query, stored: Stored, rows: &[u32], out: &mut Vec<f32>) {
    out.clear();
    out.resize(rows.len(), 0.0);
    dispatch(Products { query, stored, rows: Rows::Some(rows), out });
}

/// Computes the inner products of a query with `out.len()` stored vectors from `first` on.
///
/// # Panics
/// If a row is out of range, or the query does not match the precision of the stored vectors.
pub fn products_from(query: &Query, stored: Stored, first: usize, out: &mut [f32]) {
    dispatch(Products { query, stored, rows: Rows::From(first), out });
}

#[derive(Clone, Copy)]
enum Rows<'a> {
    Some(&'a [u32]),
    From(usize),
}

struct Products<'a> {
    query: &'a Query,
    stored: Stored<'a>,
    rows: Rows<'a>,
    out: &'a mut [f32],
}

impl Kernel for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Instructions>(self) {
        let width = self.query.width();
        match (self.query, self.stored) {
            (Query::Float(query), Stored::F32(values)) => of_all::<I, f32>(query, values, self.rows, self.out),
            (Query::Float(query), Stored::F16(values)) => of_all::<I, u16>(query, values, self.rows, self.out),
            (Query::Byte(query, scale), Stored::I8(values, scales)) => {
                for at in 0..self.out.len() {
                    prefetch::<I, i8>(self.rows, at, values, width);
                    let sum = I::product_of_bytes(query, row(values, self.rows, at, width));
                    self.out[at] = sum as f32 * scale * scales[place(self.rows, at)];
                }
            }
            (Query::Float(_), Stored::I8(..)) | (Query::Byte(..), Stored::F32(_) | Stored::F16(_)) => {
                panic!("the query does not match the precision of the stored vectors")
            }
        }
    }
}

#[inline(always)]
fn of_all<I: Instructions, T: Number>(query: &[f32], values: &[T], rows: Rows, out: &mut [f32]) {
    for (at, out) in out.iter_mut().enumerate() {
        prefetch::<I, T>(rows, at, values, query.len());
        *out = of_numbers::<I, T>(query, row(values, rows, at, query.len()));
    }
}

#[inline(always)]
fn place(rows: Rows, at: usize) -> usize {
    match rows {
        Rows::Some(rows) => rows[at] as usize,
        Rows::From(first) => first + at,
    }
}

#[inline(always)]
fn row<'a, T>(values: &'a [T], rows: Rows, at: usize, width: usize) -> &'a [T] {
    let start = place(rows, at) * width;
    &values[start..start + width]
}

/// Prefetches a row that will be needed soon; contiguous rows are left to the hardware prefetcher.
#[inline(always)]
fn prefetch<I: Instructions, T>(rows: Rows, at: usize, values: &[T], width: usize) {
    let Rows::Some(rows) = rows else { return };
    let range = if at == 0 {
        1..PREFETCH_DISTANCE.min(rows.len())
    } else {
        at + PREFETCH_DISTANCE - 1..(at + PREFETCH_DISTANCE).min(rows.len())
    };
    for row in range {
        let start = rows[row] as usize * width;
        if let Some(values) = values.get(start..start + width) {
            I::prefetch(values);
        }
    }
}

/// A stored floating-point value, in single or half precision.
trait Number: Copy {
    /// Loads the first `LANES` values of a slice, which must not be shorter.
    fn load<I: Instructions>(values: &[Self]) -> I::Vector;

    fn value(self) -> f32;
}

impl Number for f32 {
    #[inline(always)]
    fn load<I: Instructions>(values: &[f32]) -> I::Vector {
        I::load(values)
    }

    #[inline(always)]
    fn value(self) -> f32 {
        self
    }
}

impl Number for u16 {
    #[inline(always)]
    fn load<I: Instructions>(values: &[u16]) -> I::Vector {
        I::load_halves(values)
    }

    #[inline(always)]
    fn value(self) -> f32 {
        from_half(self)
    }
}

#[inline(always)]
fn of_numbers<I: Instructions, T: Number>(a: &[f32], b: &[T]) -> f32 {
    let n = a.len().min(b.len());
    let mut sums = [I::splat(0.0); 4];
    let whole = n / (4 * I::LANES) * (4 * I::LANES);
    for at in (0..whole).step_by(4 * I::LANES) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            let at = at + lane * I::LANES;
            *sum = I::fused(I::load(&a[at..]), T::load::<I>(&b[at..]), *sum);
        }
    }
    let vectors = n / I::LANES * I::LANES;
    for at in (whole..vectors).step_by(I::LANES) {
        sums[0] = I::fused(I::load(&a[at..]), T::load::<I>(&b[at..]), sums[0]);
    }
    let rest: f32 = a[vectors..n].iter().zip(&b[vectors..n]).map(|(a, b)| a * b.value()).sum();
    total::<I>(sums) + rest
}

#[inline(always)]
fn total<I: Instructions>(sums: [I::Vector; 4]) -> f32 {
    let mut lanes = [0.0; 16];
    I::store(I::add(I::add(sums[0], sums[1]), I::add(sums[2], sums[3])), &mut lanes);
    lanes[..I::LANES].iter().sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dispatch::each;

    #[test]
    fn halves_round_trip_and_floats_round_to_nearest_even() {
        for half in 0..=u16::MAX {
            let value = from_half(half);
            if value.is_nan() {
                assert!(from_half(to_half(value)).is_nan());
                continue;
            }
            assert_eq!(to_half(value), half, "{value}");
            // Halfway between neighbors: ties to even.
            if half & 0x7fff < 0x7bff {
                let next = from_half(half + 1);
                assert_eq!(to_half((value + next) / 2.0), half + (half & 1), "between {value} and {next}");
            }
        }
        assert_eq!((to_half(1e9), to_half(-1e9), to_half(1e-9)), (0x7c00, 0xfc00, 0));
    }

    struct Copied<'a>(&'a Query, Stored<'a>, &'a [u32]);
    impl Clone for Copied<'_> {
        fn clone(&self) -> Self {
            Self(self.0, self.1, self.2)
        }
    }
    impl Kernel for Copied<'_> {
        type Output = [Vec<f32>; 2];
        #[inline(always)]
        fn run<I: Instructions>(self) -> [Vec<f32>; 2] {
            let [mut some, mut from] = [self.2.len(), self.1.len(self.0.width()) - 1].map(|n| vec![0.0; n]);
            Products { query: self.0, stored: self.1, rows: Rows::Some(self.2), out: &mut some }.run::<I>();
            Products { query: self.0, stored: self.1, rows: Rows::From(1), out: &mut from }.run::<I>();
            [some, from]
        }
    }

    proptest! {
        #[test]
        fn products_match_the_definition_in_every_precision(
            width in 1usize..200, n in 1usize..9, seed in 0.1f32..9.0, rows in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let wave = |n: usize, step: f32| (0..n).map(|at| (at as f32 * step).sin()).collect::<Vec<f32>>();
            let (query, values) = (wave(width, seed), wave(n * width, seed + 0.7));
            let halves: Vec<u16> = values.iter().map(|x| to_half(*x)).collect();
            let (bytes, scales): (Vec<Vec<i8>>, Vec<f32>) = values.chunks(width).map(to_bytes).unzip();
            let bytes = bytes.concat();
            let rows: Vec<u32> = rows.iter().map(|row| row.index(n) as u32).collect();
            for stored in [Stored::F32(&values), Stored::F16(&halves), Stored::I8(&bytes, &scales)] {
                prop_assert_eq!(stored.len(width), n);
                let as_numbers = |query: &Query| match query {
                    Query::Float(values) => values.iter().map(|x| f64::from(*x)).collect::<Vec<_>>(),
                    Query::Byte(values, scale) => values.iter().map(|x| f64::from(*x) * f64::from(*scale)).collect(),
                };
                let asked = stored.query(&query);
                let want = |row: usize| as_numbers(&asked).iter().zip(as_numbers(&stored.row(row, width))).map(|(a, b)| a * b).sum::<f64>();
                let near = |found: f32, row: usize| (f64::from(found) - want(row)).abs() < 1e-5 * width as f64;
                for [some, from] in each(Copied(&asked, stored, &rows)) {
                    prop_assert!(some.iter().zip(&rows).all(|(found, row)| near(*found, *row as usize)));
                    prop_assert!(from.iter().enumerate().all(|(at, found)| near(*found, at + 1)));
                }
                // The error of 8-bit values is at most half a quantization step per element of both vectors.
                let error = values.chunks(width).enumerate().map(|(row, values)| {
                    let exact: f64 = query.iter().zip(values).map(|(a, b)| f64::from(a * b)).sum();
                    (exact - want(row)).abs()
                }).fold(0.0, f64::max);
                prop_assert!(error < width as f64 / 127.0, "{error}");
            }
        }
    }
}
