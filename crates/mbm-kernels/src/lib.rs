//! Hot loops on slices of numbers: no tensors, no files.
//!
//! Kernels are plain Rust, written so that compilers turn them into vector instructions, and compiled once for each set of instructions
//! in [`dispatch`], which chooses at run time: one binary serves old and new processors. Calling code that is compiled for instructions
//! which the processor was asked for is all that is `unsafe` here.

mod dispatch;
mod functions;
mod lstm;
mod multiply;

pub use lstm::{LstmGradients, LstmShape, LstmStates, lstm_backward, lstm_forward};
pub use multiply::Packed;

use dispatch::{Instructions, Kernel, dispatch};
