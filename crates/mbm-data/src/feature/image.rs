//! Image features: images resized to one size and number of channels.

use std::path::Path;

use mbm_config::{choices, settings};
use serde::{Deserialize, Serialize};

use super::{FitError, Fitter, InvalidFit, Moments, Preprocess, Preprocessor, Shape, are_moments, ensure, media};
use crate::image::{Framing, Interpolation, decode_image};
use crate::{Cause, Cell, Fault, Payload};

choices! {
    /// How pixel values are centered and scaled.
    pub enum Standardization {
        /// By mean and standard deviation of the training images.
        Dataset = "dataset",
        /// By mean and standard deviation of ImageNet.
        Imagenet1k = "imagenet1k",
        /// By mean and standard deviation of CLIP's training images.
        Clip = "clip",
        /// To the range -1 to 1.
        Inception = "inception",
        /// Channels in BGR order from 0 to 255, minus ImageNet's means, as in Keras and Caffe.
        Caffe = "caffe",
        /// To the range 0 to 1 only.
        None = "none",
    }
}

settings! {
    /// Preprocessing settings for images.
    pub struct ImagePreprocessing {
        /// Height in pixels; if unset, that of the first training image, with its longer side reduced to at most 128.
        height: Option<usize> = None => 1..=4096;
        /// Width in pixels, likewise.
        width: Option<usize> = None => 1..=4096;
        /// 1 (grayscale) or 3; if unset, as in the first training image.
        num_channels: Option<usize> = None => 1..=3;
        /// Length in pixels that the shorter side is resized to before a center crop of height x width; if unset, images are
        /// stretched to height x width.
        resize_shorter_side: Option<usize> = None => 1..=4096;
        /// Interpolation used for resizing.
        interpolation: Interpolation = Interpolation::Bilinear;
        /// How pixel values are centered and scaled.
        standardize_image: Standardization = Standardization::Dataset;
        /// Images with more pixels are not decoded.
        max_pixels: usize = 100_000_000 => 1..=4_000_000_000;
    }
}

/// A fitted image preprocessor: `Image [channels, height, width]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedImage {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Number of channels, 1 or 3.
    pub channels: usize,
    /// Length in pixels that the shorter side is resized to before the center crop.
    pub shorter_side: Option<usize>,
    /// Interpolation used for resizing.
    pub interpolation: Interpolation,
    /// Whether channels are in BGR order.
    pub is_bgr: bool,
    /// Mean of each channel, for values from 0 to 1.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel.
    #[serde(alias = "deviation")]
    pub std: Vec<f32>,
    /// Images with more pixels are not decoded.
    pub max_pixels: usize,
}

/// Maximum length in pixels of the longer side where the size is not configured.
const LONGEST_SIDE: usize = 128;
/// Number of training images that mean and standard deviation are estimated from.
const N_SAMPLED: usize = 256;
/// Number of pixels of the largest image that a model reads.
const MAX_PIXELS: usize = 1 << 28;

struct ImageFitter {
    settings: ImagePreprocessing,
    size: Option<(usize, usize, usize)>,
    moments: Vec<Moments>,
    n_seen: usize,
    first_fault: Option<Fault>,
}

impl ImagePreprocessing {
    /// Returns a fitter with these settings.
    pub fn fitter(&self) -> Box<dyn Fitter> {
        let known =
            self.num_channels.zip(self.height.zip(self.width)).map(|(channels, (height, width))| (channels, height, width));
        Box::new(ImageFitter {
            settings: self.clone(),
            size: known,
            moments: vec![Moments::default(); 3],
            n_seen: 0,
            first_fault: None,
        })
    }
}

impl ImageFitter {
    fn try_observe(&mut self, cell: &Cell, folder: &Path) -> Result<(), Fault> {
        let image = decode_image(&media::bytes_of(cell, folder)?, self.settings.max_pixels)?;
        let settings = &self.settings;
        let (channels, height, width) = *self.size.get_or_insert_with(|| {
            let channels = settings.num_channels.unwrap_or(if image.color().has_color() { 3 } else { 1 });
            let (height, width) = (image.height() as usize, image.width() as usize);
            let shrunk = |side: usize| (side * LONGEST_SIDE / height.max(width).max(LONGEST_SIDE)).max(1);
            (channels, settings.height.unwrap_or(shrunk(height)), settings.width.unwrap_or(shrunk(width)))
        });
        let framing =
            Framing { height, width, shorter_side: settings.resize_shorter_side, interpolation: settings.interpolation };
        let pixels = framing.pixels(&image, channels)?;
        for (moments, plane) in self.moments.iter_mut().zip(pixels.data.chunks(height * width)) {
            plane.iter().for_each(|value| moments.add(f64::from(*value) / 255.0));
        }
        self.n_seen += 1;
        Ok(())
    }
}

