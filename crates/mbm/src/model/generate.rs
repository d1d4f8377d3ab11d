//! Texts that a model generates: translations of sentences, captions of images, transcripts of audio.

use std::sync::Arc;

use mbm_data::Cell;
use mbm_model::decoder::Decoding;

use super::{Model, names};
use crate::error::Error;
use crate::predict::generation::GenerationSession;

impl Model {
    /// Translates a text: generates a text from the only text input.
    ///
    /// ```
    /// let model = mbm::Model::open("tests/fixtures/form-2/writer")?;
    /// let caption = model.translate("red green blue small")?;
    /// println!("{caption}");
    /// # Ok::<(), mbm::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fails if the model has no text output or not exactly one text input, or the text cannot be read.
    pub fn translate(&self, text: &str) -> Result<String, Error> {
        self.generate("text", text)
    }

    /// Describes an image, the path of a file or its content: generates a text from the only image input.
    ///
    /// ```
    /// let model = mbm::Model::open("tests/fixtures/form-2/writer")?;
    /// let error = model.caption("photo.jpg").unwrap_err();
    /// assert!(error.to_string().starts_with("the model has 0 inputs of type image"));
    /// # Ok::<(), mbm::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fails if the model has no text output or not exactly one image input, or the image cannot be read.
    pub fn caption(&self, image: impl Into<Cell>) -> Result<String, Error> {
        self.generate("image", image)
    }

    /// Generates a text from the only input of a type such as `text`, `image` or `audio`.
    ///
    /// # Errors
    /// Fails if the model has no text output or not exactly one input of the type, or the cell cannot be read.
    pub fn generate(&self, type_name: &str, cell: impl Into<Cell>) -> Result<String, Error> {
        let generated = self.generation_session(type_name)?.generate([cell]).swap_remove(0)?;
        Ok(generated.best().unwrap_or_default().to_owned())
    }

    /// Starts a session that generates texts from the only input of a type such as `text`: many at a time, several of each with
    /// their scores, or one as it grows.
    ///
    /// ```
    /// let model = mbm::Model::open("tests/fixtures/form-2/writer")?.with_decoding(|decoding| {
    ///     decoding.settings.beam_width = 3;
    ///     decoding.settings.num_return_sequences = 2;
    /// });
    /// let session = model.generation_session("text")?;
    /// for generated in session.generate(["red green blue", "small cat"]) {
    ///     for (text, score) in generated?.texts {
    ///         println!("{score:.2} {text}");
    ///     }
    /// }
    /// # Ok::<(), mbm::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fails if the model has no text output, or not exactly one input of the type.
    pub fn generation_session(&self, type_name: &str) -> Result<GenerationSession, Error> {
        Ok(GenerationSession::new(self.predictor.clone(), type_name)?)
    }

    /// Changes how texts are generated: with a beam or by sampling, how many and how long. A text never has more tokens than the
    /// model has positions. The settings of a saved model stay those of its config.
    pub fn with_decoding(mut self, change: impl Fn(&mut Decoding)) -> Self {
        let predictor = Arc::make_mut(&mut self.predictor);
        predictor.set_decoding(&change);
        self.columns = names(predictor);
        self
    }
}
