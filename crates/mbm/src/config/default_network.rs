//! The network for a table without a config, sized to its rows.

use mbm_config::{Entry, Node, Value};

use crate::config::nodes::{boolean, entry, float, int, list, map, text};
use crate::config::pretrained_encoders::PretrainedEncoder;
use crate::learn::settings::Preset;

/// The network for a table of some rows and inputs.
pub(super) struct DefaultNetwork<'a> {
    n_rows: usize,
    n_inputs: usize,
    /// Number of images that an encoder of its own reads.
    n_images: usize,
    has_series: bool,
    preset: Preset,
    /// The encoder of images, if it is not one of its own.
    pretrained: Option<&'a PretrainedEncoder>,
}

/// Number of rows from which numbers are encoded in bins; with fewer rows, the network would learn so many inputs by heart.
const MIN_ROWS_OF_BINS: usize = 2_000;

/// Number of training steps for few rows and for many, and of passes over the rows at most.
const MIN_STEPS: usize = 1_000;
const MAX_STEPS: usize = 3_000;
const MAX_EPOCHS: usize = 100;

/// Number of rows below which there are fewer passes with a higher learning rate: those of a table without bins, and a tiny one. On held-out
/// rows, the ensembles of 20 such tables are as good as after twice and three times as many passes.
const MAX_ROWS_OF_FEW_EPOCHS: [usize; 2] = [MIN_ROWS_OF_BINS, 150];

/// Maximum number of passes over series and sounds, which random convolutions read in much less time.
const MAX_EPOCHS_OF_SERIES: usize = 30;

/// Number of images that training reads, over all epochs.
const N_IMAGES: usize = 30_000;

/// Maximum number of images of a table that are read at 48 instead of 32 pixels.
const MAX_LARGE_IMAGES: usize = 5_000;

/// Number of rows from which batches of images have 32 instead of 16 rows.
const MIN_ROWS_OF_LARGE_BATCHES: usize = 500;

/// Maximum number of inputs that are read in all steps together.
const MAX_STEP_INPUTS: usize = 1_500_000;

impl<'a> DefaultNetwork<'a> {
    /// Returns the network for inputs of these types.
    pub fn new(n_rows: usize, kinds: &[&str], preset: Preset) -> Self {
        let n_images = kinds.iter().filter(|kind| **kind == "image").count();
        let has_series = kinds.iter().any(|kind| matches!(*kind, "audio" | "timeseries"));
        Self { n_rows, n_inputs: kinds.len(), n_images, has_series, preset, pretrained: None }
    }

    /// Lets a pretrained encoder read the images.
    pub fn pretrained(self, encoder: Option<&'a PretrainedEncoder>) -> Self {
        let n_images = if encoder.is_some() { 0 } else { self.n_images };
        Self { n_images, pretrained: encoder, ..self }
    }

    fn reads_images_alone(&self) -> bool {
        self.n_images == self.n_inputs
    }

    /// Returns an input of a type.
    pub fn input(&self, column: &str, kind: &str) -> Node {
        let mut entries = vec![entry("name", text(column)), entry("type", text(kind))];
        match kind {
            "number" => entries.extend(self.of_number()),
            "date" => entries.push(entry("encoder", text("passthrough"))),
            "image" => entries.extend(self.of_image()),
            // Convolutions take ten times as long and are no better on up to 20,000 texts.
            "text" => {
                let bag = vec![entry("type", text("embed")), entry("embedding_size", int(64)), entry("dropout", float(0.2))];
                entries.push(entry("encoder", map(bag)));
            }
            _ => {}
        }
        map(entries)
    }

    /// Robust scaling (Holzmueller et al. 2024), and bins (Gorishniy et al. 2022) if there are rows enough.
    fn of_number(&self) -> Vec<Entry> {
        let scaling = map(vec![entry("normalization", text("robust"))]);
        let bins =
            map(vec![entry("type", text("ple")), entry("output_size", Node::bare(Value::Null)), entry("num_bins", int(32))]);
        let encoder = (self.n_rows >= MIN_ROWS_OF_BINS).then(|| entry("encoder", bins));
        [entry("preprocessing", scaling)].into_iter().chain(encoder).collect()
    }

