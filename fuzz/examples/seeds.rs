//! Writes the seed inputs of the targets that need complete files written by mbm; `seeds.py` writes those of the other targets:
//! `cargo run -p mbm-fuzz --example seeds -- fuzz/corpus`

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let corpus = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "fuzz/corpus".to_owned()));
    let targets = [
        ("bundle", mbm_fuzz::bundle::seeds()),
        ("checkpoint", mbm_fuzz::checkpoint::seeds()),
        ("index", mbm_fuzz::index::seeds()),
        ("journal", mbm_fuzz::journal::seeds()),
        ("learners", mbm_fuzz::learners::seeds()),
    ];
    for (name, seeds) in targets {
        let folder = corpus.join(name);
        std::fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number:02}")), seed)?;
        }
        println!("{name} {}", seeds.len());
    }
    Ok(())
}
