use mbm_algo::series::*;
use std::time::Instant;
fn main() {
    let values: Vec<Vec<f32>> =
        (0..20u32).map(|r| (0..1000u32).map(|t| ((t * (r + 3) * 7919 + t * t) % 1009) as f32 / 1009.0 - 0.5).collect()).collect();
    for c in [1, 4] {
        let rows: Vec<Series> = values.iter().map(|values| Series { values, n_channels: c }).collect();
        let t = Instant::now();
        let m = MiniRocket::fit(&rows, MiniRocketOptions::default(), 1).unwrap();
        let fit = t.elapsed().as_secs_f64();
        let t = Instant::now();
        let f = m.transform(&rows);
        println!(
            "minirocket {c}: fit {fit:.3} transform/row {:.2} ms {}",
            t.elapsed().as_secs_f64() * 50.0,
            f.iter().sum::<f32>()
        );
        let m = Hydra::fit(&rows, HydraOptions::default(), 1).unwrap();
        let t = Instant::now();
        let f = m.transform(&rows);
        println!("hydra {c}: transform/row {:.2} ms {}", t.elapsed().as_secs_f64() * 50.0, f.iter().sum::<f32>());
        let t = Instant::now();
        let f = summarize(&rows, c);
        println!("summary {c}: /row {:.2} ms {}", t.elapsed().as_secs_f64() * 50.0, f.len());
    }
}