    /// A small network of four convolutions, whose mean over the image has few parameters, on small images that are shifted, rotated and
    /// lit at random, if there is no pretrained encoder. Among other inputs, an image has few features, so that it cannot be learned by heart.
    fn of_image(&self) -> Vec<Entry> {
        if let Some(pretrained) = self.pretrained {
            let projection = (self.n_inputs > 1).then(projection);
            let preprocessing = pretrained.preprocessing().map(|it| entry("preprocessing", it));
            return [entry("encoder", pretrained.settings())].into_iter().chain(preprocessing).chain(projection).collect();
        }
        let size = if self.n_rows * self.n_images <= MAX_LARGE_IMAGES { 48 } else { 32 };
        let sides = map(vec![entry("height", int(size)), entry("width", int(size))]);
        let n_filters = if self.n_images == 1 { 16 } else { 8 };
        let encoder = map(vec![
            entry("type", text("stacked_cnn")),
            entry("num_conv_layers", int(4)),
            entry("num_filters", int(n_filters)),
            entry("reduce_output", text("mean")),
        ]);
        let of_type = |kind| vec![entry("type", text(kind))];
        let shift = [of_type("random_shift"), vec![entry("pixels", int(size / 8))]].concat();
        let rotate = [of_type("random_rotate"), vec![entry("degree", int(10))]].concat();
        let augmentation = [shift, rotate, of_type("random_brightness"), of_type("random_contrast")].map(map).to_vec();
        let projection = (!self.reads_images_alone()).then(projection);
        let entries = [entry("preprocessing", sides), entry("encoder", encoder), entry("augmentation", list(augmentation))];
        entries.into_iter().chain(projection).collect()
    }

    /// Returns an output of a type.
    pub fn output(&self, column: &str, kind: &str) -> Node {
        let mut entries = vec![entry("name", text(column)), entry("type", text(kind))];
        if kind == "category" && self.reads_images_alone() {
            let loss = vec![entry("type", text("softmax_cross_entropy")), entry("label_smoothing", float(0.1))];
            entries.push(entry("loss", map(loss)));
        }
        map(entries)
    }

    /// Returns two hidden layers; images alone need none.
    pub fn combiner(&self) -> Node {
        let (n_layers, dropout) = if self.reads_images_alone() { (0, 0.0) } else { (2, 0.1) };
        map(vec![entry("type", text("concat")), entry("num_fc_layers", int(n_layers)), entry("dropout", float(dropout))])
    }

    /// Returns the settings of training.
    pub fn trainer(&self) -> Node {
        if self.n_images > 0 { self.trainer_of_images() } else { self.trainer_in_steps() }
    }

    /// Returns settings that count in images, for which one cycle of the learning rate is best (Smith and Topin 2019).
    fn trainer_of_images(&self) -> Node {
        let n_images = match self.preset {
            Preset::Fast => N_IMAGES / 4,
            Preset::Good => N_IMAGES,
            Preset::Best => 3 * N_IMAGES,
        };
        let epochs = (n_images / (self.n_rows * self.n_images).max(1)).clamp(3, MAX_EPOCHS);
        let one_cycle = map(vec![entry("decay", text("one_cycle"))]);
        let (learning_rate, patience) = if self.reads_images_alone() { (0.02, 0) } else { (0.003, (epochs / 3).max(5)) };
        let mut entries = vec![
            entry("batch_size", int(if self.n_rows < MIN_ROWS_OF_LARGE_BATCHES { 16 } else { 32 })),
            entry("epochs", int(epochs)),
            entry("early_stop", int(patience)),
            entry("learning_rate", float(learning_rate)),
            entry("learning_rate_scheduler", one_cycle),
            entry("optimizer", text("adamw")),
            entry("modality_dropout", float(0.0)),
        ];
        // On few rows, the loss of an early epoch without confidence can be below that of the accurate last one.
        if self.reads_images_alone() {
            entries.push(entry("restore_best_weights", boolean(false)));
        }
        map(entries)
    }

