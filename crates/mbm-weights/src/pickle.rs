//! Computes how much a pickle expands to, before any of it is built.
//!
//! A pickle may fetch memoized values any number of times, and a reader without Python's references copies them each time: a few
//! thousand bytes can ask for terabytes ("billion laughs"). `pytorch-reader` limits how many nodes and values are copied, but
//! neither the keys of dicts and the names of classes, nor the names of tensors, which consist of all keys above them. So this
//! module first runs the same stack machine on sizes alone.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};

use crate::Damage;

/// Maximum number of bytes that a pickle may copy, and that the names of its tensors may have. A model with 100,000 tensors needs
/// a tenth of that.
const MAX_UNFOLDED: u64 = 128 << 20;

/// Maximum nesting depth of values. A module in a module takes four levels; the reader, whose own limit is 1,000, overflows a
/// stack of 256 KiB there.
const MAX_DEPTH: u32 = 200;

/// Bytes that a node counts for in addition to its text.
const NODE: u64 = 64;

/// The result of analyzing a pickle.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PickleSize {
    /// It is complete and expands to little.
    Bounded {
        /// The last class that it names.
        class: String,
    },
    /// It copies too much.
    TooLarge,
    /// Its values are nested too deep.
    TooDeep,
}

impl PickleSize {
    /// Returns why the pickle is rejected, if it is.
    pub fn refusal(&self) -> Option<Damage> {
        match self {
            Self::Bounded { .. } => None,
            Self::TooLarge => Some(Damage::PickleTooLarge),
            Self::TooDeep => Some(Damage::PickleTooDeep { limit: MAX_DEPTH }),
        }
    }
}

/// The size of a value.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    nodes: u64,
    bytes: u64,
    /// Total size in bytes of the names of everything in it.
    names: u64,
    depth: u32,
}

impl Size {
    fn of(n_bytes: u64) -> Self {
        Self { nodes: 1, bytes: NODE.saturating_add(n_bytes), names: 0, depth: 0 }
    }

    /// Adds a value that it contains, under a name of `n_name` bytes.
    fn hold(&mut self, other: Self, n_name: u64) {
        self.depth = self.depth.max(other.depth + 1);
        self.nodes = self.nodes.saturating_add(other.nodes);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.names = self.names.saturating_add(other.names).saturating_add(n_name.saturating_mul(other.nodes));
    }

    fn hold_pairs(&mut self, items: &[Self]) {
        for pair in items.chunks(2) {
            let [key, values @ ..] = pair else { continue };
            self.bytes = self.bytes.saturating_add(key.bytes);
            values.iter().for_each(|value| self.hold(*value, key.bytes));
        }
    }

    /// Adds items, which are named by their index; the two items of a pair may become key and value.
    fn hold_items(&mut self, items: &[Self]) {
        const NUMBER: u64 = 8;
        match items {
            [_, _] => self.hold_pairs(items),
            items => items.iter().for_each(|item| self.hold(*item, NUMBER)),
        }
    }
}

/// Analyzes one pickle.
///
/// # Errors
/// Fails if the pickle ends early or uses operations that pickles of tensors do not; its reader reports the details.
pub(crate) fn pickle_size(input: &mut impl BufRead) -> io::Result<PickleSize> {
    let mut machine =
        Machine { input, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new(), copied: 0, class: String::new() };
    loop {
        let operation = machine.number::<1>()? as u8;
        if operation == b'.' {
            return Ok(PickleSize::Bounded { class: machine.class });
        }
        machine.step(operation)?;
        let top = machine.stack.last().copied().unwrap_or_default();
        if machine.copied.max(top.names) > MAX_UNFOLDED {
            return Ok(PickleSize::TooLarge);
        }
        if top.depth > MAX_DEPTH {
            return Ok(PickleSize::TooDeep);
        }
    }
}

struct Machine<'a, R> {
    input: &'a mut R,
    stack: Vec<Size>,
    marks: Vec<usize>,
    memo: HashMap<u64, Size>,
    copied: u64,
    class: String,
}

