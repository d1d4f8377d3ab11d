//! Stored trees: flat arrays, predicted from the original values.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::ArrayMut;

/// Trees with a vector of values per leaf, in flat arrays, which serde skips: they are stored by themselves ([`Trees::arrays`]). Nodes of a tree follow each other, parents before their children.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Trees {
    /// Number of columns of a row.
    pub n_cols: usize,
    /// Number of values of a leaf.
    pub n_values: usize,
    /// The root of each tree.
    #[serde(skip)]
    pub roots: Vec<u32>,
    /// For each node, the column that it tests; [`Trees::LEAF`] for a leaf.
    #[serde(skip)]
    pub columns: Vec<u32>,
    /// For each node, the largest number that goes left; for a category, the position of its words in `categories`.
    #[serde(skip)]
    pub thresholds: Vec<f32>,
    /// For each node, bit 0: missing values go left; bit 1: it tests a category.
    #[serde(skip)]
    pub flags: Vec<u8>,
    /// For each node, its left child, which the right one follows; for a leaf, the position of its values in units of `n_values`.
    #[serde(skip)]
    pub children: Vec<u32>,
    /// For each test of a category, the number of words, then words with a bit for each code that goes left.
    #[serde(skip)]
    pub categories: Vec<u32>,
    /// The values of all leaves.
    #[serde(skip)]
    pub values: Vec<f32>,
}

