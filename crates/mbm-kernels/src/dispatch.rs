//! Run-time dispatch of kernels to the instruction set of the processor.
//!
//! A kernel is written once, generic over [`Instructions`]: vectors with a number of lanes, and their operations. [`Plain`]
//! implements them on arrays; it runs on any processor, and tests check the other implementations against it.

/// A set of vector instructions.
///
/// Implementations other than [`Plain`] may only be used if the processor supports them: in a [`Kernel`] that [`dispatch`] runs.
pub(crate) trait Instructions {
    /// A vector of `LANES` values.
    type Vector: Copy;
    /// Number of lanes of a vector.
    const LANES: usize;

    fn splat(value: f32) -> Self::Vector;
    /// Loads the first `LANES` values of a slice, which must not be shorter.
    fn load(values: &[f32]) -> Self::Vector;
    /// Stores to the first `LANES` elements of a slice, which must not be shorter.
    fn store(vector: Self::Vector, values: &mut [f32]);
    fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sub(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn div(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn min(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn max(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b + c`.
    fn fused(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// 2 to the power of integers from -126 to 127, given as the integer plus 1.5 * 2^23, whose lowest bits are those of the
    /// integer.
    fn power_of_two(shifted: Self::Vector) -> Self::Vector;

    /// Loads the first `LANES` values of a half-precision slice, which must not be shorter.
    fn load_halves(values: &[u16]) -> Self::Vector;
    /// Computes the inner product of two slices of equal length.
    fn product_of_bytes(a: &[i8], b: &[i8]) -> i32;
    /// Prefetches a slice, or its first two kilobytes, into the cache.
    fn prefetch<T>(values: &[T]);

    /// Loads the first `count` values of a slice, at most `LANES`, and fills the other lanes with zeros.
    #[inline(always)]
    fn load_some(values: &[f32], count: usize) -> Self::Vector {
        Self::load_some_or(values, count, 0.0)
    }

    /// Like [`Instructions::load_some`], but fills the other lanes with `other`.
    #[inline(always)]
    fn load_some_or(values: &[f32], count: usize, other: f32) -> Self::Vector {
        if count >= Self::LANES {
            return Self::load(values);
        }
        let mut some = [other; 16];
        some[..count].copy_from_slice(&values[..count]);
        Self::load(&some)
    }

    /// Stores the first `count` values of a vector, at most `LANES`.
    #[inline(always)]
    fn store_some(vector: Self::Vector, values: &mut [f32], count: usize) {
        if count >= Self::LANES {
            return Self::store(vector, values);
        }
        let mut some = [0.0; 16];
        Self::store(vector, &mut some);
        values[..count].copy_from_slice(&some[..count]);
    }
}

/// Code that is compiled for each instruction set. Everything it calls must be `#[inline(always)]`; other functions are compiled
/// for the baseline processor.
pub(crate) trait Kernel {
    type Output;

    fn run<I: Instructions>(self) -> Self::Output;
}

/// Portable fallback for any processor.
pub(crate) struct Plain;

impl Instructions for Plain {
    type Vector = [f32; 4];
    const LANES: usize = 4;

    #[inline(always)]
    fn splat(value: f32) -> [f32; 4] {
        [value; 4]
    }

    #[inline(always)]
    fn load(values: &[f32]) -> [f32; 4] {
        [values[0], values[1], values[2], values[3]]
    }

    #[inline(always)]
    fn store(vector: [f32; 4], values: &mut [f32]) {
        values[..4].copy_from_slice(&vector);
    }

    #[inline(always)]
    fn add(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|lane| a[lane] + b[lane])
    }

    #[inline(always)]
    fn sub(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|lane| a[lane] - b[lane])
    }

    #[inline(always)]
    fn mul(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|lane| a[lane] * b[lane])
    }

    #[inline(always)]
    fn div(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|lane| a[lane] / b[lane])
    }

    #[inline(always)]
    fn min(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|lane| a[lane].min(b[lane]))
    }

