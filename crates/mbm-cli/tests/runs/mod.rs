//! Tests of run folders as users see them: which folder a run gets, errors on a full disk, files that are never overwritten.

use std::path::Path;
use std::process::{Command, Output};

use crate::{LINEAR, stderr, table};

/// Runs the command with a folder as its working directory.
fn mbm_in(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mbm")).args(args).current_dir(folder).output().unwrap()
}

fn config(folder: &Path) -> String {
    let path = folder.join("c.yaml");
    std::fs::write(&path, format!("{LINEAR} trainer: {{epochs: 2}}}}")).unwrap();
    path.display().to_string()
}

#[test]
fn runs_get_numbered_folders_and_resume_takes_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let (config, dataset) = (config(folder.path()), table(folder.path()));
    let train = |more: &[&str]| {
        let args = [&["train", "--config", &config, "--dataset", &dataset][..], more].concat();
        let output = mbm_in(folder.path(), &args);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), stderr(&output))
    };
    for name in ["results/rows", "results/rows-2", "results/rows-3"] {
        let (code, stdout, error) = train(&[]);
        assert_eq!(code, Some(0), "{error}");
        assert!(stdout.trim_end().ends_with(&format!("run folder {name}")), "{stdout}");
    }
    let (code, stdout, error) = train(&["--resume"]);
    assert!(code == Some(0) && stdout.trim_end().ends_with("results/rows-3"), "{stdout}{error}");
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
fn comparisons_get_numbered_folders_and_resume_on_request() {
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
fn file_size_limit_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (config, dataset) = (config(folder.path()), table(folder.path()));
    let mbm = env!("CARGO_BIN_EXE_mbm");
    // The report is larger than eight kilobytes; all files written before it are smaller.
    let script = format!("ulimit -f 16; exec {mbm} train --quiet --config {config} --dataset {dataset} --output-directory run");
    let output = Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{:?}: {}", output.status, stderr(&output));
    let error = stderr(&output);
    assert!(error.starts_with("error: run/") && error.contains("File too large"), "{error}");
    // Without the limit the run resumes.
    let args = ["train", "--quiet", "--config", &config, "--dataset", &dataset, "--output-directory", "run", "--resume"];
    assert_eq!(mbm_in(folder.path(), &args).status.code(), Some(0));
}

#[test]
fn full_disk_under_standard_error_does_not_end_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let (config, dataset) = (config(folder.path()), table(folder.path()));
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mbm"));
    command.args(["train", "--config", &config, "--dataset", &dataset, "--output-directory", "run"]);
    let status = command.current_dir(folder.path()).stderr(full).stdout(std::process::Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn init_overwrites_neither_files_nor_dangling_links() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = table(folder.path());
    std::os::unix::fs::symlink(folder.path().join("elsewhere"), folder.path().join("link.yaml")).unwrap();
    let output = mbm_in(folder.path(), &["init", "--dataset", &dataset, "--target", "price", "--output", "link.yaml"]);
    assert!(stderr(&output).contains("link.yaml exists; choose another file"), "{}", stderr(&output));
    assert!(!folder.path().join("elsewhere").exists());
}
