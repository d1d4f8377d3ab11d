//! Images: decoding within limits, resizing and cropping, and random augmentation.

use std::io::Cursor;

use fast_image_resize::images::Image as Buffer;
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Limits};
use mbm_config::{choices, settings, tagged};
use rand::RngExt;

use crate::catch_panic::{DECODER_FAILED, catch_panic};
use crate::payload::Pixels;
use crate::random::Rng;
use crate::{Cause, Fault, webp};

/// Bytes that a header may decompress to before the number of pixels is known: color profiles have up to a few megabytes, and
/// compression can shrink one a thousandfold.
const MAX_HEADER: u64 = 1 << 24;

/// Limits the memory that a decoder may allocate in addition to the file.
fn alloc_limit(n_bytes: u64) -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(n_bytes);
    limits
}

/// Whether a file extension is that of a supported image format.
pub(crate) fn is_image(extension: &str) -> bool {
    const EXTENSIONS: [&str; 12] = ["png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm", "pbm", "pnm"];
    EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str())
}

/// Decodes PNG, JPEG, WebP, GIF (first frame), BMP, TIFF or PNM, and applies the EXIF orientation.
///
/// # Errors
/// [`Cause::TooLarge`] from the header alone, before any pixels are decoded; [`Cause::Unreadable`] for damaged or truncated data.
pub fn decode_image(bytes: &[u8], max_pixels: usize) -> Result<DynamicImage, Fault> {
    catch_panic(|| decoded(bytes, max_pixels)).unwrap_or_else(|| Err(Fault::new(Cause::Unreadable, DECODER_FAILED)))
}

fn decoded(bytes: &[u8], max_pixels: usize) -> Result<DynamicImage, Fault> {
    if bytes.is_empty() {
        return Err(Fault::new(Cause::Unreadable, "zero bytes"));
    }
    if is_truncated_jpeg(bytes) {
        return Err(Fault::new(Cause::Unreadable, "truncated JPEG: the end marker is missing"));
    }
    webp::check(bytes, max_pixels)?;
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| unreadable(error.into()))?;
    reader.limits(alloc_limit(MAX_HEADER));
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > max_pixels as u64 {
        return Err(Fault::new(Cause::TooLarge, format!("{width} x {height} pixels, the limit is {max_pixels} in total")));
    }
    let n_bytes = decoder.total_bytes();
    decoder.set_limits(alloc_limit(2 * n_bytes + MAX_HEADER)).map_err(unreadable)?;
    let orientation = decoder.orientation().map_err(unreadable)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// Describes a decoding error in our own words: a decoder's message names its internals, and may repeat content of the file.
fn unreadable(error: ImageError) -> Fault {
    let message = match error {
        ImageError::Unsupported(_) => "in an unsupported format; supported are PNG, JPEG, WebP, GIF, BMP, TIFF and PNM",
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => "truncated",
        ImageError::Limits(_) => return Fault::new(Cause::TooLarge, "decoding exceeds the memory limit of an image"),
        ImageError::IoError(_) | ImageError::Decoding(_) | ImageError::Encoding(_) | ImageError::Parameter(_) => "damaged",
    };
    Fault::new(Cause::Unreadable, message)
}

/// Returns whether a JPEG is truncated. The decoder silently fills missing data with gray; a complete file ends its scans with FF
/// D9.
fn is_truncated_jpeg(bytes: &[u8]) -> bool {
    if !bytes.starts_with(&[0xff, 0xd8]) {
        return false;
    }
    let mut at = 2;
    while let Some([0xff, marker, high, low]) = bytes.get(at..at + 4) {
        if *marker == 0xda {
            return !bytes[at..].windows(2).any(|pair| pair == [0xff, 0xd9]);
        }
        let is_fill = *marker == 0xff;
        at += if is_fill { 1 } else { 2 + usize::from(u16::from_be_bytes([*high, *low])) };
    }
    true
}

choices! {
    /// The interpolation used to resize an image, with anti-aliasing as in Pillow.
    pub enum Interpolation {
        /// Linear in both directions.
        Bilinear = "bilinear",
        /// Cubic in both directions (a = -0.5).
        Bicubic = "bicubic",
    }
}

/// Maximum number of pixels of a resized image before its center is cropped.
const MAX_SCALED: usize = 1 << 26;

/// How images are resized and cropped to the size that the model reads.
pub(crate) struct Framing {
    pub height: usize,
    pub width: usize,
    pub shorter_side: Option<usize>,
    pub interpolation: Interpolation,
}

