//! One kernel for several instruction sets.

/// A set of instructions that kernels are compiled for.
pub(crate) trait Instructions {
    /// Numbers in a vector register.
    const LANES: usize;
    /// Whether a product and a sum are one instruction.
    const FUSED: bool;
}

/// Work that is compiled for each set. Everything that it calls must be `#[inline(always)]`: what is not becomes part of the kernel with
/// the instructions of any processor.
pub(crate) trait Kernel {
    type Output;

    fn run<I: Instructions>(self) -> Self::Output;
}

struct Any;
impl Instructions for Any {
    const LANES: usize = 4;
    const FUSED: bool = false;
}

#[cfg(target_arch = "x86_64")]
struct Avx2;
#[cfg(target_arch = "x86_64")]
impl Instructions for Avx2 {
    const LANES: usize = 8;
    const FUSED: bool = true;
}

#[cfg(target_arch = "x86_64")]
struct Avx512;
#[cfg(target_arch = "x86_64")]
impl Instructions for Avx512 {
    const LANES: usize = 16;
    const FUSED: bool = true;
}

/// Runs a kernel with the widest instructions that the processor has.
#[cfg(target_arch = "x86_64")]
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    fn wide<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx512>()
    }
    #[target_feature(enable = "avx2,fma")]
    fn half<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx2>()
    }
    use std::arch::is_x86_feature_detected as has;
    if has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") && has!("avx2") && has!("fma") {
        // SAFETY: the processor has just said that it has these instructions.
        return unsafe { wide(kernel) };
    }
    if has!("avx2") && has!("fma") {
        // SAFETY: likewise.
        return unsafe { half(kernel) };
    }
    kernel.run::<Any>()
}

/// Runs a kernel with the instructions that every processor of this kind has.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Any>()
}

/// Runs a kernel with the instructions that every processor has: what tests compare with.
#[cfg(test)]
pub(crate) fn plain<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Any>()
}
