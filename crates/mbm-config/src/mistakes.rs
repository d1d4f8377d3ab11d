//! Mistakes that a part finds in its own settings.

/// Collects mistakes at keys relative to the part that checks itself; who asks it knows where the part stands in the config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<(&'static str, String)>);

impl Mistakes {
    /// Adds a mistake at a dotted key of the part, such as `decoding.max_length`; empty for the part as a whole.
    pub fn add(&mut self, key: &'static str, message: impl Into<String>) {
        self.0.push((key, message.into()));
    }
}

impl IntoIterator for Mistakes {
    type Item = (&'static str, String);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
