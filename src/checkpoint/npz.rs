//! Tensors as numpy arrays: the header of a `.npy` member.

use crate::plan::checkpoint::{DType, TensorPlan};

/// The header of a one-dimensional array, a multiple of 64 bytes long. numpy has no bf16: its two bytes are a uint16.
///
/// Source: numpy's `numpy/lib/format.py`, version 1.0.
pub fn header(tensor: &TensorPlan) -> Vec<u8> {
    let descr = match tensor.dtype {
        DType::Int8 => "|i1",
        DType::Uint8 => "|u1",
        DType::Fp16 => "<f2",
        DType::Bf16 => "<u2",
        DType::Fp32 => "<f4",
        DType::Fp64 => "<f8",
    };
    let text = format!(
        "{{'descr': '{descr}', 'fortran_order': False, 'shape': ({},), }}",
        tensor.elements
    );
    const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
    let used = MAGIC.len() + 2 + text.len() + 1;
    let padding = used.next_multiple_of(64) - used;
    let mut out = MAGIC.to_vec();
    out.extend(((text.len() + padding + 1) as u16).to_le_bytes());
    out.extend(text.as_bytes());
    out.resize(out.len() + padding, b' ');
    out.push(b'\n');
    out
}
