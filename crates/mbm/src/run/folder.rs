//! The run folder: its lock, the files in it, and how a run that names no folder gets one.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use mbm_data::{DataError, Lock, recover, remove};
use mbm_train::Checkpoints;

use crate::error::Error;
use crate::run::manifest::ResumeError;

/// How a run folder is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The folder must not hold a run.
    New,
    /// Takes the first free folder of `<folder>`, `<folder>-2`, `<folder>-3` and so on.
    Numbered,
    /// Deletes the files of an earlier run; other files stay.
    Overwrite,
    /// Resumes the run in the folder from its last checkpoint, if there is one.
    Resume,
    /// Resumes the run in the last of the numbered folders that hold one.
    ResumeLatest,
}

/// A run folder, locked against other processes.
#[derive(Debug)]
pub(crate) struct RunFolder {
    pub path: PathBuf,
    /// Whether there is a run to resume.
    pub resumes: bool,
    _lock: Lock,
}

/// The inputs of a run, written before it starts.
pub(crate) const DESCRIPTION: &str = "description.json";
pub(crate) const CONFIG: &str = "config.yaml";
pub(crate) const MEDIA: &str = "media.hashes";

/// The results of a run.
pub(crate) const MODEL: &str = "model";
pub(crate) const TRAINING_STATISTICS: &str = "training_statistics.json";
pub(crate) const TEST_STATISTICS: &str = "test_statistics.json";
pub(crate) const PREDICTIONS: &str = "predictions.parquet";
pub(crate) const REPORT: &str = "report.html";
pub(crate) const LEADERBOARD: &str = "leaderboard.json";
pub(crate) const OUT_OF_FOLD: &str = "out_of_fold.parquet";
const RESULTS: [&str; 7] = [MODEL, TRAINING_STATISTICS, TEST_STATISTICS, PREDICTIONS, REPORT, LEADERBOARD, OUT_OF_FOLD];

/// The checkpoint folder and its contents; earlier versions stored the best model next to the last checkpoint.
const CHECKPOINTS: &str = "checkpoints";
const IN_CHECKPOINTS: [&str; 5] = ["last", "folds", "learners", "best.safetensors", "best.tmp.safetensors"];

/// Suffixes of files that are in place, being written, and being replaced.
const ENDINGS: [&str; 3] = ["", ".tmp", ".old"];

impl RunFolder {
    /// Opens and locks the folder that `start` selects, or returns why it cannot.
    pub fn enter(folder: &Path, start: Start) -> Result<Self, Error> {
        choose(folder, start, holds_run, Self::take)
    }

    fn take(folder: &Path, start: Start) -> Result<Self, Error> {
        if folder.is_file() {
            let error = std::io::Error::new(ErrorKind::NotADirectory, "this is a file; name a folder for the run");
            return Err(Error::io(folder)(error));
        }
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let lock = Lock::of(folder)?;
        let holds_run = holds_run(folder);
        if holds_run && matches!(start, Start::New | Start::Numbered) {
            return Err(Error::RunExists(folder.to_path_buf()));
        }
        let checkpoints = checkpoints(folder);
        let resumes = matches!(start, Start::Resume | Start::ResumeLatest) && holds_run;
        if resumes && !checkpoints.exist() {
            return Err(Error::CannotResume { folder: folder.to_path_buf(), source: ResumeError::NoCheckpoint });
        }
        if resumes {
            checkpoints.recover()?;
            recover(&folder.join(MODEL))?;
        }
        Ok(Self { path: folder.to_path_buf(), resumes, _lock: lock })
    }

    /// Deletes the files of an earlier run before a new one starts. Called only once the inputs of the new run have been read, so
    /// that a mistake in them does not cost the earlier run.
    pub fn make_room(&self) -> Result<(), Error> {
        if self.resumes {
            return Ok(());
        }
        let checkpoints = self.path.join(CHECKPOINTS);
        if checkpoints.is_symlink() {
            // The link belongs to the run; its target may not.
            remove(&checkpoints).map_err(Error::io(&checkpoints))?;
        } else {
            remove_all(&checkpoints, &IN_CHECKPOINTS)?;
        }
        remove_all(&self.path, &RESULTS)?;
        remove_all(&self.path, &[DESCRIPTION, CONFIG, MEDIA])
    }
}

fn remove_all(folder: &Path, names: &[&str]) -> Result<(), Error> {
    let mut paths = names.iter().flat_map(|name| ENDINGS.map(|ending| folder.join(format!("{name}{ending}"))));
    paths.try_for_each(|path| remove(&path).map_err(Error::io(path)))
}

/// Opens the folder that `start` selects, through `take`, which decides under the folder's lock whether it is free.
pub(crate) fn choose<T>(
    folder: &Path,
    start: Start,
    holds_run: impl Fn(&Path) -> bool,
    take: impl Fn(&Path, Start) -> Result<T, Error>,
) -> Result<T, Error> {
    match start {
        Start::New | Start::Overwrite | Start::Resume => take(folder, start),
        Start::ResumeLatest => {
            let latest = numbers(folder).into_iter().rev().map(|number| numbered(folder, number)).find(|path| holds_run(path));
            take(&latest.ok_or_else(|| Error::NothingToResume(folder.to_path_buf()))?, Start::Resume)
        }
        Start::Numbered => {
            let mut number = numbers(folder).last().copied().unwrap_or(1);
            loop {
                match take(&numbered(folder, number), start) {
                    Err(Error::RunExists(_) | Error::Data(DataError::Busy { .. })) => number += 1,
                    taken => return taken,
                }
            }
        }
    }
}

