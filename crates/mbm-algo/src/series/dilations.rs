//! The dilations of MiniRocket: from 1 up to where a kernel spans the reference length, evenly spaced in their logarithms.

use super::padded::N_TAPS;

/// Returns `(dilation, features per kernel)` in ascending order, for `n_features` features of each kernel in total (Dempster et al.
/// 2021, section 3.1.2, and the authors' code).
pub(super) fn dilations(reference_length: usize, n_features: usize, max_dilations: usize) -> Vec<(u32, u32)> {
    let n_exponents = max_dilations.clamp(1, n_features.max(1));
    let largest = (reference_length.max(N_TAPS) - 1) as f64 / (N_TAPS - 1) as f64;
    let mut found: Vec<(u32, usize)> = Vec::new();
    for dilation in exponents(largest.log2(), n_exponents).map(|exponent| exponent.exp2() as u32) {
        match found.last_mut() {
            Some((last, count)) if *last == dilation => *count += 1,
            _ => found.push((dilation, 1)),
        }
    }
    let scaled = |count: usize| (count as f64 * (n_features as f64 / n_exponents as f64)) as usize;
    let mut counts: Vec<usize> = found.iter().map(|(_, count)| scaled(*count)).collect();
    let n_missing = n_features.saturating_sub(counts.iter().sum());
    (0..n_missing).for_each(|at| counts[at % found.len()] += 1);
    found.iter().zip(counts).map(|((dilation, _), count)| (*dilation, count as u32)).collect()
}

/// Returns `n` evenly spaced numbers from 0 to `last`.
fn exponents(last: f64, n: usize) -> impl Iterator<Item = f64> {
    let step = last / (n - 1).max(1) as f64;
    (0..n).map(move |at| if at > 0 && at == n - 1 { last } else { at as f64 * step })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_series_has_one_dilation() {
        assert_eq!(dilations(1, 119, 32), [(1, 119)]);
        assert_eq!(dilations(9, 119, 32), [(1, 119)]);
    }

    proptest::proptest! {
        #[test]
        fn counts_sum_to_the_number_of_features_and_kernels_fit(
            length in 1usize..100_000, n_features in 1usize..200, max_dilations in 1usize..64,
        ) {
            let found = dilations(length, n_features, max_dilations);
            proptest::prop_assert_eq!(found.iter().map(|(_, count)| *count as usize).sum::<usize>(), n_features);
            proptest::prop_assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0));
            proptest::prop_assert!(found.iter().all(|(dilation, _)| *dilation >= 1 && 8 * (*dilation as usize) < length.max(9)));
        }
    }
}