/// Stored trees that cannot have been grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} of the trees")]
pub struct InvalidTrees(pub &'static str);

const MISSING_LEFT: u8 = 1;
const CATEGORY: u8 = 2;

/// A node, in one place.
#[derive(Debug, Clone, Copy)]
struct StoredNode {
    column: u32,
    threshold: f32,
    child: u32,
    flags: u8,
}

/// Number of rows that pass through a tree side by side.
const N_SIDE_BY_SIDE: usize = 8;

/// Number of rows from which the nodes of a tree are brought into one place first.
const MIN_GATHERED: usize = 16;

impl Trees {
    /// The column of a leaf.
    pub const LEAF: u32 = u32::MAX;

    /// Creates an empty collection for rows of `n_cols` columns.
    pub fn new(n_cols: usize, n_values: usize) -> Self {
        Self { n_cols, n_values, ..Self::default() }
    }

    /// Returns the arrays by name; everything else is serialized.
    pub fn arrays(&mut self) -> [(&'static str, ArrayMut<'_>); 7] {
        [
            ("roots", ArrayMut::U32(&mut self.roots)),
            ("columns", ArrayMut::U32(&mut self.columns)),
            ("thresholds", ArrayMut::F32(&mut self.thresholds)),
            ("flags", ArrayMut::U8(&mut self.flags)),
            ("children", ArrayMut::U32(&mut self.children)),
            ("categories", ArrayMut::U32(&mut self.categories)),
            ("values", ArrayMut::F32(&mut self.values)),
        ]
    }

    /// Returns the number of trees.
    pub fn len(&self) -> usize {
        self.roots.len()
    }

    /// Whether there are no trees.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Returns the values of the leaf that a row `[n_cols]` reaches in a tree.
    pub fn leaf(&self, tree: usize, row: &[f32]) -> &[f32] {
        let node = |at: usize| StoredNode {
            column: self.columns[at],
            threshold: self.thresholds[at],
            child: self.children[at],
            flags: self.flags[at],
        };
        let mut reached = node(self.roots[tree] as usize);
        while reached.column != Self::LEAF {
            reached = node(reached.child as usize + usize::from(!self.passes(reached, row[reached.column as usize])));
        }
        let at = reached.child as usize * self.n_values;
        &self.values[at..at + self.n_values]
    }

    /// Visits the leaf that each row reaches in each tree, by the numbers of the row and the tree. All rows pass through a tree in turn, as
    /// its nodes fit into a cache and those of all trees may not.
    pub(super) fn each_leaf(&self, rows: &[&[f32]], mut visit: impl FnMut(usize, usize, &[f32])) {
        let mut nodes = Vec::new();
        for tree in 0..self.len() {
            if rows.len() < MIN_GATHERED {
                rows.iter().enumerate().for_each(|(at, row)| visit(at, tree, self.leaf(tree, row)));
                continue;
            }
            self.gather(tree, &mut nodes);
            for (group, rows) in rows.chunks(N_SIDE_BY_SIDE).enumerate() {
                let leaves = self.leaves(&nodes, rows);
                for (at, leaf) in leaves[..rows.len()].iter().enumerate() {
                    let values = *leaf as usize * self.n_values;
                    visit(group * N_SIDE_BY_SIDE + at, tree, &self.values[values..values + self.n_values]);
                }
            }
        }
    }

    /// Writes the nodes of a tree, its children as positions among them.
    fn gather(&self, tree: usize, nodes: &mut Vec<StoredNode>) {
        let start = self.roots[tree] as usize;
        let end = self.roots.get(tree + 1).map_or(self.columns.len(), |next| *next as usize);
        let (columns, thresholds) = (&self.columns[start..end], &self.thresholds[start..end]);
        let rest = self.children[start..end].iter().zip(&self.flags[start..end]);
        nodes.clear();
        nodes.extend(columns.iter().zip(thresholds).zip(rest).map(|((&column, &threshold), (&child, &flags))| {
            let child = if column == Self::LEAF { child } else { child - start as u32 };
            StoredNode { column, threshold, child, flags }
        }));
    }

    /// Returns the positions of the leaves that some rows reach, side by side: while one waits for a node, others proceed.
    fn leaves(&self, nodes: &[StoredNode], rows: &[&[f32]]) -> [u32; N_SIDE_BY_SIDE] {
        let mut reached = [nodes[0]; N_SIDE_BY_SIDE];
        let mut is_done = false;
        while !is_done {
            is_done = true;
            for (node, row) in reached.iter_mut().zip(rows) {
                if node.column != Self::LEAF {
                    is_done = false;
                    *node = nodes[node.child as usize + usize::from(!self.passes(*node, row[node.column as usize]))];
                }
            }
        }
        reached.map(|node| node.child)
    }

    /// Whether a value goes left.
    #[inline]
    fn passes(&self, node: StoredNode, value: f32) -> bool {
        let is_number = node.flags & CATEGORY == 0;
        match is_number || value.is_nan() {
            true => (value <= node.threshold) | (value.is_nan() & (node.flags & MISSING_LEFT != 0)),
            false => self.category_goes_left(node.threshold, value as u32).unwrap_or(node.flags & MISSING_LEFT != 0),
        }
    }

    /// Whether a code goes left; `None` for a code beyond those seen in training.
    fn category_goes_left(&self, threshold: f32, code: u32) -> Option<bool> {
        let at = threshold.to_bits() as usize;
        let n_words = self.categories[at] as usize;
        // Two words per 32 codes: whether the code was seen, and whether it goes left.
        let word = (code / 32) as usize;
        if word >= n_words / 2 {
            return None;
        }
        let bit = 1 << (code % 32);
        let (seen, left) = (self.categories[at + 1 + 2 * word], self.categories[at + 2 + 2 * word]);
        (seen & bit != 0).then_some(left & bit != 0)
    }

    /// Adds a grown tree whose root is its first node.
    pub(super) fn push_tree(&mut self, grown: &Grown) {
        let mut queue = VecDeque::from([0usize]);
        let first = self.columns.len() as u32;
        self.roots.push(first);
        let mut n_placed = first + 1;
        while let Some(at) = queue.pop_front() {
            match &grown.nodes[at] {
                Node::Split { column, test, missing_left, left, right, .. } => {
                    let (threshold, flag) = match test {
                        Test::AtMost(threshold) => (*threshold, 0),
                        Test::Categories { seen, left } => (f32::from_bits(self.push_categories(seen, left)), CATEGORY),
                    };
                    self.push(*column as u32, threshold, flag | (u8::from(*missing_left) * MISSING_LEFT), n_placed);
                    n_placed += 2;
                    queue.extend([*left, *right]);
                }
                Node::Leaf(leaf) => {
                    let values = &grown.values[leaf * self.n_values..(leaf + 1) * self.n_values];
                    self.push(Self::LEAF, 0.0, 0, (self.values.len() / self.n_values.max(1)) as u32);
                    self.values.extend(values);
                }
            }
        }
    }

    /// Adds the trees of another collection for the same columns.
    pub(super) fn append(&mut self, other: &Self) {
        let n_nodes = self.columns.len() as u32;
        let n_leaves = (self.values.len() / self.n_values.max(1)) as u32;
        let n_words = self.categories.len() as u32;
        self.roots.extend(other.roots.iter().map(|root| root + n_nodes));
        for node in 0..other.columns.len() {
            let (column, flags) = (other.columns[node], other.flags[node]);
            let threshold = match flags & CATEGORY {
                0 => other.thresholds[node],
                _ => f32::from_bits(other.thresholds[node].to_bits() + n_words),
            };
            let offset = if column == Self::LEAF { n_leaves } else { n_nodes };
            self.push(column, threshold, flags, other.children[node] + offset);
        }
        self.categories.extend_from_slice(&other.categories);
        self.values.extend_from_slice(&other.values);
    }

    fn push(&mut self, column: u32, threshold: f32, flags: u8, child: u32) -> usize {
        self.columns.push(column);
        self.thresholds.push(threshold);
        self.flags.push(flags);
        self.children.push(child);
        self.columns.len() - 1
    }

    fn push_categories(&mut self, seen: &[u32], left: &[u32]) -> u32 {
        let at = self.categories.len() as u32;
        let n_pairs = seen.iter().max().map_or(0, |code| *code as usize / 32 + 1);
        self.categories.push(2 * n_pairs as u32);
        let first = self.categories.len();
        self.categories.resize(first + 2 * n_pairs, 0);
        let mut set = |codes: &[u32], side| {
            codes.iter().for_each(|code| self.categories[first + 2 * (*code / 32) as usize + side] |= 1 << (code % 32));
        };
        set(seen, 0);
        set(left, 1);
        at
    }

    /// Keeps only the first trees.
    pub(super) fn truncate(&mut self, n_trees: usize) {
        let Some(end) = self.roots.get(n_trees).copied() else { return };
        self.roots.truncate(n_trees);
        let end = end as usize;
        let leaves = self.columns[..end].iter().filter(|column| **column == Self::LEAF).count();
        // Sets of categories lie in the order of their nodes.
        let is_category = |node: &usize| self.columns[*node] != Self::LEAF && self.flags[*node] & CATEGORY != 0;
        let last = (0..end).rev().find(is_category).map(|node| self.thresholds[node].to_bits() as usize);
        self.categories.truncate(last.map_or(0, |at| at + 1 + self.categories[at] as usize));
        self.columns.truncate(end);
        self.thresholds.truncate(end);
        self.flags.truncate(end);
        self.children.truncate(end);
        self.values.truncate(leaves * self.n_values);
    }

    /// Checks trees that were read from a file: every row must reach a leaf.
    ///
    /// # Errors
    /// Says which part cannot have been grown.
    pub fn check(&self, n_cols: usize, n_values: usize) -> Result<(), InvalidTrees> {
        let n_nodes = self.columns.len();
        let n_leaves = self.values.len() / n_values.max(1);
        let holds = |is: bool, what| if is { Ok(()) } else { Err(InvalidTrees(what)) };
        holds((self.n_cols, self.n_values) == (n_cols, n_values) && n_values > 0, "the number of columns or values")?;
        holds([self.thresholds.len(), self.flags.len(), self.children.len()] == [n_nodes; 3], "the number of nodes")?;
        holds(self.values.len().is_multiple_of(n_values) && self.values.iter().all(|value| value.is_finite()), "the leaves")?;
        let ends = || self.roots.iter().skip(1).map(|next| *next as usize).chain([n_nodes]);
        let trees = || self.roots.iter().map(|root| *root as usize).zip(ends());
        let is_first_at_start = self.roots.first().map_or(n_nodes, |first| *first as usize) == 0;
        holds(is_first_at_start && trees().all(|(root, end)| root < end), "the roots")?;
        holds(trees().all(|(root, end)| (root..end).all(|node| self.is_node_valid(node, end, n_leaves))), "the nodes")
    }

    /// Whether a node of a tree that ends at `end` leads to others of the same tree.
    fn is_node_valid(&self, node: usize, end: usize, n_leaves: usize) -> bool {
        let child = self.children[node] as usize;
        if self.columns[node] == Self::LEAF {
            return child < n_leaves;
        }
        // Children come after their parents, so that every path ends.
        let is_test_valid =
            self.flags[node] & CATEGORY == 0 || self.are_categories_valid(self.thresholds[node].to_bits() as usize);
        (self.columns[node] as usize) < self.n_cols && child > node && child + 1 < end && is_test_valid
    }

    fn are_categories_valid(&self, at: usize) -> bool {
        let end = self.categories.get(at).map(|n_words| at + 1 + *n_words as usize);
        end.is_some_and(|end| end <= self.categories.len() && (end - at - 1).is_multiple_of(2))
    }
}

/// A tree while it grows.
#[derive(Debug, Clone, Default)]
pub(super) struct Grown {
    /// Its nodes; the first one is the root.
    pub nodes: Vec<Node>,
    /// The values of its leaves.
    pub values: Vec<f32>,
}

/// A node of a tree that grows.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// A test with two children.
    Split {
        /// The column.
        column: usize,
        /// Which values go left.
        test: Test,
        /// Whether missing values go left.
        missing_left: bool,
        /// The left child.
        left: usize,
        /// The right child.
        right: usize,
    },
    /// A leaf and the position of its values, in units of the number of values per leaf.
    Leaf(usize),
}