/// Returns the checkpoints of the run in a folder.
pub(crate) fn checkpoints(folder: &Path) -> Checkpoints {
    Checkpoints { folder: folder.join(CHECKPOINTS) }
}

/// Whether a folder holds checkpoints or results of a run; the inputs of a run alone do not count.
pub(crate) fn holds_run(folder: &Path) -> bool {
    let in_checkpoints = IN_CHECKPOINTS.map(|name| folder.join(CHECKPOINTS).join(name));
    let results = RESULTS.map(|name| folder.join(name));
    let mut paths = in_checkpoints.into_iter().chain(results).flat_map(|path| {
        let mut old = path.clone().into_os_string();
        old.push(".old");
        [path, PathBuf::from(old)]
    });
    paths.any(|path| std::fs::symlink_metadata(path).is_ok())
}

fn numbered(folder: &Path, number: u64) -> PathBuf {
    if number == 1 {
        return folder.to_path_buf();
    }
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    folder.with_file_name(name)
}

/// Returns the numbers of the existing folders in ascending order; the folder itself is number 1.
fn numbers(folder: &Path) -> Vec<u64> {
    let Some(name) = folder.file_name().and_then(|name| name.to_str()) else { return Vec::new() };
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A parent that is missing or unreadable has no folders to choose from.
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| {
        let rest = entry.file_name().to_str()?.strip_prefix(name)?.to_owned();
        if rest.is_empty() { Some(1) } else { rest.strip_prefix('-')?.parse::<u64>().ok().filter(|it| *it > 1) }
    });
    let mut found: Vec<u64> = numbers.collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finish(folder: &Path) {
        std::fs::write(folder.join(REPORT), "").unwrap();
    }

    #[test]
    fn numbered_runs_get_successive_folders_and_resume_the_last() {
        let results = tempfile::tempdir().unwrap();
        let base = results.path().join("deep/houses");
        let name = |entered: &RunFolder| entered.path.file_name().unwrap().to_str().unwrap().to_owned();
        let first = RunFolder::enter(&base, Start::Numbered).unwrap();
        let second = RunFolder::enter(&base, Start::Numbered).unwrap();
        assert_eq!([name(&first), name(&second)], ["houses", "houses-2"], "a folder in use is skipped");
        finish(&second.path);
        drop((first, second));
        let third = RunFolder::enter(&base, Start::Numbered).unwrap();
        assert_eq!(name(&third), "houses-3");
        drop(third);
        assert_eq!(name(&RunFolder::enter(&base, Start::Numbered).unwrap()), "houses-3", "it holds no run yet");
        let error = RunFolder::enter(&base, Start::ResumeLatest).unwrap_err().to_string();
        assert!(error.contains("houses-2: it holds no checkpoint"), "{error}");
        let error = RunFolder::enter(&results.path().join("tips"), Start::ResumeLatest).unwrap_err().to_string();
        assert!(error.contains("no run to resume"), "{error}");
    }

    #[test]
    fn run_folder_is_locked_against_other_processes() {
        let results = tempfile::tempdir().unwrap();
        let first = RunFolder::enter(results.path(), Start::New).unwrap();
        for start in [Start::New, Start::Overwrite, Start::Resume] {
            let error = RunFolder::enter(results.path(), start).unwrap_err();
            assert!(matches!(error, Error::Data(DataError::Busy { .. })), "{error}");
        }
        drop(first);
        RunFolder::enter(results.path(), Start::New).unwrap();
    }

    #[test]
    fn file_in_place_of_the_folder_is_an_error() {
        let results = tempfile::tempdir().unwrap();
        let file = results.path().join("houses.csv");
        std::fs::write(&file, "").unwrap();
        let error = RunFolder::enter(&file, Start::New).unwrap_err().to_string();
        assert_eq!(error, format!("{}: this is a file; name a folder for the run", file.display()));
    }

    #[test]
    fn stale_best_model_counts_as_a_run() {
        let results = tempfile::tempdir().unwrap();
        let checkpoints = results.path().join(CHECKPOINTS);
        std::fs::create_dir(&checkpoints).unwrap();
        std::fs::write(checkpoints.join("best.safetensors"), "stale").unwrap();
        assert!(matches!(RunFolder::enter(results.path(), Start::New), Err(Error::RunExists(_))));
        assert!(matches!(RunFolder::enter(results.path(), Start::Resume), Err(Error::CannotResume { .. })));
        RunFolder::enter(results.path(), Start::Overwrite).unwrap().make_room().unwrap();
        assert!(!holds_run(results.path()));
    }

    #[test]
    fn make_room_removes_only_files_of_runs() {
        let (results, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let own =
            ["model/bundle.json", "checkpoints/last/model.bpk", "checkpoints/last.old/x", "report.html", "config.yaml", MEDIA];
        let unrelated = ["notes.txt", "checkpoints/mine", "model-of-others/a", "report.html.bak"];
        for name in own.iter().chain(&unrelated) {
            let path = results.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        std::fs::write(elsewhere.path().join("kept"), "").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), results.path().join("model.old")).unwrap();
        RunFolder::enter(results.path(), Start::Overwrite).unwrap().make_room().unwrap();
        assert!(own.iter().all(|name| !results.path().join(name).exists()));
        assert!(unrelated.iter().all(|name| results.path().join(name).exists()));
        assert!(elsewhere.path().join("kept").exists() && !results.path().join("model.old").is_symlink());
    }
}
