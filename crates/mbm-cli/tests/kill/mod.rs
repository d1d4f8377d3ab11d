//! Kills runs at exact changes of the file system and resumes them: they must end in the same files as an uninterrupted run, byte
//! for byte.
//!
//! A shim preloaded before the C library (`shim.c`) counts the changes and sends SIGKILL at one of them, so the program is the
//! one that users run and the moments are exact: in the middle of a write, between two renames. An uninterrupted run lists its
//! changes; the moments are spread evenly over the changes to checkpoints, bundle, results, index and cache.

mod cases;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cases::{Case, Kind};

/// Moments per model in the full matrix, and in the ordinary test.
const MOMENTS: usize = 50;
const FEW_MOMENTS: usize = 10;

/// Maximum difference in the number of changes between two runs.
const MARGIN: usize = 20;

/// The part of the output that a change belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Checkpoint,
    Bundle,
    Results,
    Index,
    Cache,
}

const PARTS: [Part; 5] = [Part::Checkpoint, Part::Bundle, Part::Results, Part::Index, Part::Cache];

/// A working folder whose paths are the same in every run, because an index stores the path of its model.
struct Sandbox {
    root: PathBuf,
    shim: PathBuf,
    case: Case,
    _folder: tempfile::TempDir,
}

impl Sandbox {
    fn new(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (source, shim) = (folder.path().join("shim.c"), folder.path().join("shim.so"));
        std::fs::write(&source, include_str!("shim.c")).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).args([&shim, &source]).arg("-ldl");
        assert!(compiler.status().unwrap().success(), "cc compiles the shim");
        let root = folder.path().join("work");
        std::fs::create_dir(&root).unwrap();
        let case = Case::new(kind, folder.path());
        Self { root, shim, case, _folder: folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn mbm(&self) -> Command {
        let binary = std::env::var("MBM_KILL_BINARY").unwrap_or(env!("CARGO_BIN_EXE_mbm").to_owned());
        let mut command = Command::new(binary);
        command.env("MBM_CACHE_DIR", self.path("cache")).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn train(&self, more: &[&str]) -> Command {
        let mut command = self.mbm();
        command.args(["train", "--quiet", "--config"]).arg(self.case.config());
        command.arg("--dataset").arg(self.case.dataset()).arg("--output-directory").arg(self.path("run")).args(more);
        command
    }

    fn index(&self) -> Command {
        let mut command = self.mbm();
        command.args(["index", "build", "--quiet", "--index"]).arg(self.path("index"));
        command.arg("--model-path").arg(self.path("run")).arg("--dataset").arg(self.case.dataset());
        command
    }

    /// Runs a command and returns the changes that it makes, as the parts they belong to.
    fn changes(&self, mut command: Command) -> Vec<Part> {
        let log = self.root.with_extension("log");
        whole(command.env("LD_PRELOAD", &self.shim).env("KILL_ROOT", &self.root).env("KILL_LOG", &log));
        let text = std::fs::read_to_string(&log).unwrap();
        std::fs::remove_file(&log).unwrap();
        text.lines().map(|line| part(line.rsplit(' ').next().unwrap())).collect()
    }

    /// Clears the folders, then kills a command before one of its changes, counted from 0. With parallel writers the number of
    /// changes varies a little between runs; if the command finishes first, an earlier change is used.
    fn kill(&self, command: impl Fn() -> Command, places: &[&str], change: usize) {
        let is_killed = |change: usize| {
            places.iter().for_each(|name| self.clear(name));
            let mut command = command();
            command.env("LD_PRELOAD", &self.shim).env("KILL_ROOT", &self.root).env("KILL_AT", (change + 1).to_string());
            let output = command.output().unwrap();
            let is_killed = output.status.signal() == Some(9);
            assert!(is_killed || output.status.success(), "change {change}: {}", String::from_utf8_lossy(&output.stderr));
            is_killed
        };
        assert!((0..=MARGIN.min(change)).any(|earlier| is_killed(change - earlier)), "change {change} is never reached");
    }

    /// Kills training runs and index builds at moments spread evenly over the parts, and compares their results.
    fn check(&self, n_moments: usize) {
        let of_training = self.changes(self.train(&[]));
        let of_index = self.changes(self.index());
        let (run, index, cache) = (tree(&self.path("run")), tree(&self.path("index")), self.cached());
        let chosen = moments(&of_training, &of_index, n_moments);
        assert!(PARTS.iter().all(|part| chosen.iter().any(|(of, _)| of == part)), "every part is covered: {chosen:?}");
        // The index needs the run, so its moments come first.
        for (_, change) in chosen.iter().filter(|(part, _)| *part == Part::Index) {
            self.kill(|| self.index(), &["index"], *change);
            // If it was killed after the final rename, the index is already complete.
            if !self.path("index/index.json").exists() {
                whole(&mut self.index());
            }
            assert_same(&tree(&self.path("index")), &index, &format!("index, change {change}"));
        }
        for (part, change) in chosen.iter().filter(|(part, _)| *part != Part::Index) {
            self.kill(|| self.train(&[]), &["run", "cache"], *change);
            whole(&mut self.train(&["--resume"]));
            assert_same(&tree(&self.path("run")), &run, &format!("{part:?}, change {change}"));
            assert_eq!(self.cached(), cache, "{part:?}, change {change}");
        }
        println!("{:?}: {} of {} changes killed", self.case.kind, chosen.len(), of_training.len() + of_index.len());
    }

    /// Returns the output of `mbm cache info`.
    fn cached(&self) -> String {
        let output = self.mbm().args(["cache", "info"]).stdout(Stdio::piped()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn clear(&self, name: &str) {
        let path = self.path(name);
        if path.exists() {
            std::fs::remove_dir_all(path).unwrap();
        }
    }
}

fn whole(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn part(path: &str) -> Part {
    let is_below = |name: &str| path.contains(&format!("/work/{name}"));
    match () {
        () if is_below("cache") => Part::Cache,
        () if is_below("index") => Part::Index,
        () if is_below("run/checkpoints") => Part::Checkpoint,
        () if is_below("run/model") => Part::Bundle,
        () => Part::Results,
    }
}

/// Selects the changes to kill at: equally many per part, spread evenly within it; parts with too few changes are made up for by
/// the others.
fn moments(of_training: &[Part], of_index: &[Part], n: usize) -> Vec<(Part, usize)> {
    let mut of_part: BTreeMap<Part, Vec<usize>> = BTreeMap::new();
    for changes in [of_training, of_index] {
        for (at, part) in
            changes.iter().enumerate().filter(|(_, part)| (**part == Part::Index) == std::ptr::eq(changes, of_index))
        {
            of_part.entry(*part).or_default().push(at);
        }
    }
    let mut counts: BTreeMap<Part, usize> = of_part.keys().map(|part| (*part, 0)).collect();
    for _ in 0..n {
        let open = counts.iter().filter(|(part, count)| **count < of_part[*part].len());
        let Some(part) = open.min_by_key(|(_, count)| **count).map(|(part, _)| *part) else { break };
        *counts.entry(part).or_default() += 1;
    }
    let spread = |(part, changes): (&Part, &Vec<usize>)| {
        let (part, n) = (*part, counts[part]);
        let at = |moment: usize| (part, changes[(2 * moment + 1) * changes.len() / (2 * n)]);
        (0..n).map(at).collect::<Vec<_>>()
    };
    of_part.iter().flat_map(spread).collect()
}

/// Reads every file below a folder. None contains a timestamp.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => drop(files.insert(path.strip_prefix(folder).unwrap().to_path_buf(), std::fs::read(&path).unwrap())),
            }
        }
    }
    files
}

fn assert_same(found: &BTreeMap<PathBuf, Vec<u8>>, expected: &BTreeMap<PathBuf, Vec<u8>>, moment: &str) {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{moment}");
    let differs = expected.iter().filter(|(name, bytes)| found[*name] != **bytes).map(|(name, _)| name).collect::<Vec<_>>();
    assert!(differs.is_empty(), "{moment}: {differs:?}");
}

/// Slower than the other tests: each moment takes two runs.
#[test]
fn run_killed_at_ten_moments_resumes_to_the_same_files() {
    Sandbox::new(Kind::Text).check(FEW_MOMENTS);
}

#[test]
#[ignore = "takes minutes; run by .ci/kill"]
fn kill_matrix_of_a_text_model() {
    Sandbox::new(Kind::Text).check(MOMENTS);
}

#[test]
#[ignore = "takes minutes; run by .ci/kill"]
fn kill_matrix_of_an_image_model() {
    Sandbox::new(Kind::Image).check(MOMENTS);
}

#[test]
#[ignore = "takes minutes; run by .ci/kill"]
fn kill_matrix_of_an_audio_model() {
    Sandbox::new(Kind::Sound).check(MOMENTS);
}

#[test]
#[ignore = "takes minutes; run by .ci/kill"]
fn kill_matrix_of_a_lora_model() {
    Sandbox::new(Kind::Lora).check(MOMENTS);
}