impl Framing {
    /// Returns the image at this size, channels first, as Pillow's `resize` does, or torchvision's `Resize` and `CenterCrop`.
    pub fn pixels(&self, image: &DynamicImage, channels: usize) -> Result<Pixels, Fault> {
        let from = (image.height() as usize, image.width() as usize);
        let size = self.shorter_side.map_or((self.height, self.width), |side| scaled(from, side));
        // Between the horizontal and the vertical pass, an image has the target width and the source height.
        if size.0 * size.1 > MAX_SCALED || from.0 * size.1 > MAX_SCALED.max(from.0 * from.1) {
            let message =
                format!("{} x {} pixels when resized from {} x {}, the limit is {MAX_SCALED}", size.1, size.0, from.1, from.0);
            return Err(Fault::new(Cause::TooLarge, message));
        }
        let bytes = match channels {
            1 => self.resized::<U8>(image.to_luma8().into_raw(), from, size)?,
            _ => self.resized::<U8x3>(image.to_rgb8().into_raw(), from, size)?,
        };
        let planes = (0..channels).flat_map(|channel| bytes.iter().skip(channel).step_by(channels).copied()).collect();
        let whole = Pixels { channels, height: size.0, width: size.1, data: planes };
        Ok(if size == (self.height, self.width) { whole } else { self.center_crop(&whole) })
    }

    /// Resizes horizontally, then vertically, rounding to bytes after each pass: Pillow's order, which matters where cubic
    /// interpolation overshoots. The pixel type is known at compile time: `Resizer::resize` would compile all thirteen.
    fn resized<P: PixelTrait>(&self, bytes: Vec<u8>, from: (usize, usize), to: (usize, usize)) -> Result<Vec<u8>, Fault> {
        let filter = match self.interpolation {
            Interpolation::Bilinear => FilterType::Bilinear,
            Interpolation::Bicubic => FilterType::CatmullRom,
        };
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
        let source = Buffer::from_vec_u8(from.1 as u32, from.0 as u32, bytes, P::pixel_type());
        let mut image = source.map_err(|_| not_resizable())?;
        for (height, width) in [(from.0, to.1), to] {
            if (image.height() as usize, image.width() as usize) != (height, width) {
                let mut target = Buffer::new(width as u32, height as u32, P::pixel_type());
                let views = image.typed_image::<P>().zip(target.typed_image_mut::<P>());
                let (source, mut resized) = views.ok_or_else(not_resizable)?;
                Resizer::new().resize_typed(&source, &mut resized, &options).map_err(|_| not_resizable())?;
                image = target;
            }
        }
        Ok(image.into_vec())
    }

    /// Crops the center of an image; black where the image is too small.
    fn center_crop(&self, whole: &Pixels) -> Pixels {
        // Half pixels are rounded to even, as in Python.
        let start = |from: usize, to: usize| ((from as f64 - to as f64) / 2.0).round_ties_even() as i64;
        let (top, left) = (start(whole.height, self.height), start(whole.width, self.width));
        let mut data = Vec::with_capacity(whole.channels * self.height * self.width);
        for plane in whole.data.chunks(whole.height * whole.width) {
            for y in (0..self.height as i64).map(|y| y + top) {
                for x in (0..self.width as i64).map(|x| x + left) {
                    let inside = (0..whole.height as i64).contains(&y) && (0..whole.width as i64).contains(&x);
                    data.push(if inside { plane[y as usize * whole.width + x as usize] } else { 0 });
                }
            }
        }
        Pixels { channels: whole.channels, height: self.height, width: self.width, data }
    }
}

fn not_resizable() -> Fault {
    Fault::new(Cause::Unreadable, "cannot be resized to the model's input size")
}

/// Returns the height and width after the shorter side is scaled to `side`; the longer side is rounded down, as in torchvision.
fn scaled((height, width): (usize, usize), side: usize) -> (usize, usize) {
    let longer = |longer: usize, shorter: usize| (side * longer / shorter.max(1)).max(1);
    if height <= width { (side, longer(width, height)) } else { (longer(height, width), side) }
}

