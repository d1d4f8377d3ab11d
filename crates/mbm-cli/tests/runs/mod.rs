//! Run folders as a user meets them: which one a run gets, what a full disk says, what is never overwritten.

use std::path::Path;
use std::process::{Command, Output};

use crate::{LINEAR, stderr, table};

/// Runs the command in a folder.
fn mbm_in(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mbm")).args(args).current_dir(folder).output().unwrap()
}

fn config(folder: &Path) -> String {
    let path = folder.join("c.yaml");
    std::fs::write(&path, format!("{LINEAR} trainer: {{epochs: 2}}}}")).unwrap();
    path.display().to_string()
}

#[test]
fn runs_without_a_folder_get_numbered_ones_and_resume_takes_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let (config, dataset) = (config(folder.path()), table(folder.path()));
    let train = |more: &[&str]| {
        let args = [&["train", "--config", &config, "--dataset", &dataset][..], more].concat();
        let output = mbm_in(folder.path(), &args);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), stderr(&output))
    };
    for name in ["results/rows", "results/rows-2", "results/rows-3"] {
        let (code, said, error) = train(&[]);
        assert_eq!(code, Some(0), "{error}");
        assert!(said.trim_end().ends_with(&format!("run folder {name}")), "{said}");
    }
    let (code, said, error) = train(&["--resume"]);
    assert!(code == Some(0) && said.trim_end().ends_with("results/rows-3"), "{said}{error}");
    let (code, _, error) = train(&["--overwrite"]);
    assert!(code == Some(2) && error.contains("--output-directory"), "{error}");
    std::fs::write(folder.path().join("results/rows/notes.txt"), "mine").unwrap();
    let before = std::fs::metadata(folder.path().join("results/rows/report.html")).unwrap().modified().unwrap();
    let (code, _, error) = train(&["--overwrite", "--output-directory", "results/rows"]);
    assert_eq!(code, Some(0), "{error}");
    assert_ne!(std::fs::metadata(folder.path().join("results/rows/report.html")).unwrap().modified().unwrap(), before);
    assert_eq!(std::fs::read_to_string(folder.path().join("results/rows/notes.txt")).unwrap(), "mine");
}

#[test]
fn comparisons_get_numbered_folders_and_go_on_only_when_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let (config, dataset) = (config(folder.path()), table(folder.path()));
    let compare = |more: &[&str]| {
        let args = ["compare", "--config", &config, "--dataset", &dataset, "--combiners", "concat", "--json"];
        mbm_in(folder.path(), &[&args[..], more].concat())
    };
    for name in ["results/compare", "results/compare-2"] {
        let output = compare(&[]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(folder.path().join(name).join("concat/report.html").is_file(), "{name}");
    }
    let output = compare(&["--output-directory", "results/compare"]);
    assert!(stderr(&output).contains("already holds a run"), "{}", stderr(&output));
    assert_eq!(compare(&["--resume"]).status.code(), Some(0));
    assert!(!folder.path().join("results/compare-3").exists());
}

#[test]
fn a_file_that_may_grow_no_further_is_an_error_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let (config, dataset) = (config(folder.path()), table(folder.path()));
    let mbm = env!("CARGO_BIN_EXE_mbm");
    // The report is larger than eight kilobytes, everything before it is smaller.
    let script = format!("ulimit -f 16; exec {mbm} train --quiet --config {config} --dataset {dataset} --output-directory run");
    let output = Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{:?}: {}", output.status, stderr(&output));
    let error = stderr(&output);
    assert!(error.starts_with("error: run/") && error.contains("File too large"), "{error}");
    // With room again it goes on.
    let args = ["train", "--quiet", "--config", &config, "--dataset", &dataset, "--output-directory", "run", "--resume"];
    assert_eq!(mbm_in(folder.path(), &args).status.code(), Some(0));
}

#[test]
fn a_full_disk_under_standard_error_ends_no_run() {
    let folder = tempfile::tempdir().unwrap();
    let (config, dataset) = (config(folder.path()), table(folder.path()));
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mbm"));
    command.args(["train", "--config", &config, "--dataset", &dataset, "--output-directory", "run"]);
    let status = command.current_dir(folder.path()).stderr(full).stdout(std::process::Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn init_writes_over_nothing_not_even_a_link_to_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = table(folder.path());
    std::os::unix::fs::symlink(folder.path().join("elsewhere"), folder.path().join("link.yaml")).unwrap();
    let output = mbm_in(folder.path(), &["init", "--dataset", &dataset, "--target", "price", "--output", "link.yaml"]);
    assert!(stderr(&output).contains("link.yaml exists; name another file"), "{}", stderr(&output));
    assert!(!folder.path().join("elsewhere").exists());
}
