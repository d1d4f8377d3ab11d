//! Vector functions: branch-free elementwise functions and reductions.

use crate::Instructions;

/// `e^x` to 2 units in the last place; `x` is clamped to -87 and 88.
#[inline(always)]
pub(crate) fn exp<I: Instructions>(x: I::Vector) -> I::Vector {
    // 1.5 * 2^23: adding it rounds to an integer, because no mantissa bits are left for a fraction.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 split into a high part of few bits, whose multiples are exact, and the remainder.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Taylor coefficients 1 / 7! to 1 / 0!; the reduced argument is at most 0.35 in magnitude.
    const SERIES: [f32; 8] = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    let x = I::min(I::max(x, I::splat(-87.0)), I::splat(88.0));
    let shifted = I::add(I::mul(x, I::splat(std::f32::consts::LOG2_E)), I::splat(ROUND));
    let power = I::sub(shifted, I::splat(ROUND));
    let rest = I::fused(power, I::splat(-LN2_HIGH), x);
    let rest = I::fused(power, I::splat(-LN2_LOW), rest);
    let mut sum = I::splat(SERIES[0]);
    for term in &SERIES[1..] {
        sum = I::fused(sum, rest, I::splat(*term));
    }
    I::mul(sum, I::power_of_two(shifted))
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid<I: Instructions>(x: I::Vector) -> I::Vector {
    let one = I::splat(1.0);
    I::div(one, I::add(one, exp::<I>(I::sub(I::splat(0.0), x))))
}

/// The hyperbolic tangent, with an absolute error below 3e-7.
#[inline(always)]
pub(crate) fn tanh<I: Instructions>(x: I::Vector) -> I::Vector {
    I::sub(I::mul(I::splat(2.0), sigmoid::<I>(I::add(x, x))), I::splat(1.0))
}

/// Returns the sum of the lanes of a vector.
#[inline(always)]
pub(crate) fn total<I: Instructions>(vector: I::Vector) -> f32 {
    let mut lanes = [0.0; 16];
    I::store(vector, &mut lanes);
    lanes[..I::LANES].iter().sum()
}

/// Returns the largest lane of a vector.
#[inline(always)]
pub(crate) fn largest<I: Instructions>(vector: I::Vector) -> f32 {
    let mut lanes = [0.0; 16];
    I::store(vector, &mut lanes);
    lanes[..I::LANES].iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kernel;
    use crate::dispatch::each;

    #[derive(Clone)]
    struct Functions(f32);
    impl Kernel for Functions {
        type Output = [f32; 3];
        #[inline(always)]
        fn run<I: Instructions>(self) -> [f32; 3] {
            let x = I::splat(self.0);
            [exp::<I>(x), sigmoid::<I>(x), tanh::<I>(x)].map(|vector| {
                let mut values = [0.0; 16];
                I::store(vector, &mut values);
                values[I::LANES - 1]
            })
        }
    }

    #[test]
    fn functions_match_the_standard_library() {
        for step in -20_000..=20_000 {
            let x = step as f32 * 0.004;
            for [exp, sigmoid, tanh] in each(Functions(x)) {
                let wide = f64::from(x);
                assert!((f64::from(exp) / wide.exp() - 1.0).abs() < 2.5e-7, "exp({x}) = {exp}");
                assert!((f64::from(sigmoid) - 1.0 / (1.0 + (-wide).exp())).abs() < 1.5e-7, "sigmoid({x}) = {sigmoid}");
                assert!((f64::from(tanh) - wide.tanh()).abs() < 3e-7, "tanh({x}) = {tanh}");
            }
        }
        for [exp, sigmoid, tanh] in each(Functions(-1e30)) {
            assert!(exp < 1e-37 && sigmoid < 1e-37 && tanh == -1.0);
        }
        assert!(each(Functions(1e30)).iter().all(|[exp, _, _]| exp.is_finite()));
    }
}
