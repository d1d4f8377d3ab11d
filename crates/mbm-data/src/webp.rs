//! Checks the chunks of a WebP file against its length and a pixel limit before the decoder allocates what they declare.
//!
//! An extended file declares its size in the first chunk, but the image in a later chunk has a size of its own, which the decoder
//! trusts; a metadata chunk may declare four gigabytes.

use crate::{Cause, Fault};

/// Size in bytes of a chunk's header (its name and size), and of the file's header.
const HEAD: usize = 8;
const FILE_HEAD: usize = 12;

/// Size in bytes of the header of an animation frame, which precedes the frame's chunks.
const FRAME_HEAD: usize = 16;

/// Bytes after the declared end of the file in which the decoder may still look for chunks.
const SLACK: usize = 32;

/// Rejects chunks that extend beyond the file and images with too many pixels; files other than WebP pass.
pub(crate) fn check(bytes: &[u8], max_pixels: usize) -> Result<(), Fault> {
    if !bytes.starts_with(b"RIFF") || bytes.get(8..FILE_HEAD) != Some(b"WEBP") {
        return Ok(());
    }
    let end = number(&bytes[4..8]).saturating_add(HEAD + SLACK);
    check_chunks(&bytes[FILE_HEAD..bytes.len().min(end)], max_pixels)
}

fn check_chunks(mut bytes: &[u8], max_pixels: usize) -> Result<(), Fault> {
    while let Some((head, rest)) = bytes.split_at_checked(HEAD) {
        let (name, n_bytes) = (&head[..4], number(&head[4..]));
        let Some(body) = rest.get(..n_bytes) else {
            let message = format!("the chunk '{}' of {n_bytes} bytes extends beyond the end of the file", name.escape_ascii());
            return Err(Fault::new(Cause::Unreadable, message));
        };
        check_image(name, body, max_pixels)?;
        if name == b"ANMF" {
            check_chunks(body.get(FRAME_HEAD..).unwrap_or_default(), max_pixels)?;
        }
        bytes = rest.get(n_bytes.next_multiple_of(2)..).unwrap_or_default();
    }
    Ok(())
}

fn check_image(name: &[u8], body: &[u8], max_pixels: usize) -> Result<(), Fault> {
    const SIDE: usize = 0x3fff;
    let (width, height) = match (name, body) {
        (b"VP8 ", [_, _, _, _, _, _, size @ ..]) if size.len() >= 4 => (number(&size[..2]) & SIDE, number(&size[2..4]) & SIDE),
        (b"VP8L", [_, size @ ..]) if size.len() >= 4 => {
            let size = number(&size[..4]);
            (1 + (size & SIDE), 1 + (size >> 14 & SIDE))
        }
        _ => return Ok(()),
    };
    if width * height <= max_pixels {
        return Ok(());
    }
    Err(Fault::new(Cause::TooLarge, format!("{width} x {height} pixels within the file, the limit is {max_pixels} in total")))
}

/// Reads a little-endian number of up to four bytes.
fn number(bytes: &[u8]) -> usize {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(chunks: &[(&[u8; 4], u32, &[u8])]) -> Vec<u8> {
        let chunk = |(name, size, body): &(&[u8; 4], u32, &[u8])| [name.as_slice(), &size.to_le_bytes(), body].concat();
        let body: Vec<u8> = chunks.iter().flat_map(chunk).collect();
        [b"RIFF".as_slice(), &(body.len() as u32 + 4).to_le_bytes(), b"WEBP", &body].concat()
    }

    #[test]
    fn huge_images_and_oversized_metadata_are_rejected() {
        let canvas: &[u8] = &[0; 10];
        let huge: &[u8] = &[0, 0, 0, 0x9d, 1, 0x2a, 0xff, 0x3f, 0xff, 0x3f];
        let fault = check(&file(&[(b"VP8X", 10, canvas), (b"VP8 ", 10, huge)]), 1_000_000).unwrap_err();
        assert_eq!((fault.cause, fault.detail.contains("16383 x 16383")), (Cause::TooLarge, true), "{fault}");
        let lossless: &[u8] = &[0x2f, 0xff, 0xff, 0xff, 0x0f, 0];
        let frame = [&[0; FRAME_HEAD][..], b"VP8L", &[6, 0, 0, 0], lossless].concat();
        let fault = check(&file(&[(b"VP8X", 10, canvas), (b"ANMF", 30, &frame)]), 1_000_000).unwrap_err();
        assert!(fault.detail.contains("16384 x 16384"), "{fault}");
        let fault = check(&file(&[(b"VP8X", 10, canvas), (b"EXIF", 4_000_000_000, b"")]), 1_000_000).unwrap_err();
        assert!(fault.detail.contains("'EXIF' of 4000000000 bytes"), "{fault}");
    }

    #[test]
    fn valid_files_pass() {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image::RgbImage::new(30, 20).write_to(&mut bytes, image::ImageFormat::WebP).unwrap();
        check(bytes.get_ref(), 600).unwrap();
        assert!(check(bytes.get_ref(), 599).is_err());
        check(b"RIFF", 0).unwrap();
    }
}
