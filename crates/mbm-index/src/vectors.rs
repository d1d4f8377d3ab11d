//! Vectors of unit length in a file, with 32, 16 or 8 bits per number.

use std::path::Path;

use mbm_kernels::{Stored, to_bytes, to_half};
use serde::{Deserialize, Serialize};

use crate::sealed::{Sealed, SealedWriter};
use crate::{Damage, IndexError};

/// The number format in which vectors are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point.
    F32,
    /// 16-bit floating point (IEEE half precision).
    F16,
    /// 8-bit integers with one scale per vector.
    I8,
}

impl Precision {
    /// All precisions by name.
    pub const ALL: [(&'static str, Self); 3] = [("f32", Self::F32), ("f16", Self::F16), ("i8", Self::I8)];

    /// Bytes per number.
    fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::I8 => 1,
        }
    }
}

/// The footer of a file of vectors.
#[derive(Debug, Serialize, Deserialize)]
struct Footer {
    vectors: Precision,
    width: usize,
    n_rows: usize,
}

/// Writes a file of vectors.
pub(crate) struct VectorFileWriter {
    out: SealedWriter,
    precision: Precision,
    width: usize,
    n_rows: usize,
    scales: Vec<f32>,
}

/// An open file of vectors.
#[derive(Debug)]
pub(crate) struct VectorFile {
    file: Sealed,
    precision: Precision,
    pub width: usize,
    pub n_rows: usize,
}

/// Scales a vector to unit length; `None` if it has no direction (zero or not finite).
pub fn unit(vector: &[f32]) -> Option<Vec<f32>> {
    let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    (length.is_finite() && length > 1e-12).then(|| vector.iter().map(|x| (f64::from(*x) / length) as f32).collect())
}

impl VectorFileWriter {
    pub fn create(path: &Path, precision: Precision, width: usize) -> Result<Self, IndexError> {
        Ok(Self { out: SealedWriter::create(path)?, precision, width, n_rows: 0, scales: Vec::new() })
    }

    pub fn push(&mut self, vector: &[f32]) -> Result<(), IndexError> {
        if vector.len() != self.width {
            return Err(IndexError::Width { expected: self.width, found: vector.len() });
        }
        self.n_rows += 1;
        let vector = unit(vector).ok_or(IndexError::NoDirection { row: self.n_rows })?;
        match self.precision {
            Precision::F32 => self.out.write(bytemuck::cast_slice(&vector)),
            Precision::F16 => self.out.write(bytemuck::cast_slice(&vector.iter().map(|x| to_half(*x)).collect::<Vec<u16>>())),
            Precision::I8 => {
                let (bytes, scale) = to_bytes(&vector);
                self.scales.push(scale);
                self.out.write(bytemuck::cast_slice(&bytes))
            }
        }
    }

    pub fn finish(mut self) -> Result<(), IndexError> {
        self.out.write(&vec![0; padding(self.out.n_bytes() as usize)])?;
        self.out.write(bytemuck::cast_slice(&self.scales))?;
        self.out.finish(&Footer { vectors: self.precision, width: self.width, n_rows: self.n_rows })
    }
}

/// Bytes missing to the next multiple of four.
fn padding(n_bytes: usize) -> usize {
    n_bytes.next_multiple_of(4) - n_bytes
}

impl VectorFile {
    pub fn open(path: &Path) -> Result<Self, IndexError> {
        let file = Sealed::open(path)?;
        let Footer { vectors: precision, width, n_rows } = file.footer()?;
        let vectors = Self { file, precision, width, n_rows };
        if width == 0 || n_rows >= u32::MAX as usize {
            return Err(IndexError::damaged(path, Damage::Size { n_rows, width }));
        }
        vectors.read()?;
        Ok(vectors)
    }

    fn read(&self) -> Result<Stored<'_>, IndexError> {
        let too_many = || IndexError::damaged(&self.file.path, Damage::TooManyVectors);
        let n = self.n_rows.checked_mul(self.width).ok_or_else(too_many)?;
        let n_bytes = n.checked_mul(self.precision.size()).and_then(|n| n.checked_next_multiple_of(4)).ok_or_else(too_many)?;
        Ok(match self.precision {
            Precision::F32 => Stored::F32(self.file.numbers(0, n)?),
            Precision::F16 => Stored::F16(self.file.numbers(0, n)?),
            Precision::I8 => Stored::I8(self.file.numbers(0, n)?, self.file.numbers(n_bytes, self.n_rows)?),
        })
    }

    /// The stored vectors, `[rows, width]`.
    pub fn stored(&self) -> Stored<'_> {
        self.read().expect("sizes are checked on opening")
    }

    pub fn n_bytes(&self) -> u64 {
        self.file.n_bytes()
    }
}

#[cfg(test)]
mod tests {
    use mbm_kernels::Query;

    use super::*;

    #[test]
    fn vectors_round_trip_with_unit_length_in_every_precision() {
        let folder = tempfile::tempdir().unwrap();
        for (name, precision) in Precision::ALL {
            let path = folder.path().join(name);
            let mut writer = VectorFileWriter::create(&path, precision, 3).unwrap();
            writer.push(&[3.0, 0.0, 4.0]).unwrap();
            writer.push(&[0.0, -2.0, 0.0]).unwrap();
            assert!(matches!(writer.push(&[1.0]), Err(IndexError::Width { expected: 3, found: 1 })));
            writer.finish().unwrap();
            let vectors = VectorFile::open(&path).unwrap();
            assert_eq!((vectors.n_rows, vectors.width), (2, 3));
            let row = |row| match vectors.stored().row(row, 3) {
                Query::Float(values) => values,
                Query::Byte(values, scale) => values.iter().map(|x| f32::from(*x) * scale).collect(),
            };
            for (found, want) in [(row(0), [0.6, 0.0, 0.8]), (row(1), [0.0, -1.0, 0.0])] {
                assert!(found.iter().zip(want).all(|(a, b)| (a - b).abs() < 0.005), "{name}: {found:?}");
            }
        }
    }

    #[test]
    fn a_vector_without_a_direction_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = VectorFileWriter::create(&folder.path().join("v"), Precision::F32, 2).unwrap();
        for vector in [[0.0, 0.0], [f32::NAN, 1.0], [f32::INFINITY, 1.0]] {
            assert!(matches!(writer.push(&vector), Err(IndexError::NoDirection { .. })));
        }
    }
}