    #[inline(always)]
    fn max(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|lane| a[lane].max(b[lane]))
    }

    #[inline(always)]
    fn fused(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|lane| a[lane] * b[lane] + c[lane])
    }

    #[inline(always)]
    fn power_of_two(shifted: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|lane| f32::from_bits((shifted[lane].to_bits() << 23).wrapping_add(1f32.to_bits())))
    }

    #[inline(always)]
    fn load_halves(values: &[u16]) -> [f32; 4] {
        [values[0], values[1], values[2], values[3]].map(crate::similarity::from_half)
    }

    #[inline(always)]
    fn product_of_bytes(a: &[i8], b: &[i8]) -> i32 {
        a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
    }

    #[inline(always)]
    fn prefetch<T>(_values: &[T]) {}
}

/// Implements [`Instructions`] with x86 intrinsics, about one per operation.
#[cfg(target_arch = "x86_64")]
macro_rules! x86 {
    ($name:ident, $vector:ident, $lanes:literal, $splat:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident, $div:ident,
     $min:ident, $max:ident, $fused:ident, $bits:ident, $numbers:ident, $shift:ident, $sum:ident, $one:ident,
     $halves:ident, $half_load:ident, $half:ty, $bytes:literal, $wide:ident, $byte_load:ident, $byte:ty, $pairs:ident, $none:ident, $all:ident) => {
        struct $name;

        // SAFETY, for every intrinsic below: the processor supports it, as the trait requires; pointers come from slices that
        // have been checked to hold a vector, and need not be aligned.
        impl Instructions for $name {
            type Vector = $vector;
            const LANES: usize = $lanes;

            #[inline(always)]
            fn splat(value: f32) -> $vector {
                unsafe { $splat(value) }
            }

            #[inline(always)]
            fn load(values: &[f32]) -> $vector {
                let values = &values[..$lanes];
                unsafe { $load(values.as_ptr()) }
            }

            #[inline(always)]
            fn store(vector: $vector, values: &mut [f32]) {
                let values = &mut values[..$lanes];
                unsafe { $store(values.as_mut_ptr(), vector) }
            }

            #[inline(always)]
            fn add(a: $vector, b: $vector) -> $vector {
                unsafe { $add(a, b) }
            }

            #[inline(always)]
            fn sub(a: $vector, b: $vector) -> $vector {
                unsafe { $sub(a, b) }
            }

            #[inline(always)]
            fn mul(a: $vector, b: $vector) -> $vector {
                unsafe { $mul(a, b) }
            }

            #[inline(always)]
            fn div(a: $vector, b: $vector) -> $vector {
                unsafe { $div(a, b) }
            }

            #[inline(always)]
            fn min(a: $vector, b: $vector) -> $vector {
                unsafe { $min(a, b) }
            }

            #[inline(always)]
            fn max(a: $vector, b: $vector) -> $vector {
                unsafe { $max(a, b) }
            }

            #[inline(always)]
            fn fused(a: $vector, b: $vector, c: $vector) -> $vector {
                unsafe { $fused(a, b, c) }
            }

            #[inline(always)]
            fn power_of_two(shifted: $vector) -> $vector {
                unsafe { $numbers($sum($shift::<23>($bits(shifted)), $one(1f32.to_bits() as i32))) }
            }

            #[inline(always)]
            fn load_halves(values: &[u16]) -> $vector {
                let values = &values[..$lanes];
                unsafe { $halves($half_load(values.as_ptr().cast::<$half>())) }
            }

            #[inline(always)]
            fn product_of_bytes(a: &[i8], b: &[i8]) -> i32 {
                let n = a.len().min(b.len());
                let whole = n / $bytes * $bytes;
                let load = |values: &[i8]| {
                    let values = &values[..$bytes];
                    unsafe { $wide($byte_load(values.as_ptr().cast::<$byte>())) }
                };
                let mut sums = unsafe { $none() };
                for at in (0..whole).step_by($bytes) {
                    sums = unsafe { $sum(sums, $pairs(load(&a[at..]), load(&b[at..]))) };
                }
                unsafe { $all(sums) + Plain::product_of_bytes(&a[whole..n], &b[whole..n]) }
            }

            #[inline(always)]
            fn prefetch<T>(values: &[T]) {
                let n_bytes = std::mem::size_of_val(values).min(2048);
                for at in (0..n_bytes).step_by(64) {
                    unsafe { _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().cast::<i8>().add(at)) }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::is_x86_feature_detected as has;
    #[allow(clippy::wildcard_imports)] // Some forty intrinsics, each named once below.
    use std::arch::x86_64::*;

    use super::{Instructions, Kernel, Plain};

    x86!(
        Avx2,
        __m256,
        8,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_add_ps,
        _mm256_sub_ps,
        _mm256_mul_ps,
        _mm256_div_ps,
        _mm256_min_ps,
        _mm256_max_ps,
        _mm256_fmadd_ps,
        _mm256_castps_si256,
        _mm256_castsi256_ps,
        _mm256_slli_epi32,
        _mm256_add_epi32,
        _mm256_set1_epi32,
        _mm256_cvtph_ps,
        _mm_loadu_si128,
        __m128i,
        16,
        _mm256_cvtepi8_epi16,
        _mm_loadu_si128,
        __m128i,
        _mm256_madd_epi16,
        _mm256_setzero_si256,
        sum_of_eight
    );
    x86!(
        Avx512,
        __m512,
        16,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_add_ps,
        _mm512_sub_ps,
        _mm512_mul_ps,
        _mm512_div_ps,
        _mm512_min_ps,
        _mm512_max_ps,
        _mm512_fmadd_ps,
        _mm512_castps_si512,
        _mm512_castsi512_ps,
        _mm512_slli_epi32,
        _mm512_add_epi32,
        _mm512_set1_epi32,
        _mm512_cvtph_ps,
        _mm256_loadu_si256,
        __m256i,
        32,
        _mm512_cvtepi8_epi16,
        _mm256_loadu_si256,
        __m256i,
        _mm512_madd_epi16,
        _mm512_setzero_si512,
        _mm512_reduce_add_epi32
    );

    /// # Safety
    /// The processor must support AVX2.
    #[inline(always)]
    unsafe fn sum_of_eight(sums: __m256i) -> i32 {
        let mut lanes = [0i32; 8];
        // SAFETY: the caller guarantees AVX2, and `lanes` has the size of the vector.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast::<__m256i>(), sums) };
        lanes.iter().sum()
    }

    fn has_avx2() -> bool {
        has!("avx2") && has!("fma") && has!("f16c")
    }

    pub fn dispatch<K: Kernel>(kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx2,fma,f16c")]
        fn wide<K: Kernel>(kernel: K) -> K::Output {
            kernel.run::<Avx512>()
        }
        #[target_feature(enable = "avx2,fma,f16c")]
        fn half<K: Kernel>(kernel: K) -> K::Output {
            kernel.run::<Avx2>()
        }
        if has!("avx512f") && has!("avx512bw") && has_avx2() {
            // SAFETY: the features have just been detected.
            return unsafe { wide(kernel) };
        }
        if has_avx2() {
            // SAFETY: as above.
            return unsafe { half(kernel) };
        }
        kernel.run::<Plain>()
    }

    /// Runs a kernel with each instruction set that the processor supports.
    #[cfg(test)]
    pub fn each<K: Kernel + Clone>(kernel: K) -> Vec<K::Output> {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn half<K: Kernel>(kernel: K) -> K::Output {
            kernel.run::<Avx2>()
        }
        let mut outputs = vec![kernel.clone().run::<Plain>(), dispatch(kernel.clone())];
        if has_avx2() {
            // SAFETY: the features have just been detected.
            outputs.push(unsafe { half(kernel) });
        }
        outputs
    }
}

/// Runs a kernel with the widest vectors that the processor supports.
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    return x86::dispatch(kernel);
    #[cfg(not(target_arch = "x86_64"))]
    kernel.run::<Plain>()
}

/// Runs a kernel with each instruction set that the processor supports.
#[cfg(test)]
pub(crate) fn each<K: Kernel + Clone>(kernel: K) -> Vec<K::Output> {
    #[cfg(target_arch = "x86_64")]
    return x86::each(kernel);
    #[cfg(not(target_arch = "x86_64"))]
    vec![kernel.run::<Plain>()]
}
