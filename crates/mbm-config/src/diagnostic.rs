//! Diagnostics: what is wrong with a config, where, and how to fix it.

use std::fmt;

use crate::limits::MAX_PROBLEMS;

/// One mistake and its location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The line in the file, starting at 1; 0 if the line is unknown.
    pub line: usize,
    /// The path of the setting of the command line (`--set`) in which the mistake is, if it is in none of the file's lines.
    pub setting: Option<String>,
    /// The key's path, such as `input_features[0].encoder.dropout`; below the setting, if there is one.
    pub path: String,
    /// What was found, what is allowed, what to do.
    pub message: String,
}

impl Diagnostic {
    /// Creates a diagnostic at a line and key path.
    pub fn at(line: usize, path: &str, message: impl Into<String>) -> Self {
        Self { line, setting: None, path: path.to_owned(), message: message.into() }
    }

    /// Creates a diagnostic of a setting of the command line.
    pub fn of_setting(setting: &str, message: impl Into<String>) -> Self {
        Self { setting: Some(setting.to_owned()), ..Self::at(0, "", message) }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(out, "line {}: ", self.line)?;
        }
        if let Some(setting) = &self.setting {
            write!(out, "--set {setting}: ")?;
        }
        if !self.path.is_empty() {
            write!(out, "{}: ", self.path)?;
        }
        out.write_str(&self.message)
    }
}

/// All mistakes of one config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Adds a diagnostic, unless there are 1,000 already.
    pub fn add(&mut self, line: usize, path: &str, message: impl Into<String>) {
        if !self.is_full() {
            self.0.push(Diagnostic::at(line, path, message));
        }
    }

    /// Returns whether no more diagnostics are accepted.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= MAX_PROBLEMS
    }

    /// Returns the value, if there are no diagnostics.
    ///
    /// # Errors
    /// Otherwise returns these diagnostics, sorted by line.
    pub fn unless_any<T>(mut self, value: Option<T>) -> Result<T, Diagnostics> {
        self.0.sort_by_key(|diagnostic| diagnostic.line);
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self),
        }
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl std::error::Error for Diagnostics {}

impl fmt::Display for Diagnostics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.0.len() == 1 { "problem" } else { "problems" };
        write!(out, "{} {noun} in the config", self.0.len())?;
        self.0.iter().take(N_SHOWN).try_for_each(|diagnostic| write!(out, "\n  {diagnostic}"))?;
        match self.0.len().saturating_sub(N_SHOWN) {
            0 => Ok(()),
            n_more => write!(out, "\n  and {n_more} more"),
        }
    }
}

/// Maximum number of problems shown, about as many as a terminal has lines: a file that is not a config may have one on each
/// line.
const N_SHOWN: usize = 40;

/// Maximum number of characters of untrusted text that an error repeats.
const EXCERPT: usize = 60;

/// Maximum number of names that an error lists; there may be thousands of columns.
const N_NAMES: usize = 20;

/// Returns the beginning of a text from a file, on one line, for use in an error.
pub fn excerpt(text: &str) -> String {
    beginning(text, EXCERPT)
}

/// Returns at most `n_chars` characters of a text, on one line.
pub(crate) fn beginning(text: &str, n_chars: usize) -> String {
    let mut start: String = text.chars().take(n_chars).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(n_chars).is_some() {
        start.push('…');
    }
    start
}

/// Lists the first of some names, and how many more there are.
pub fn some_of<S: AsRef<str>>(names: &[S]) -> String {
    let shown: Vec<String> = names.iter().take(N_NAMES).map(|name| excerpt(name.as_ref())).collect();
    match names.len().saturating_sub(N_NAMES) {
        0 => shown.join(", "),
        n_more => format!("{} and {n_more} more", shown.join(", ")),
    }
}

/// Returns the candidate closest to `found`, if it is close enough to be what was meant: the shortest one that begins with it, or one that
/// differs in few characters.
pub fn closest<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let n_chars = found.chars().count();
    // Comparing takes time proportional to the product of both lengths; a name as long as this is not a typo.
    if n_chars > LONGEST_NAME {
        return None;
    }
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let longer =
        candidates.iter().filter(|candidate| n_chars > 1 && candidate.len() > found.len() && candidate.starts_with(found));
    if let Some(longer) = longer.filter(|candidate| candidate.len() <= LONGEST_NAME).min_by_key(|candidate| candidate.len()) {
        return Some(longer);
    }
    let limit = (n_chars / 3).max(1);
    // A name whose length differs by more has a larger distance.
    let alike =
        candidates.into_iter().filter(|candidate| candidate.chars().take(2 * LONGEST_NAME).count().abs_diff(n_chars) <= limit);
    let scored = alike.map(|candidate| (edit_distance(found, candidate), candidate));
    scored.filter(|(distance, _)| *distance <= limit).min().map(|(_, candidate)| candidate)
}

/// The longest name, in characters, for which similar names are searched.
const LONGEST_NAME: usize = 100;

/// Returns the Damerau-Levenshtein distance (optimal string alignment) in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        rows[i][0] = i;
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            rows[i][j] = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                rows[i][j] = rows[i][j].min(rows[i - 2][j - 2] + 1);
            }
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_are_recognized_and_other_words_are_not() {
        let keys = ["batch_size", "epochs", "learning_rate"];
        assert_eq!(closest("bacth_size", keys), Some("batch_size"));
        assert_eq!(closest("learningrate", keys), Some("learning_rate"));
        assert_eq!(closest("momentum", keys), None);
        assert_eq!(closest("acc", ["mcc", "accuracy", "balanced_accuracy"]), Some("accuracy"));
        assert_eq!(closest("f1", ["f1_macro", "f2"]), Some("f1_macro"));
        assert_eq!(closest(&"e".repeat(10_000_000), keys), None);
    }

    #[test]
    fn text_of_a_megabyte_has_no_similar_name() {
        let text = "x".repeat(1 << 20);
        assert_eq!(closest(&text, ["x", text.as_str()]), None);
        assert_eq!(closest("x", [text.as_str(), "y"]), Some("y"));
    }

    #[test]
    fn errors_truncate_text_and_lists_from_files() {
        assert_eq!(excerpt("a\nb"), "a b");
        let long = excerpt(&"ä".repeat(1000));
        assert_eq!((long.chars().count(), long.chars().last()), (61, Some('…')));
        let names: Vec<String> = (0..10_000).map(|at| format!("column{at}")).collect();
        assert!(some_of(&names).ends_with("column19 and 9980 more"), "{}", some_of(&names));
        assert_eq!(some_of(&["a", "b"]), "a, b");
        let many = Diagnostics((0..10_000).map(|line| Diagnostic::at(line, "", "no")).collect()).to_string();
        assert_eq!(many.lines().count(), 42);
        assert!(many.ends_with("and 9960 more"), "{many}");
    }
}