impl Fitter for ImageFitter {
    fn observe(&mut self, cell: &Cell, folder: &Path) {
        let needed = self.size.is_none() || self.settings.standardize_image == Standardization::Dataset;
        if !needed || self.n_seen >= N_SAMPLED {
            return;
        }
        if let Err(fault) = self.try_observe(cell, folder) {
            self.first_fault.get_or_insert(media::named(cell, fault));
        }
    }

    fn finish(self: Box<Self>) -> Result<Preprocessor, FitError> {
        let unreadable = FitError::Unreadable { kind: "image", first: self.first_fault };
        let (channels, height, width) = self.size.ok_or(unreadable)?;
        let fitted = self.n_seen > 0;
        let (mean, std) = match (self.settings.standardize_image, channels) {
            (Standardization::Imagenet1k, 3) => (vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]),
            (Standardization::Imagenet1k, _) => (vec![0.449; channels], vec![0.226; channels]),
            (Standardization::Clip, 3) => {
                (vec![0.481_454_66, 0.457_827_5, 0.408_210_73], vec![0.268_629_55, 0.261_302_6, 0.275_777_1])
            }
            (Standardization::Clip, _) => (vec![0.458; channels], vec![0.269; channels]),
            (Standardization::Inception, _) => (vec![0.5; channels], vec![0.5; channels]),
            (Standardization::Caffe, 3) => ([103.939, 116.779, 123.68].map(|mean| mean / 255.0).to_vec(), vec![1.0 / 255.0; 3]),
            (Standardization::Caffe, _) => (vec![116.0 / 255.0; channels], vec![1.0 / 255.0; channels]),
            (Standardization::Dataset, _) if fitted => (
                self.moments[..channels].iter().map(Moments::mean).collect(),
                self.moments[..channels].iter().map(Moments::std).collect(),
            ),
            (Standardization::Dataset | Standardization::None, _) => (vec![0.0; channels], vec![1.0; channels]),
        };
        Ok(Preprocessor::Image(FittedImage {
            height,
            width,
            channels,
            shorter_side: self.settings.resize_shorter_side,
            interpolation: self.settings.interpolation,
            is_bgr: self.settings.standardize_image == Standardization::Caffe && channels == 3,
            mean,
            std,
            max_pixels: self.settings.max_pixels,
        }))
    }
}

impl Preprocess for FittedImage {
    fn payload(&self, cell: &Cell, folder: &Path) -> Result<Payload, Fault> {
        if matches!(cell, Cell::Empty) {
            return Err(Fault::new(Cause::Empty, ""));
        }
        let bytes = media::bytes_of(cell, folder)?;
        let framing = Framing {
            height: self.height,
            width: self.width,
            shorter_side: self.shorter_side,
            interpolation: self.interpolation,
        };
        let decoded = decode_image(&bytes, self.max_pixels).and_then(|image| framing.pixels(&image, self.channels));
        let ordered = decoded.map(|pixels| if self.is_bgr { pixels.reversed() } else { pixels });
        ordered.map(Payload::Image).map_err(|fault| media::named(cell, fault))
    }

    fn content(&self, cell: &Cell, folder: &Path) -> Result<Vec<u8>, Fault> {
        media::bytes_of(cell, folder)
    }

    fn shape(&self) -> Shape {
        Shape::Image { channels: self.channels, height: self.height, width: self.width }
    }

    fn check(&self) -> Result<(), InvalidFit> {
        let n_pixels = self.height.checked_mul(self.width).unwrap_or(0);
        ensure((1..=MAX_PIXELS).contains(&n_pixels), "the size")?;
        ensure(matches!(self.channels, 1 | 3), "the number of channels")?;
        ensure(self.shorter_side.is_none_or(|side| (1..=4096).contains(&side)), "the shorter side")?;
        ensure(are_moments(&self.mean, &self.std, self.channels), "the mean or standard deviation")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32) -> Cell {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image::RgbImage::new(width, height).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        Cell::Bytes(bytes.into_inner())
    }

    #[test]
    fn unset_size_follows_the_first_image_up_to_a_limit() {
        let shape = |settings: ImagePreprocessing, width, height| {
            let mut fitter = settings.fitter();
            fitter.observe(&png(width, height), Path::new(""));
            fitter.finish().unwrap().get().shape()
        };
        let unset = || mbm_config::defaults::<ImagePreprocessing>();
        assert_eq!(shape(unset(), 100, 40), Shape::Image { channels: 3, height: 40, width: 100 });
        assert_eq!(shape(unset(), 640, 480), Shape::Image { channels: 3, height: 96, width: 128 });
        let tall = ImagePreprocessing { height: Some(300), ..unset() };
        assert_eq!(shape(tall, 640, 480), Shape::Image { channels: 3, height: 300, width: 128 });
    }
}