settings! {
    /// An augmentation without settings.
    pub struct Plain {}

    /// Rotation about the center.
    pub struct Rotate {
        /// The largest angle in either direction, in degrees.
        degree: f64 = 15.0 => 0.0..=180.0;
    }

    /// A shift by whole pixels; the edge is repeated where the image ends.
    pub struct Shift {
        /// The largest shift in either direction, in pixels.
        pixels: usize = 4 => 1..=1024;
    }

    /// A random crop, resized to the size of the image (Szegedy et al. 2015).
    pub struct ResizedCrop {
        /// The smallest crop, as a fraction of the area.
        min_area: f64 = 0.35 => 0.01..=1.0;
    }

    /// A random factor.
    pub struct Factor {
        /// The smallest factor.
        min: f64 = 0.7 => 0.0..=10.0;
        /// The largest factor.
        max: f64 = 1.3 => 0.0..=10.0;
    }

    /// A rectangle of uniform gray (random erasing, Zhong et al. 2020).
    pub struct Erase {
        /// The largest side, as a fraction of the image's.
        share: f64 = 0.3 => 0.01..=0.9;
    }
}

tagged! {
    /// One random augmentation of a training image.
    pub enum ImageAugmentation {
        HorizontalFlip(Plain) = "random_horizontal_flip",
        VerticalFlip(Plain) = "random_vertical_flip",
        Rotate(Rotate) = "random_rotate",
        Shift(Shift) = "random_shift",
        Brightness(Factor) = "random_brightness",
        Contrast(Factor) = "random_contrast",
        Erase(Erase) = "random_erase",
        ResizedCrop(ResizedCrop) = "random_resized_crop",
    }
}

impl ImageAugmentation {
    /// Augments the image in place, with randomness from `rng` alone.
    pub fn apply(&self, image: &mut Pixels, rng: &mut Rng) {
        let (height, width) = (image.height as f64, image.width as f64);
        match self {
            Self::HorizontalFlip(_) if rng.random_bool(0.5) => resample(image, |y, x| (y, width - 1.0 - x)),
            Self::VerticalFlip(_) if rng.random_bool(0.5) => resample(image, |y, x| (height - 1.0 - y, x)),
            Self::HorizontalFlip(_) | Self::VerticalFlip(_) => {}
            Self::Rotate(rotate) => {
                let (sin, cos) = rng.random_range(-rotate.degree..=rotate.degree).to_radians().sin_cos();
                let (cy, cx) = ((height - 1.0) / 2.0, (width - 1.0) / 2.0);
                resample(image, |y, x| (cy + (y - cy) * cos - (x - cx) * sin, cx + (y - cy) * sin + (x - cx) * cos));
            }
            Self::Shift(shift) => {
                let most = shift.pixels as i64;
                let (dy, dx) = (rng.random_range(-most..=most) as f64, rng.random_range(-most..=most) as f64);
                resample(image, |y, x| (y + dy, x + dx));
            }
            Self::Brightness(factor) => {
                let by = draw(factor, rng);
                image.data.iter_mut().for_each(|value| *value = (f64::from(*value) * by).round() as u8);
            }
            Self::Contrast(factor) => {
                let by = draw(factor, rng);
                let mean = image.data.iter().map(|value| f64::from(*value)).sum::<f64>() / image.data.len().max(1) as f64;
                image.data.iter_mut().for_each(|value| *value = (mean + (f64::from(*value) - mean) * by).round() as u8);
            }
            Self::Erase(erase) => erase_rectangle(image, erase.share, rng),
            Self::ResizedCrop(crop) => {
                // The sides of a random area and a random aspect ratio between 3:4 and 4:3, as fractions of the image's.
                let area: f64 = rng.random_range(crop.min_area..=1.0);
                let stretch = rng.random_range((0.75f64).ln()..=-(0.75f64).ln()).exp().sqrt();
                let (dy, dx) = ((area.sqrt() * stretch).min(1.0), (area.sqrt() / stretch).min(1.0));
                let (y0, x0) = (rng.random_range(0.0..=1.0 - dy) * height, rng.random_range(0.0..=1.0 - dx) * width);
                resample(image, |y, x| (y0 + (y + 0.5) * dy - 0.5, x0 + (x + 0.5) * dx - 0.5));
            }
        }
    }
}

fn draw(factor: &Factor, rng: &mut Rng) -> f64 {
    rng.random_range(factor.min.min(factor.max)..=factor.max.max(factor.min))
}