/// The test of a node.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    /// Numbers up to this go left.
    AtMost(f32),
    /// Some of the codes seen in training go left.
    Categories {
        /// All codes that were seen.
        seen: Vec<u32>,
        /// Those that go left.
        left: Vec<u32>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stump() -> Trees {
        let mut trees = Trees::new(2, 1);
        let split = |column, test, missing_left, left, right| Node::Split { column, test, missing_left, left, right };
        let categories = Test::Categories { seen: vec![0, 1, 40], left: vec![1, 40] };
        let nodes = vec![
            split(0, Test::AtMost(0.5), true, 3, 1),
            split(1, categories, false, 2, 4),
            Node::Leaf(1),
            Node::Leaf(0),
            Node::Leaf(2),
        ];
        trees.push_tree(&Grown { nodes, values: vec![1.0, 2.0, 3.0] });
        trees
    }

    #[test]
    fn rows_reach_their_leaves() {
        let trees = stump();
        let cases = [
            ([0.5, 0.0], 1.0),
            ([f32::NAN, 0.0], 1.0),
            ([1.0, 1.0], 2.0),
            ([1.0, 40.0], 2.0),
            ([1.0, 0.0], 3.0),
            ([1.0, 7.0], 3.0),
            ([1.0, 4e9], 3.0),
            ([1.0, f32::NAN], 3.0),
        ];
        for (row, want) in cases {
            assert_eq!(trees.leaf(0, &row), [want], "{row:?}");
        }
        let rows: Vec<&[f32]> = cases.iter().cycle().take(43).map(|(row, _)| row.as_slice()).collect();
        let mut reached = Vec::new();
        trees.each_leaf(&rows, |row, tree, leaf| reached.push((row, tree, leaf[0])));
        let want: Vec<_> = (0..43).map(|row| (row, 0, cases[row % cases.len()].1)).collect();
        assert_eq!(reached, want);
        let mut twice = stump();
        twice.push_tree(&Grown { nodes: vec![Node::Leaf(0)], values: vec![9.0] });
        assert_eq!(twice.leaf(1, &[0.0, 0.0]), [9.0]);
        assert_eq!(twice.check(2, 1), Ok(()));
        twice.truncate(1);
        assert_eq!(twice.values, trees.values);
    }

    #[test]
    fn trees_of_other_collections_are_appended() {
        let mut trees = stump();
        trees.append(&stump());
        assert_eq!((trees.len(), trees.check(2, 1)), (2, Ok(())));
        let mut first = trees.clone();
        first.truncate(1);
        assert_eq!(first, stump(), "nothing of other trees is left");
        for row in [[0.5, 0.0], [1.0, 40.0], [1.0, 0.0], [1.0, f32::NAN]] {
            assert_eq!(trees.leaf(1, &row), stump().leaf(0, &row));
        }
    }

    #[test]
    fn damaged_trees_are_refused() {
        let damages: [fn(&mut Trees); 9] = [
            |trees| trees.children[0] = 0,
            |trees| trees.children[2] = 4,
            |trees| trees.columns[2] = 2,
            |trees| trees.thresholds[2] = f32::from_bits(9),
            |trees| trees.roots[0] = 5,
            |trees| trees.roots[0] = 1,
            |trees| trees.roots.push(3),
            |trees| trees.values[0] = f32::NAN,
            |trees| trees.categories[0] = 5,
        ];
        for (at, damage) in damages.iter().enumerate() {
            let mut trees = stump();
            damage(&mut trees);
            assert!(trees.check(2, 1).is_err(), "damage {at}");
        }
    }
}