impl<R: BufRead> Machine<'_, R> {
    fn step(&mut self, operation: u8) -> io::Result<()> {
        match operation {
            // PROTO, FRAME
            0x80 => self.skip(1),
            0x95 => self.skip(8),
            // Values without bytes: None, True, False, (), [], {}, set()
            b'N' | 0x88 | 0x89 | b')' | b']' | b'}' | 0x8f => self.push(0),
            // Numbers
            b'K' => self.value(1),
            b'M' => self.value(2),
            b'J' => self.value(4),
            b'G' => self.value(8),
            b'I' | b'L' | b'F' | b'V' | b'P' => {
                let n_bytes = self.line()?.len() as u64;
                self.push(n_bytes)
            }
            // Strings, bytes and long integers, preceded by their lengths
            b'U' | b'C' | 0x8a | 0x8c => self.counted::<1>(),
            b'T' | b'X' | b'B' | 0x8b => self.counted::<4>(),
            0x8d | 0x8e | 0x96 => self.counted::<8>(),
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let module = self.line()?.len();
                self.class = self.line()?;
                self.push((module + self.class.len()) as u64)
            }
            0x93 => self.join(2),
            // BINPERSID, REDUCE, NEWOBJ, NEWOBJ_EX, and BUILD, whose result replaces the memoized value
            b'Q' => self.join(1),
            b'R' | 0x81 => self.join(2),
            0x92 => self.join(3),
            b'b' => {
                self.join(2)?;
                self.charge(self.top()?.bytes)
            }
            _ => self.collect_or_remember(operation),
        }
    }

    fn collect_or_remember(&mut self, operation: u8) -> io::Result<()> {
        match operation {
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop(1).map(|_| ()),
            b'1' => self.pop_to_mark().map(|_| ()),
            // DUP, GET, PUT
            b'2' => self.copy(self.top()?),
            b'g' => {
                let at = self.line()?.parse().map_err(|_| broken())?;
                self.fetch(at)
            }
            b'h' => self.number::<1>().and_then(|at| self.fetch(at)),
            b'j' => self.number::<4>().and_then(|at| self.fetch(at)),
            b'p' => {
                let at = self.line()?.parse().map_err(|_| broken())?;
                self.remember(at)
            }
            b'q' => self.number::<1>().and_then(|at| self.remember(at)),
            b'r' => self.number::<4>().and_then(|at| self.remember(at)),
            0x94 => self.remember(self.memo.len() as u64),
            // Lists, tuples, sets, dicts
            b'l' | b't' | 0x91 => self.pop_to_mark().and_then(|items| self.collect(&items)),
            0x85..=0x87 => self.pop(usize::from(operation - 0x84)).and_then(|items| self.collect(&items)),
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push(0)?;
                self.top_mut()?.hold_pairs(&items);
                Ok(())
            }
            b'a' => self.pop(1).and_then(|items| self.top_mut().map(|top| items.iter().for_each(|it| top.hold_items(&[*it])))),
            b'e' | 0x90 => {
                self.pop_to_mark().and_then(|items| self.top_mut().map(|top| items.iter().for_each(|it| top.hold_items(&[*it]))))
            }
            b's' => self.pop(2).and_then(|items| self.top_mut().map(|top| top.hold_pairs(&items))),
            b'u' => self.pop_to_mark().and_then(|items| self.top_mut().map(|top| top.hold_pairs(&items))),
            _ => Err(broken()),
        }
    }

    fn push(&mut self, n_bytes: u64) -> io::Result<()> {
        self.stack.push(Size::of(n_bytes));
        Ok(())
    }

    fn value(&mut self, n_bytes: u64) -> io::Result<()> {
        self.skip(n_bytes)?;
        self.push(0)
    }

    fn counted<const N: usize>(&mut self) -> io::Result<()> {
        let n_bytes = self.number::<N>()?;
        self.skip(n_bytes)?;
        self.push(n_bytes)
    }

    fn top(&self) -> io::Result<Size> {
        self.stack.last().copied().ok_or_else(broken)
    }

    fn top_mut(&mut self) -> io::Result<&mut Size> {
        self.stack.last_mut().ok_or_else(broken)
    }

    fn pop(&mut self, n: usize) -> io::Result<Vec<Size>> {
        let start = self.stack.len().checked_sub(n).ok_or_else(broken)?;
        Ok(self.stack.split_off(start))
    }

    fn pop_to_mark(&mut self) -> io::Result<Vec<Size>> {
        let start = self.marks.pop().filter(|start| *start <= self.stack.len()).ok_or_else(broken)?;
        Ok(self.stack.split_off(start))
    }

    /// Combines the top `n` values into one, whose parts keep their names.
    fn join(&mut self, n: usize) -> io::Result<()> {
        let mut joined = Size::default();
        self.pop(n)?.into_iter().for_each(|it| joined.hold(it, 0));
        self.stack.push(joined);
        Ok(())
    }

    fn collect(&mut self, items: &[Size]) -> io::Result<()> {
        self.push(0)?;
        self.top_mut()?.hold_items(items);
        Ok(())
    }

    fn charge(&mut self, n_bytes: u64) -> io::Result<()> {
        self.copied = self.copied.saturating_add(n_bytes);
        Ok(())
    }

    fn copy(&mut self, size: Size) -> io::Result<()> {
        self.stack.push(size);
        self.charge(size.bytes)
    }

    fn fetch(&mut self, at: u64) -> io::Result<()> {
        let size = self.memo.get(&at).copied().ok_or_else(broken)?;
        self.copy(size)
    }

    fn remember(&mut self, at: u64) -> io::Result<()> {
        let top = self.top()?;
        self.memo.insert(at, top);
        self.charge(top.bytes)
    }

    fn number<const N: usize>(&mut self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.input.read_exact(&mut bytes[..N])?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn skip(&mut self, n_bytes: u64) -> io::Result<()> {
        let n_skipped = io::copy(&mut self.input.by_ref().take(n_bytes), &mut io::sink())?;
        if n_skipped == n_bytes { Ok(()) } else { Err(broken()) }
    }

    /// Reads a line without its line break.
    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.input.read_until(b'\n', &mut line)?;
        if line.pop() == Some(b'\n') { Ok(String::from_utf8_lossy(&line).into_owned()) } else { Err(broken()) }
    }
}

