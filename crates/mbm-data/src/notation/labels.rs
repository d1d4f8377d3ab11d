//! Sets of labels: `a, b`, `a|b`, `a; b`, `a b`, or a list such as `['a', 'b']`.

use mbm_config::choices;

choices! {
    /// What separates the labels of a set that is written as text.
    pub enum Delimiter {
        /// `Drama, Action & Adventure`
        Comma = "comma",
        /// `Drama; Action & Adventure`
        Semicolon = "semicolon",
        /// `Drama|Action & Adventure`
        Bar = "bar",
        /// A label per line.
        Newline = "newline",
        /// `drama action`
        Space = "space",
        /// Spaces, commas, bars and tabs.
        Any = "any",
    }
}

#[allow(clippy::derivable_impls, reason = "the macro derives the other traits")]
impl Default for Delimiter {
    /// What models of earlier versions were trained with.
    fn default() -> Self {
        Self::Any
    }
}

/// The delimiters that are not part of labels, each preferred to those behind it: names hold commas more often than bars.
pub(crate) const PUNCTUATION: [Delimiter; 4] = [Delimiter::Bar, Delimiter::Semicolon, Delimiter::Newline, Delimiter::Comma];

impl Delimiter {
    fn separates(self, found: char) -> bool {
        match self {
            Self::Comma => found == ',',
            Self::Semicolon => found == ';',
            Self::Bar => found == '|',
            Self::Newline => found == '\n',
            Self::Space => found.is_whitespace(),
            Self::Any => matches!(found, ' ' | ',' | '|' | '\t'),
        }
    }

    /// Whether a text holds the delimiter.
    pub fn is_in(self, text: &str) -> bool {
        text.contains(|found| self.separates(found))
    }

    /// Returns what stands between two labels where they are written.
    pub fn between(self) -> &'static str {
        match self {
            Self::Comma => ", ",
            Self::Semicolon => "; ",
            Self::Bar => "|",
            Self::Newline => "\n",
            Self::Space | Self::Any => " ",
        }
    }

    /// Returns the labels of a text: those between the delimiters, or the items of a list in brackets.
    pub fn split(self, text: &str) -> Vec<&str> {
        let trimmed = text.trim();
        match in_brackets(trimmed) {
            // Earlier versions had no lists in text.
            Some(items) if self != Self::Any => list(items),
            _ => trimmed.split(|found| self.separates(found)).map(str::trim).filter(|label| !label.is_empty()).collect(),
        }
    }
}

/// Returns what stands in brackets around the whole text, as Python, JSON and PostgreSQL write lists and sets.
fn in_brackets(text: &str) -> Option<&str> {
    let inner = text.strip_prefix(['[', '{'])?.strip_suffix([']', '}'])?;
    (!inner.contains(['[', '{', '}', ']'])).then_some(inner)
}

/// Returns the items of a list, separated by commas outside quotes.
fn list(items: &str) -> Vec<&str> {
    let (mut found, mut start, mut quote) = (Vec::new(), 0, None);
    for (at, character) in items.char_indices() {
        match quote {
            Some(open) if character == open => quote = None,
            Some(_) => {}
            // An apostrophe within a word is no quote.
            None if matches!(character, '\'' | '"') && items[start..at].trim().is_empty() => quote = Some(character),
            None if character == ',' => {
                found.push(&items[start..at]);
                start = at + 1;
            }
            None => {}
        }
    }
    found.push(&items[start..]);
    found.into_iter().map(unquoted).filter(|label| !label.is_empty()).collect()
}

/// Removes the quotes around an item.
fn unquoted(item: &str) -> &str {
    let item = item.trim();
    let inner = ['\'', '"'].into_iter().find_map(|quote| item.strip_prefix(quote)?.strip_suffix(quote));
    inner.unwrap_or(item).trim()
}

/// Counts how many cells of a column hold each delimiter.
#[derive(Debug, Clone, Default)]
pub(crate) struct DelimiterVotes {
    n_cells: usize,
    n_with: [usize; PUNCTUATION.len()],
    n_with_any: usize,
}

