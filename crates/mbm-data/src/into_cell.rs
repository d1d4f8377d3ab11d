//! Values of Rust as cells.

use std::path::{Path, PathBuf};

use crate::Cell;

macro_rules! cells {
    ($($value:ty => $cell:expr;)+) => { $(
        impl From<$value> for Cell {
            fn from(value: $value) -> Self {
                let cell: fn($value) -> Cell = $cell;
                cell(value)
            }
        }
    )+ };
}

cells! {
    &str => Cell::text;
    String => Cell::of_text;
    &Path => |path| Cell::text(&path.to_string_lossy());
    &PathBuf => |path| Cell::text(&path.to_string_lossy());
    PathBuf => |path| Cell::text(&path.to_string_lossy());
    f64 => Cell::Number;
    f32 => |value| Cell::Number(f64::from(value));
    i32 => |value| Cell::Number(f64::from(value));
    u32 => |value| Cell::Number(f64::from(value));
    bool => Cell::Bool;
    Vec<u8> => Cell::Bytes;
    &[u8] => |content| Cell::Bytes(content.to_vec());
    Vec<f64> => Cell::Numbers;
    &[f64] => |values| Cell::Numbers(values.to_vec());
    Vec<String> => Cell::Words;
}

impl<C: Into<Cell>> From<Option<C>> for Cell {
    fn from(value: Option<C>) -> Self {
        value.map_or(Cell::Empty, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_cells_of_their_type() {
        assert_eq!(Cell::from("7.png"), Cell::Text("7.png".to_owned()));
        assert_eq!(Cell::from(Path::new("7.png")), Cell::from("7.png"));
        assert_eq!((Cell::from("  "), Cell::from(None::<f64>)), (Cell::Empty, Cell::Empty));
        assert_eq!((Cell::from(3), Cell::from(Some(0.5f32))), (Cell::Number(3.0), Cell::Number(0.5)));
        assert_eq!(Cell::from(vec![1u8, 2]), Cell::Bytes(vec![1, 2]));
    }
}