fn broken() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn too_large(pickle: &[u8]) -> bool {
        pickle_size(&mut &*pickle).unwrap() == PickleSize::TooLarge
    }

    fn text(n: usize) -> Vec<u8> {
        [b"X".as_slice(), &(n as u32).to_le_bytes(), &vec![b'k'; n]].concat()
    }

    #[test]
    fn last_named_class_is_returned() {
        let pickle = b"\x80\x02(K\x01X\x03\0\0\0cpuctorch\nFloatStorage\ntq\0.";
        assert_eq!(pickle_size(&mut pickle.as_slice()).unwrap(), PickleSize::Bounded { class: "FloatStorage".to_owned() });
        assert!(pickle_size(&mut &pickle[..20]).is_err());
    }

    #[test]
    fn repeatedly_fetched_long_keys_and_classes_are_too_large() {
        let fetched = |start: &[u8], n: usize| [b"\x80\x02".as_slice(), start, b"q\x010(", &b"h\x01".repeat(n), b"t."].concat();
        let dict = [b"}".as_slice(), &text(1 << 20), b"Ns"].concat();
        let class = [b"c".as_slice(), &vec![b'c'; 1 << 20], b"\nName\n"].concat();
        for start in [dict, class] {
            assert!(too_large(&fetched(&start, 1000)));
            assert!(!too_large(&fetched(&start, 10)));
        }
    }

    #[test]
    fn too_deep_nesting_is_detected() {
        let nested = |n: usize| [b"\x80\x02".as_slice(), &b"]".repeat(n + 1), &b"a".repeat(n), b"."].concat();
        assert!(pickle_size(&mut nested(200).as_slice()).unwrap().refusal().is_none());
        assert_eq!(pickle_size(&mut nested(201).as_slice()).unwrap(), PickleSize::TooDeep);
    }

    #[test]
    fn long_name_above_many_tensors_is_too_large() {
        // {"kk..": [0, 0, ..]}: each of the numbers could be a tensor, whose name would start with the key.
        let pickle = |n_key: usize| [b"\x80\x02}".as_slice(), &text(n_key), b"](", &b"K\0".repeat(1000), b"es."].concat();
        assert!(too_large(&pickle(1 << 20)));
        assert!(!too_large(&pickle(100)));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = pickle_size(&mut bytes.as_slice());
        }
    }
}
