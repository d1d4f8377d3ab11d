//! How deep and how long what is read may be. Readers, what walks over trees, and what drops them call themselves once a level, so depth
//! is what keeps hostile input from overflowing a stack; length bounds time and memory.

use crate::excerpt;

/// How deep lists, maps, parentheses and the like may lie in each other. Configs are about 6 deep, tokenizers and indexes of weights 8; a
/// reader of any of our formats stays below 256 KiB of stack at this depth, also without optimisation.
pub const MAX_DEPTH: usize = 64;

/// Bytes of a config, at most. One with 10,000 features takes about 1 MiB.
pub const MAX_CONFIG_BYTES: usize = 16 << 20;

/// Characters of a key, at most. YAML reads keys of up to 1,024 bytes (1.2, section 7.4.2), in which each of these may be escaped.
pub(crate) const MAX_KEY: usize = 128;

/// Bytes that the aliases of a YAML document may repeat; a node counts as 64 besides its text.
pub(crate) const MAX_ALIASED_BYTES: usize = 1 << 20;

/// Problems that are listed; nobody reads more.
pub(crate) const MAX_PROBLEMS: usize = 1000;

/// Looks whether JSON is nested no deeper than [`MAX_DEPTH`], without reading it: brackets outside of strings are counted.
///
/// # Errors
/// The byte at which it is deeper, from 1.
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

/// Looks whether a key can be written into any config.
///
/// # Errors
/// How long it is.
pub(crate) fn check_key(key: &str) -> Result<(), String> {
    match key.chars().nth(MAX_KEY) {
        None => Ok(()),
        Some(_) => Err(format!("a key of {} characters, '{}'; at most {MAX_KEY} are read", key.chars().count(), excerpt(key))),
    }
}