/// Sets each pixel to the bilinear interpolation at `from(y, x)`; outside the image, the edge is repeated.
fn resample(image: &mut Pixels, from: impl Fn(f64, f64) -> (f64, f64)) {
    let (height, width) = (image.height, image.width);
    let source = image.data.clone();
    for y in 0..height {
        for x in 0..width {
            let (sy, sx) = from(y as f64, x as f64);
            let (sy, sx) = (sy.clamp(0.0, height as f64 - 1.0), sx.clamp(0.0, width as f64 - 1.0));
            let (y0, x0) = (sy as usize, sx as usize);
            let (y1, x1) = ((y0 + 1).min(height - 1), (x0 + 1).min(width - 1));
            let (fy, fx) = (sy - y0 as f64, sx - x0 as f64);
            for channel in 0..image.channels {
                let plane = &source[channel * height * width..];
                let at = |y: usize, x: usize| f64::from(plane[y * width + x]);
                let top = at(y0, x0) * (1.0 - fx) + at(y0, x1) * fx;
                let bottom = at(y1, x0) * (1.0 - fx) + at(y1, x1) * fx;
                image.data[(channel * height + y) * width + x] = (top * (1.0 - fy) + bottom * fy).round() as u8;
            }
        }
    }
}

fn erase_rectangle(image: &mut Pixels, share: f64, rng: &mut Rng) {
    let mut side = |length: usize| {
        let size = ((length as f64 * rng.random_range(0.0..=share)) as usize).clamp(1, length);
        let start = rng.random_range(0..=length - size);
        start..start + size
    };
    let (rows, cols) = (side(image.height), side(image.width));
    for channel in 0..image.channels {
        for y in rows.clone() {
            let start = (channel * image.height + y) * image.width;
            image.data[start + cols.start..start + cols.end].fill(128);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(format: image::ImageFormat) -> Vec<u8> {
        let image = image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8 * 6, y as u8 * 8, 100]));
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::from(image).write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn stretched(image: &DynamicImage, channels: usize, height: usize, width: usize) -> Pixels {
        Framing { height, width, shorter_side: None, interpolation: Interpolation::Bilinear }.pixels(image, channels).unwrap()
    }

    #[test]
    fn truncated_jpegs_are_unreadable() {
        let bytes = encoded(image::ImageFormat::Jpeg);
        assert_eq!(decode_image(&bytes, 10_000).unwrap().width(), 40);
        for n_bytes in [0, 1, 30, bytes.len() / 2, bytes.len() - 2] {
            assert_eq!(decode_image(&bytes[..n_bytes], 10_000).unwrap_err().cause, Cause::Unreadable, "{n_bytes} bytes");
        }
    }

    #[test]
    fn decompression_bombs_are_rejected_from_the_header() {
        let mut bytes = encoded(image::ImageFormat::Png);
        bytes[16..24].copy_from_slice(&[0, 0, 0x9c, 0x40, 0, 0, 0x9c, 0x40]);
        let header_crc = crc(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&header_crc.to_be_bytes());
        let fault = decode_image(&bytes, 100_000_000).unwrap_err();
        assert_eq!((fault.cause, fault.detail.contains("40000 x 40000")), (Cause::TooLarge, true), "{fault}");
    }

    #[test]
    fn huge_color_profiles_are_not_decompressed() {
        let mut profile = flate2::write::ZlibEncoder::new(b"x\0\0".to_vec(), flate2::Compression::best());
        (0..24).for_each(|_| std::io::Write::write_all(&mut profile, &[0; 1 << 20]).unwrap());
        let chunk = [b"iCCP".as_slice(), &profile.finish().unwrap()].concat();
        let chunk = [&(chunk.len() as u32 - 4).to_be_bytes(), chunk.as_slice(), &crc(&chunk).to_be_bytes()].concat();
        let mut bytes = encoded(image::ImageFormat::Png);
        bytes.splice(33..33, chunk);
        // The profile does not affect the pixels; the decoder omits one that exceeds its limit.
        let reader = ImageReader::new(Cursor::new(&bytes)).with_guessed_format().unwrap();
        assert_eq!(reader.into_decoder().unwrap().icc_profile().unwrap().map(|profile| profile.len()), Some(24 << 20));
        let mut reader = ImageReader::new(Cursor::new(&bytes)).with_guessed_format().unwrap();
        reader.limits(alloc_limit(MAX_HEADER));
        assert_eq!(reader.into_decoder().unwrap().icc_profile().unwrap(), None);
        assert_eq!(decode_image(&bytes, 10_000).unwrap().width(), 40);
    }

    #[test]
    fn thin_images_are_not_resized_through_gigabytes() {
        let image = DynamicImage::from(image::GrayImage::new(1, 60_000));
        let framing = Framing { height: 4, width: 4096, shorter_side: None, interpolation: Interpolation::Bilinear };
        assert_eq!(framing.pixels(&image, 1).unwrap_err().cause, Cause::TooLarge);
    }

    /// CRC-32 as in PNG.
    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 })
        })
    }

    #[test]
    fn pixels_are_channels_first_and_of_the_requested_size() {
        let image = decode_image(&encoded(image::ImageFormat::Png), 10_000).unwrap();
        let same = stretched(&image, 3, 30, 40);
        assert_eq!((same.data[1], same.data[30 * 40 + 40], same.data[2 * 30 * 40]), (6, 8, 100));
        assert_eq!(stretched(&image, 1, 7, 9).data.len(), 63);
    }

    #[test]
    fn shorter_side_is_resized_and_center_is_cropped() {
        assert_eq!(scaled((480, 640), 256), (256, 341));
        assert_eq!(scaled((640, 480), 256), (341, 256));
        let image = decode_image(&encoded(image::ImageFormat::Png), 10_000).unwrap();
        let framing = |shorter_side: usize| Framing {
            height: 10,
            width: 10,
            shorter_side: Some(shorter_side),
            interpolation: Interpolation::Bilinear,
        };
        // 30 x 40 is not resized; rows 10 to 19 and columns 15 to 24 are its center.
        let middle = framing(30).pixels(&image, 3).unwrap();
        assert_eq!((middle.data[0], middle.data[100], middle.data[99]), (15 * 6, 10 * 8, 24 * 6));
        let bordered = framing(6).pixels(&image, 3).unwrap();
        assert_eq!((bordered.data.len(), bordered.data[0]), (300, 0));
    }

    #[test]
    fn framing_matches_torchvision_within_one_level_of_256() {
        #[derive(serde::Deserialize)]
        struct Golden {
            interpolation: String,
            shorter_side: Option<usize>,
            height: usize,
            width: usize,
            pixels: Vec<u8>,
        }
        let all: Vec<Golden> = serde_json::from_str(include_str!("../tests/golden/framing.json")).unwrap();
        let level = |x: u32, y: u32, c: u32| ((7 * x + 13 * y + x * y + 40 * c) % 256) as u8;
        let image = image::RgbImage::from_fn(90, 60, |x, y| image::Rgb([0, 1, 2].map(|c| level(x, y, c))));
        let image = DynamicImage::from(image);
        for golden in all {
            let interpolation = if golden.interpolation == "bicubic" { Interpolation::Bicubic } else { Interpolation::Bilinear };
            let Golden { shorter_side, height, width, pixels, .. } = golden;
            let found = Framing { height, width, shorter_side, interpolation }.pixels(&image, 3).unwrap();
            let n_pixels = height * width;
            let off = |at: usize| (i32::from(found.data[at % 3 * n_pixels + at / 3]) - i32::from(pixels[at])).abs();
            let worst = (0..pixels.len()).map(off).max();
            let n_off = (0..pixels.len()).filter(|at| off(*at) > 0).count();
            assert!(worst <= Some(1), "{interpolation:?} {shorter_side:?}: {worst:?}, {n_off} of {} differ", pixels.len());
        }
    }

    #[test]
    fn flips_are_involutions_and_augmentation_is_seeded() {
        let image = stretched(&decode_image(&encoded(image::ImageFormat::Png), 10_000).unwrap(), 3, 30, 40);
        let mut flipped = image.clone();
        resample(&mut flipped, |y, x| (y, 39.0 - x));
        assert_eq!(flipped.data[0], image.data[39]);
        resample(&mut flipped, |y, x| (y, 39.0 - x));
        assert_eq!(flipped, image);
        let changed = |seed: u64| {
            let mut image = image.clone();
            let rotate = ImageAugmentation::Rotate(Rotate { degree: 30.0 });
            rotate.apply(&mut image, &mut crate::random::rng(seed));
            image
        };
        assert_eq!(changed(1), changed(1));
        assert_ne!(changed(1), changed(2));
    }

    proptest::proptest! {
        #[test]
        fn damaged_images_never_panic(at in 0usize..600, byte in 0u8..=255) {
            for format in [image::ImageFormat::Png, image::ImageFormat::Jpeg] {
                let mut bytes = encoded(format);
                let n_bytes = bytes.len();
                bytes[at % n_bytes] = byte;
                let _ = decode_image(&bytes, 10_000);
            }
        }
    }
}
