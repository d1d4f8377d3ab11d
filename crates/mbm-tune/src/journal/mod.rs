//! The journal of a study: a file of JSON lines, from which a study continues after its process was killed at any moment.
//!
//! ```text
//! {"event":"study","version":1,"goal":"minimize","seed":42,"settings":{...},"inputs":{"dataset":"..."}}
//! {"event":"started","trial":1,"parameters":{"trainer.learning_rate":0.01}}
//! {"event":"reported","trial":1,"resource":3,"score":0.52}
//! {"event":"ended","trial":1,"state":"completed","score":0.47}
//! ```
//!
//! Every line is synced to disk before the study goes on. Only the last line can thus be incomplete; it is removed when the
//! journal is opened.

mod header;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use header::Header;

use crate::trial::State;
use crate::{Suggestion, TuneError};

/// Maximum size of a journal: 10,000 trials with 100 reports each take about 60 MB.
const MAX_BYTES: u64 = 1 << 30;

/// Something that happened to a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Event {
    /// A trial was given out; if it was given out before, it starts again.
    Started {
        /// The number of the trial.
        trial: usize,
        /// What it changes in the config.
        parameters: Suggestion,
    },
    /// A trial reported its metric.
    Reported {
        /// The number of the trial.
        trial: usize,
        /// The resource it has used.
        resource: usize,
        /// The metric, if it is a finite number.
        score: Option<f64>,
    },
    /// A trial has ended.
    Ended {
        /// The number of the trial.
        trial: usize,
        /// How it has ended.
        state: State,
        /// The metric, if it is a finite number.
        score: Option<f64>,
        /// The error of a failed trial.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
}

impl Event {
    /// Returns the number of the trial.
    pub fn trial(&self) -> usize {
        match self {
            Self::Started { trial, .. } | Self::Reported { trial, .. } | Self::Ended { trial, .. } => *trial,
        }
    }
}

/// A journal that is open for writing, and locked against other processes.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Opens the journal of a study, or creates it; returns the events so far.
    pub fn open(path: &Path, header: &Header) -> Result<(Self, Vec<Event>), TuneError> {
        let io = |source| TuneError::Io { path: path.to_path_buf(), source };
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(TuneError::Busy { path: path.to_path_buf() }),
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let mut text = Vec::new();
        (&file).take(MAX_BYTES + 1).read_to_end(&mut text).map_err(io)?;
        if text.len() as u64 > MAX_BYTES {
            return Err(damaged(path, 1, format!("more than {MAX_BYTES} bytes, so not a journal")));
        }
        let mut journal = Self { file, path: path.to_path_buf() };
        let (events, n_bytes) = read(path, &text, header)?;
        if n_bytes < text.len() {
            journal.file.set_len(n_bytes as u64).map_err(io)?;
        }
        if n_bytes == 0 {
            journal.append(header)?;
            sync_folder(path).map_err(io)?;
        }
        Ok((journal, events))
    }

    /// Appends an event and syncs it to disk.
    pub fn record(&mut self, event: &Event) -> Result<(), TuneError> {
        self.append(event)
    }

    fn append(&mut self, line: &impl Serialize) -> Result<(), TuneError> {
        let text = line_of(line).map_err(TuneError::io(&self.path))?;
        self.file.write_all(&text).and_then(|()| self.file.sync_data()).map_err(TuneError::io(&self.path))
    }
}

fn line_of(line: &impl Serialize) -> std::io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(text)
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn damaged(path: &Path, line: usize, message: String) -> TuneError {
    TuneError::Damaged { path: path.to_path_buf(), line, message }
}

/// Reads the complete lines of a journal; returns the events and the number of bytes of these lines.
pub(crate) fn read(path: &Path, text: &[u8], header: &Header) -> Result<(Vec<Event>, usize), TuneError> {
    let n_bytes = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut lines = text[..n_bytes].split_inclusive(|byte| *byte == b'\n').enumerate();
    let Some((_, first)) = lines.next() else {
        // The first line was cut off; any other file must not be overwritten.
        let written = line_of(header).map_err(TuneError::io(path))?;
        return if written.starts_with(text) {
            Ok((Vec::new(), 0))
        } else {
            Err(damaged(path, 1, "not a journal of 'mbm tune'".to_owned()))
        };
    };
    let found = Header::read(first).map_err(|message| damaged(path, 1, message))?;
    let differences = header.differences(&found);
    if !differences.is_empty() {
        return Err(TuneError::OtherStudy { path: path.to_path_buf(), differences });
    }
    let event = |(at, line): (usize, &[u8])| {
        serde_json::from_slice(line).map_err(|error| damaged(path, at + 1, format!("not an event: {error}")))
    };
    Ok((lines.map(event).collect::<Result<_, _>>()?, n_bytes))
}

#[cfg(test)]
mod tests;
