//! Element types of tensors, and their conversion to `f32`.

use half::{bf16, f16};

/// The type of a tensor's elements, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Element {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

impl Element {
    /// Returns the name, such as `f32`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::I16 => "i16",
            Self::I8 => "i8",
            Self::U64 => "u64",
            Self::U32 => "u32",
            Self::U16 => "u16",
            Self::U8 => "u8",
            Self::Bool => "bool",
        }
    }

    /// Returns the size of one element in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Converts elements to `f32`, rounding wider types; bytes of an incomplete last element are ignored.
    pub fn to_f32(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F64 => decode(bytes, |it| f64::from_le_bytes(it) as f32),
            Self::F32 => decode(bytes, f32::from_le_bytes),
            Self::F16 => decode(bytes, |it| f16::from_le_bytes(it).to_f32()),
            Self::Bf16 => decode(bytes, |it| bf16::from_le_bytes(it).to_f32()),
            Self::I64 => decode(bytes, |it| i64::from_le_bytes(it) as f32),
            Self::I32 => decode(bytes, |it| i32::from_le_bytes(it) as f32),
            Self::I16 => decode(bytes, |it| f32::from(i16::from_le_bytes(it))),
            Self::I8 => decode(bytes, |it| f32::from(i8::from_le_bytes(it))),
            Self::U64 => decode(bytes, |it| u64::from_le_bytes(it) as f32),
            Self::U32 => decode(bytes, |it| u32::from_le_bytes(it) as f32),
            Self::U16 => decode(bytes, |it| f32::from(u16::from_le_bytes(it))),
            Self::U8 => decode(bytes, |it| f32::from(u8::from_le_bytes(it))),
            Self::Bool => decode(bytes, |[it]: [u8; 1]| f32::from(u8::from(it != 0))),
        }
    }
}

fn decode<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<N>().0.iter().map(|it| number(*it)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_element_types_are_converted() {
        assert_eq!(Element::F64.to_f32(&1.5f64.to_le_bytes()), [1.5]);
        assert_eq!(Element::F32.to_f32(&(-2.25f32).to_le_bytes()), [-2.25]);
        assert_eq!(Element::F16.to_f32(&f16::from_f32(0.5).to_le_bytes()), [0.5]);
        assert_eq!(Element::Bf16.to_f32(&bf16::from_f32(3.0).to_le_bytes()), [3.0]);
        assert_eq!(Element::I64.to_f32(&(-7i64).to_le_bytes()), [-7.0]);
        assert_eq!(Element::I32.to_f32(&9i32.to_le_bytes()), [9.0]);
        assert_eq!(Element::I8.to_f32(&[0xff, 2]), [-1.0, 2.0]);
        assert_eq!(Element::U16.to_f32(&[1, 1, 9]), [257.0], "an incomplete last element is ignored");
        assert_eq!(Element::Bool.to_f32(&[0, 3]), [0.0, 1.0]);
    }
}
