//! What is wrong with a config, said so that it can be put right.

use std::fmt;

use crate::limits::MAX_PROBLEMS;

/// One mistake and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The line in the file, from 1; 0 where no line is known.
    pub line: usize,
    /// The key's path, such as `input_features[0].encoder.dropout`.
    pub path: String,
    /// What was found, what is allowed, what to do.
    pub message: String,
}

impl Diagnostic {
    /// A problem at a line and a key's path.
    pub fn at(line: usize, path: &str, message: impl Into<String>) -> Self {
        Self { line, path: path.to_owned(), message: message.into() }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(out, "line {}: ", self.line)?;
        }
        if !self.path.is_empty() {
            write!(out, "{}: ", self.path)?;
        }
        out.write_str(&self.message)
    }
}

/// Every mistake of one config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Adds one, while there are fewer than 1,000.
    pub fn add(&mut self, line: usize, path: &str, message: impl Into<String>) {
        if !self.is_full() {
            self.0.push(Diagnostic::at(line, path, message));
        }
    }

    /// Whether no more are taken.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= MAX_PROBLEMS
    }

    /// The value, if nothing was found wrong.
    ///
    /// # Errors
    /// These problems, in the file's order.
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

/// Problems that are shown, about as many as a terminal has lines: a file that is no config may have one for each of its lines.
const N_SHOWN: usize = 40;

/// Characters of a foreign text that an error repeats.
const EXCERPT: usize = 60;

/// Names that an error lists; there may be thousands of columns.
const N_NAMES: usize = 20;

/// The beginning of a text from a file, on one line, for an error to repeat.
pub fn excerpt(text: &str) -> String {
    beginning(text, EXCERPT)
}

/// At most so many characters of a text, on one line.
pub(crate) fn beginning(text: &str, n_chars: usize) -> String {
    let mut start: String = text.chars().take(n_chars).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(n_chars).is_some() {
        start.push('…');
    }
    start
}

/// The first of some names, and how many more there are.
pub fn some_of<S: AsRef<str>>(names: &[S]) -> String {
    let shown: Vec<String> = names.iter().take(N_NAMES).map(|name| excerpt(name.as_ref())).collect();
    match names.len().saturating_sub(N_NAMES) {
        0 => shown.join(", "),
        n_more => format!("{} and {n_more} more", shown.join(", ")),
    }
}

/// The candidate nearest to `found`, if it is near enough to be what was meant.
pub fn closest<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let n_chars = found.chars().count();
    // Comparing takes as long as both names together are long times each other; a name as long as this is no slip of the fingers.
    if n_chars > LONGEST_NAME {
        return None;
    }
    let limit = (n_chars / 3).max(1);
    // A name whose length differs by more has a larger distance.
    let is_alike = |candidate: &&str| candidate.chars().take(2 * LONGEST_NAME).count().abs_diff(n_chars) <= limit;
    let scored = candidates.into_iter().filter(is_alike).map(|candidate| (edit_distance(found, candidate), candidate));
    scored.filter(|(distance, _)| *distance <= limit).min().map(|(_, candidate)| candidate)
}

/// The longest name, in characters, that a near one is looked for.
const LONGEST_NAME: usize = 100;

/// Damerau-Levenshtein distance (optimal string alignment) in characters.
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
    fn a_slip_of_the_fingers_is_recognised_and_another_word_is_not() {
        let keys = ["batch_size", "epochs", "learning_rate"];
        assert_eq!(closest("bacth_size", keys), Some("batch_size"));
        assert_eq!(closest("learningrate", keys), Some("learning_rate"));
        assert_eq!(closest("momentum", keys), None);
        assert_eq!(closest(&"e".repeat(10_000_000), keys), None);
    }

    #[test]
    fn no_name_is_near_to_a_text_of_a_megabyte() {
        let text = "x".repeat(1 << 20);
        assert_eq!(closest(&text, ["x", text.as_str()]), None);
        assert_eq!(closest("x", [text.as_str(), "y"]), Some("y"));
    }

    #[test]
    fn an_error_repeats_only_the_beginning_of_what_a_file_holds() {
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