    /// Returns settings that count in steps: small tables have small batches and many epochs.
    fn trainer_in_steps(&self) -> Node {
        let has_bins = self.n_rows >= MIN_ROWS_OF_BINS;
        let n_steps = if has_bins { MAX_STEPS } else { MIN_STEPS };
        let n_steps = if self.preset == Preset::Fast { n_steps / 4 } else { n_steps };
        // A step takes time by its inputs.
        let n_steps = n_steps.min(MAX_STEP_INPUTS / self.n_inputs.max(1)).max(100);
        let batch_size = (self.n_rows / 12).next_power_of_two().clamp(16, 256);
        let [few, fewest] = MAX_ROWS_OF_FEW_EPOCHS;
        let (max_epochs, learning_rate) = match self.n_rows {
            n_rows if n_rows < fewest => (MAX_EPOCHS / 3, 0.003),
            n_rows if n_rows < few => (MAX_EPOCHS / 2, 0.002),
            _ => (MAX_EPOCHS, 0.003),
        };
        let is_limited = self.has_series && self.preset != Preset::Best;
        let max_epochs = if is_limited { max_epochs.min(MAX_EPOCHS_OF_SERIES) } else { max_epochs };
        let epochs = (n_steps * batch_size).div_ceil(self.n_rows.max(1)).clamp(1, max_epochs);
        let cosine = map(vec![entry("decay", text("cosine")), entry("warmup_fraction", float(0.05))]);
        map(vec![
            entry("batch_size", int(batch_size)),
            entry("epochs", int(epochs)),
            entry("early_stop", int((epochs / 5).max(5))),
            entry("learning_rate", float(learning_rate)),
            entry("learning_rate_scheduler", cosine),
            entry("optimizer", text("adamw")),
            entry("modality_dropout", float(0.0)),
        ])
    }
}

fn projection() -> Entry {
    entry("projection", map(vec![entry("output_size", int(16)), entry("dropout", float(0.5))]))
}

#[cfg(test)]
mod tests {
    use mbm_config::Node;

    use super::*;
    use crate::config::pretrained_encoders::tests::encoder;

    fn yaml(node: &Node) -> String {
        mbm_config::to_yaml(node)
    }

    #[test]
    fn photos_get_small_images_and_one_cycle_of_as_many_images_as_there_is_time_for() {
        let network = DefaultNetwork::new(1_000, &["image"], Preset::Good);
        let input = yaml(&network.input("photo", "image"));
        assert!(["height: 48", "num_filters: 16", "random_shift"].iter().all(|part| input.contains(part)), "{input}");
        assert!(!input.contains("projection"));
        let trainer = yaml(&network.trainer());
        assert!(
            ["one_cycle", "epochs: 30", "batch_size: 32", "restore_best_weights: false"]
                .iter()
                .all(|part| trainer.contains(part)),
            "{trainer}"
        );
        assert!(yaml(&network.output("label", "category")).contains("label_smoothing"));
        let many = DefaultNetwork::new(10_000, &["image"], Preset::Good);
        assert!(yaml(&many.input("photo", "image")).contains("height: 32") && yaml(&many.trainer()).contains("epochs: 3"));
    }

    #[test]
    fn photos_that_a_pretrained_encoder_reads_are_trained_on_in_steps() {
        let encoder = encoder("mobilenet_v2", 0.6);
        let alone = DefaultNetwork::new(1_000, &["image"], Preset::Good).pretrained(Some(&encoder));
        let input = yaml(&alone.input("photo", "image"));
        assert!(input.contains("mobilenet_v2") && !input.contains("augmentation") && !input.contains("projection"), "{input}");
        assert!(yaml(&alone.trainer()).contains("cosine") && yaml(&alone.combiner()).contains("num_fc_layers: 2"));
        let among = DefaultNetwork::new(535, &["image", "number"], Preset::Good).pretrained(Some(&encoder));
        assert!(yaml(&among.input("photo", "image")).contains("projection"));
    }

    #[test]
    fn photos_among_numbers_have_few_features() {
        let network = DefaultNetwork::new(535, &["image", "image", "number"], Preset::Good);
        assert!(yaml(&network.input("photo", "image")).contains("projection"));
        assert!(!yaml(&network.output("price", "number")).contains("label_smoothing"));
        assert!(yaml(&network.combiner()).contains("num_fc_layers: 2"));
    }

    #[test]
    fn steps_of_wide_tables_are_few() {
        let epochs = |n_inputs: usize| yaml(&DefaultNetwork::new(100, &vec!["number"; n_inputs], Preset::Good).trainer());
        assert!(epochs(10).contains("epochs: 33"), "{}", epochs(10));
        assert!(epochs(10_000).contains("epochs: 24"), "{}", epochs(10_000));
    }
}
