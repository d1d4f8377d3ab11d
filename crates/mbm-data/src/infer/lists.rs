//! Which cells of a column are lists of numbers, and of how many.

/// Lists of numbers in a column; a single number is a list, too.
#[derive(Debug, Clone, Default)]
pub(super) struct Lists {
    /// Number of cells that are lists.
    pub n: usize,
    n_numbers: usize,
    /// Whether two lists have different lengths.
    differ: bool,
    length: Option<usize>,
    n_of_steps: usize,
}

/// Mean length from which a list of numbers is taken for a time series rather than a vector.
const LONG: usize = 8;

impl Lists {
    /// Counts a list of numbers.
    pub fn add(&mut self, length: usize) {
        self.n += 1;
        self.n_numbers += length;
        self.differ |= self.length.is_some_and(|other| other != length);
        self.length = Some(length);
    }

    /// Counts a text, if it is a list.
    pub fn add_text(&mut self, text: &str) {
        let is_nested = text.starts_with("[[");
        let inner = if is_nested { text } else { text.trim_matches(['[', ']']) };
        let separators: &[char] = if is_nested { &['[', ']', ' ', ','] } else { &[' ', ',', ';', '\t'] };
        let words = || inner.split(separators).filter(|word| !word.is_empty());
        if words().next().is_some() && words().all(|word| word.parse::<f64>().is_ok()) {
            self.add(words().count());
            let has_steps =
                inner.contains(';') && inner.trim_end_matches(';').split(';').all(|step| step.trim().contains([' ', ',']));
            self.n_of_steps += usize::from(is_nested || has_steps);
        }
    }

    /// Returns the type of the column, and why it is a time series, if that may surprise.
    pub fn kind(&self) -> (&'static str, Option<&'static str>) {
        let is_long = self.n_numbers >= LONG * self.n;
        let has_steps = self.n_of_steps * 20 >= self.n * 19;
        match (is_long || has_steps, self.differ) {
            (true, _) => ("timeseries", None),
            (false, true) => ("timeseries", Some("its lists of numbers have different lengths")),
            (false, false) => ("vector", None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(texts: &[&str]) -> Lists {
        let mut lists = Lists::default();
        texts.iter().for_each(|text| lists.add_text(text));
        lists
    }

    #[test]
    fn lists_are_vectors_unless_long_uneven_or_of_steps() {
        let kind = |texts| lists(texts).kind().0;
        assert_eq!(kind(&["1 2 3", "[4, 5, 6]", "7;8;9"]), "vector");
        assert_eq!(kind(&["1 2 3", "4 5"]), "timeseries");
        assert_eq!(kind(&["1 2 3 4 5 6 7 8", "1 2 3 4 5 6 7 9"]), "timeseries");
        assert_eq!(kind(&["1 10; 2 20", "[[1, 10], [2, 20]]"]), "timeseries");
        assert_eq!(lists(&["1 x", "", "[]", "[[]]", "red"]).n, 0);
    }
}
