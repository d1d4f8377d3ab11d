//! Limits on the depth and length of input. Parsers, tree traversals and destructors recurse once per level, so the depth limit
//! keeps hostile input from overflowing the stack; the length limits bound time and memory.

use crate::excerpt;

/// Maximum nesting depth of lists, maps, parentheses and the like. Configs are about 6 levels deep, tokenizers and weight indexes
/// 8; a reader of any of our formats stays below 256 KiB of stack at this depth, even without optimization.
pub const MAX_DEPTH: usize = 64;

/// Maximum size of a config in bytes. A config with 10,000 features takes about 1 MiB.
pub const MAX_CONFIG_BYTES: usize = 16 << 20;

/// Maximum number of characters of a key. YAML allows keys of up to 1,024 bytes (YAML 1.2, section 7.4.2), in which each
/// character may be escaped.
pub(crate) const MAX_KEY: usize = 128;

/// Maximum number of bytes that the aliases of a YAML document may repeat; a node counts as 64 bytes in addition to its text.
pub(crate) const MAX_ALIASED_BYTES: usize = 1 << 20;

/// Maximum number of problems that are collected; nobody reads more.
pub(crate) const MAX_PROBLEMS: usize = 1000;

/// Checks that JSON is nested no deeper than [`MAX_DEPTH`] without parsing it, by counting brackets outside of strings.
///
/// # Errors
/// Returns the position, starting at 1, of the first byte that is deeper.
///
/// ```
/// assert_eq!(mbm_config::check_json_depth(br#"{"a": ["[[[", []]}"#), Ok(()));
/// assert_eq!(mbm_config::check_json_depth("[".repeat(65).as_bytes()), Err(65));
/// ```
pub fn check_json_depth(json: &[u8]) -> Result<(), usize> {
    let (mut depth, mut is_text, mut is_escaped) = (0usize, false, false);
    for (at, byte) in json.iter().enumerate() {
        match (is_text, byte) {
            (true, _) if is_escaped => is_escaped = false,
            (true, b'\\') => is_escaped = true,
            (_, b'"') => is_text = !is_text,
            (false, b'[' | b'{') if depth == MAX_DEPTH => return Err(at + 1),
            (false, b'[' | b'{') => depth += 1,
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            (true | false, _) => {}
        }
    }
    Ok(())
}

/// A key that is longer than YAML allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a key of {n_chars} characters, '{start}'; the limit is {MAX_KEY}")]
pub struct LongKey {
    /// Number of characters of the key.
    pub n_chars: usize,
    /// Its beginning.
    pub start: String,
}

/// Checks that a key can be written to any config.
pub(crate) fn check_key(key: &str) -> Result<(), LongKey> {
    match key.chars().nth(MAX_KEY) {
        None => Ok(()),
        Some(_) => Err(LongKey { n_chars: key.chars().count(), start: excerpt(key) }),
    }
}
