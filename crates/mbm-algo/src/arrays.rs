//! The arrays of fitted models, so that they can be stored apart from the few numbers around them.

/// An array of a fitted model.
#[derive(Debug)]
pub enum ArrayMut<'a> {
    /// Numbers.
    F32(&'a mut Vec<f32>),
    /// Positions and codes.
    U32(&'a mut Vec<u32>),
    /// Flags.
    U8(&'a mut Vec<u8>),
}
