//! Functions of one number, without branches, so that loops over them become vector instructions.

/// `a * b + c`, by one instruction where there is one.
#[inline(always)]
pub(crate) fn fused<I: crate::Instructions>(a: f32, b: f32, c: f32) -> f32 {
    if I::FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// `e^x` to 2 units in the last place from -87 to 88, and what these give beyond.
#[inline(always)]
pub(crate) fn exp<I: crate::Instructions>(x: f32) -> f32 {
    // Adding and taking away this rounds to a whole number: there is no room for a fraction behind it.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 as a number of few bits, whose multiples are exact, and the rest.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let power = x * std::f32::consts::LOG2_E + ROUND - ROUND;
    let rest = fused::<I>(power, -LN2_HIGH, x);
    let rest = fused::<I>(power, -LN2_LOW, rest);
    // Taylor's series to the seventh power; `rest` is at most 0.35.
    let mut sum = 1.0 / 5040.0;
    sum = fused::<I>(sum, rest, 1.0 / 720.0);
    sum = fused::<I>(sum, rest, 1.0 / 120.0);
    sum = fused::<I>(sum, rest, 1.0 / 24.0);
    sum = fused::<I>(sum, rest, 1.0 / 6.0);
    sum = fused::<I>(sum, rest, 0.5);
    sum = fused::<I>(sum, rest, 1.0);
    sum = fused::<I>(sum, rest, 1.0);
    // Two to a whole power is that power as an exponent.
    sum * f32::from_bits(((power as i32 + 127) << 23) as u32)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid<I: crate::Instructions>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<I>(-x))
}

/// The hyperbolic tangent, to 2e-7.
#[inline(always)]
pub(crate) fn tanh<I: crate::Instructions>(x: f32) -> f32 {
    2.0 * sigmoid::<I>(2.0 * x) - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Instructions, Kernel, dispatch};

    struct Each(f32);
    impl Kernel for Each {
        type Output = [f32; 3];
        #[inline(always)]
        fn run<I: Instructions>(self) -> [f32; 3] {
            [exp::<I>(self.0), sigmoid::<I>(self.0), tanh::<I>(self.0)]
        }
    }

    #[test]
    fn functions_are_those_of_the_library_in_more_digits() {
        for step in -20_000..=20_000 {
            let x = step as f32 * 0.004;
            for [exp, sigmoid, tanh] in [dispatch(Each(x)), crate::dispatch::plain(Each(x))] {
                let wide = f64::from(x);
                assert!((f64::from(exp) / wide.exp() - 1.0).abs() < 2.5e-7, "exp({x}) = {exp}");
                assert!((f64::from(sigmoid) - 1.0 / (1.0 + (-wide).exp())).abs() < 1.5e-7, "sigmoid({x}) = {sigmoid}");
                assert!((f64::from(tanh) - wide.tanh()).abs() < 3e-7, "tanh({x}) = {tanh}");
            }
        }
        let [exp, sigmoid, tanh] = dispatch(Each(-1e30));
        assert!(exp < 1e-37 && sigmoid < 1e-37 && tanh == -1.0);
        assert!(dispatch(Each(1e30))[0].is_finite());
    }
}