impl DelimiterVotes {
    /// Counts a cell; a list in brackets says nothing about other cells.
    pub fn add(&mut self, text: &str) {
        let text = text.trim();
        if in_brackets(text).is_some() {
            return;
        }
        self.n_cells += 1;
        let found = PUNCTUATION.map(|delimiter| delimiter.is_in(text));
        self.n_with.iter_mut().zip(found).for_each(|(n, found)| *n += usize::from(found));
        self.n_with_any += usize::from(found.contains(&true));
    }

    /// Returns the delimiter of the column: punctuation if at least one cell in a hundred has it. Of several, it is the first of
    /// [`PUNCTUATION`] that at least every fifth of these cells has.
    pub fn delimiter(&self) -> Delimiter {
        if self.n_with_any == 0 || self.n_with_any * 100 < self.n_cells {
            return Delimiter::Space;
        }
        let chosen = PUNCTUATION.iter().zip(self.n_with).find(|(_, n)| n * 5 >= self.n_with_any);
        chosen.map_or(Delimiter::Space, |(delimiter, _)| *delimiter)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn labels_are_split_at_their_delimiter() {
        assert_eq!(Delimiter::Comma.split("Action & Adventure, Comedy"), ["Action & Adventure", "Comedy"]);
        assert_eq!(Delimiter::Bar.split("Drama|New York, NY| |x"), ["Drama", "New York, NY", "x"]);
        assert_eq!(Delimiter::Semicolon.split("a b;c;"), ["a b", "c"]);
        assert_eq!(Delimiter::Space.split(" a  b\tc,d"), ["a", "b", "c,d"]);
        assert_eq!(Delimiter::Any.split("a b,c|[d]"), ["a", "b", "c", "[d]"]);
        assert_eq!(Delimiter::Any.split("[a, b]"), ["[a", "b]"]);
        assert_eq!(Delimiter::Comma.split(" , "), Vec::<&str>::new());
    }

    #[test]
    fn lists_in_text_are_lists_whatever_the_delimiter() {
        for text in ["['rock n roll', 'b, c', \"it's\"]", "[\"rock n roll\", \"b, c\", \"it's\"]", "{rock n roll,\"b, c\",it's}"]
        {
            assert_eq!(Delimiter::Space.split(text), ["rock n roll", "b, c", "it's"], "{text}");
        }
        assert_eq!(Delimiter::Bar.split("[]"), Vec::<&str>::new());
        assert_eq!(Delimiter::Comma.split("[[1], [2]]"), ["[[1]", "[2]]"]);
    }

    #[test]
    fn cells_decide_the_delimiter_of_their_column() {
        let delimiter = |texts: &[&str]| {
            let mut votes = DelimiterVotes::default();
            texts.iter().for_each(|text| votes.add(text));
            votes.delimiter()
        };
        assert_eq!(delimiter(&["Action & Adventure, Comedy", "Stand Up"]), Delimiter::Comma);
        assert_eq!(delimiter(&["Drama|New York, NY", "Boston, MA|Drama"]), Delimiter::Bar);
        assert_eq!(delimiter(&["a, b", "a, b", "a, b", "a, b", "a, b", "a|b"]), Delimiter::Comma);
        assert_eq!(delimiter(&["a b", "a"]), Delimiter::Space);
        assert_eq!(delimiter(&["['a, b']", "['c']"]), Delimiter::Space);
        assert_eq!(delimiter(&[]), Delimiter::Space);
        let mut rare = vec!["red blue"; 200];
        rare.push("red, blue");
        assert_eq!(delimiter(&rare), Delimiter::Space);
    }

    proptest! {
        #[test]
        fn joined_labels_split_into_themselves(labels in prop::collection::vec("[a-z&'][a-z&' ]{0,6}[a-z&']", 1..5)) {
            for delimiter in PUNCTUATION {
                let text = labels.join(delimiter.between());
                prop_assert_eq!(delimiter.split(&text), labels.clone());
            }
            let python = format!("[{}]", labels.iter().map(|label| format!("{label:?}")).collect::<Vec<_>>().join(", "));
            prop_assert_eq!(Delimiter::Space.split(&python), labels);
        }

        #[test]
        fn any_text_has_labels(text in "[\\[\\]{}()'\", a|;\n]{0,20}|\\PC{0,20}") {
            for delimiter in PUNCTUATION.into_iter().chain([Delimiter::Space, Delimiter::Any]) {
                prop_assert!(delimiter.split(&text).iter().all(|label| !label.is_empty()));
            }
        }
    }
}
