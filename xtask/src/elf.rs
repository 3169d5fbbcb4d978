//! The linkage of ELF programs. A static program, position independent or not, has no `PT_INTERP` header, so the kernel
//! alone loads it.
//! Source: the ELF-64 object file format, version 1.5, figures 3 and 6.

use anyhow::{Context, Result, bail};

/// Program header type of the path of a dynamic loader.
const PT_INTERP: u32 = 3;
/// Fields of the file header: 64-bit class, little-endian data.
const CLASS_64: u8 = 2;
const DATA_LITTLE: u8 = 1;

/// The place of the code of libraries.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Linkage {
    /// All code is in the program.
    Static,
    /// A loader, which the program names, must be installed and adds the libraries.
    Dynamic,
}

/// The linkage of the ELF program whose content is `bytes` (64-bit, little-endian).
pub(crate) fn linkage(bytes: &[u8]) -> Result<Linkage> {
    if !bytes.starts_with(b"\x7fELF") {
        bail!("not an ELF file");
    }
    if bytes.get(4..6) != Some(&[CLASS_64, DATA_LITTLE]) {
        bail!("not a 64-bit little-endian ELF file");
    }
    let table = usize::try_from(u64::from_le_bytes(field(bytes, 32)?))?;
    let size = usize::from(u16::from_le_bytes(field(bytes, 54)?));
    let count = usize::from(u16::from_le_bytes(field(bytes, 56)?));
    for index in 0..count {
        let start = table.checked_add(index * size).context("program headers are past any file")?;
        if u32::from_le_bytes(field(bytes, start)?) == PT_INTERP {
            return Ok(Linkage::Dynamic);
        }
    }
    Ok(Linkage::Static)
}

fn field<const N: usize>(bytes: &[u8], start: usize) -> Result<[u8; N]> {
    start
        .checked_add(N)
        .and_then(|end| bytes.get(start..end))
        .and_then(|field| field.try_into().ok())
        .context("the ELF file is cut short")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file header and program headers of the given types.
    fn program(types: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32..40].copy_from_slice(&64u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&u16::try_from(types.len()).unwrap().to_le_bytes());
        for kind in types {
            bytes.extend_from_slice(&kind.to_le_bytes());
            bytes.extend_from_slice(&[0; 52]);
        }
        bytes
    }

    #[test]
    fn program_with_a_loader_is_dynamic() {
        assert_eq!(linkage(&program(&[6, PT_INTERP, 1])).unwrap(), Linkage::Dynamic);
    }

    #[test]
    fn program_without_a_loader_is_static() {
        assert_eq!(linkage(&program(&[1, 1, 2])).unwrap(), Linkage::Static);
    }

    #[test]
    fn anything_else_is_refused() {
        assert!(linkage(b"#!/bin/sh\n").is_err());
        assert!(linkage(b"\x7fELF").is_err());
        let mut cut = program(&[1, PT_INTERP]);
        cut.truncate(100);
        assert!(linkage(&cut).is_err());
    }
}
