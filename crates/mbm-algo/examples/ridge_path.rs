//! Times ridge regression with 13 penalties and the truncated SVD on random rows: `ridge_path N_ROWS N_COLS N_TARGETS`.

use std::error::Error;
use std::time::Instant;

use mbm_algo::linear::{NumberedRows, RidgePath};
use mbm_algo::{Matrix, TruncatedSvd};
use rand::{RngExt, SeedableRng};
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let sizes: Vec<usize> = std::env::args().skip(1).map(|it| it.parse()).collect::<Result<_, _>>()?;
    let [n_rows, n_cols, n_targets] = sizes[..] else { return Err("usage: ridge_path N_ROWS N_COLS N_TARGETS".into()) };
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    let mut numbers = |n: usize| (0..n).map(|_| rng.random::<f32>() - 0.5).collect::<Vec<f32>>();
    let (x, y) = (numbers(n_rows * n_cols), numbers(n_rows * n_targets));
    let x = Matrix { data: &x, n_cols };
    let alphas: Vec<f64> = (-6..=6).map(|power| 10f64.powf(f64::from(power) / 2.0)).collect();
    let started = Instant::now();
    let rows = NumberedRows { rows: x.into(), targets: Matrix { data: &y, n_cols: n_targets }, sample_weights: None };
    let path = RidgePath::new(rows, &alphas)?;
    println!("{}", json!({ "step": "path", "exact": path.leave_one_out.is_some(), "seconds": started.elapsed().as_secs_f64() }));
    let started = Instant::now();
    let model = path.model(1.0);
    println!("{}", json!({ "step": "model", "weight": model.weights[0], "seconds": started.elapsed().as_secs_f64() }));
    let started = Instant::now();
    let svd = TruncatedSvd::fit(x.into(), 64, &mut rng)?;
    println!("{}", json!({ "step": "svd", "components": svd.n_components(), "seconds": started.elapsed().as_secs_f64() }));
    Ok(())
}
