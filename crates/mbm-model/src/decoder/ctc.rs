//! Connectionist temporal classification (CTC; Graves et al. 2006): predicts a token or a blank at each step of one input.
//!
//! The blank has the id of padding, which never occurs in a text. Rows whose input has too few steps for their text have zero
//! cost.

use std::collections::HashMap;

use burn::module::Module;
use burn::nn::loss::CTCLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Int, Tensor, TensorData, activation};
use mbm_config::{Mistakes, closest, settings, some_of};
use rayon::prelude::*;

use super::generator::{Decoding, DecodingSettings, END, Hypothesis, N_SPECIAL, costs};
use super::{Decode, Decoder, DecoderConfig, DecoderContext, Observe, TextGenerator};
use crate::layer::linear;
use crate::{Fused, InputSummary, Target, TargetTokens};

settings! {
    /// Settings of CTC, which predicts a token or a blank at each step of an input.
    pub struct CtcSettings {
        /// Name of the input; optional if there is only one.
        input: Option<String> = None;
        /// How texts are decoded; a `beam_width` above 1 sums over all paths of the same text.
        decoding: DecodingSettings = mbm_config::defaults();
    }
}

/// CTC decoder, which predicts a token or a blank at each step.
#[derive(Module, Debug)]
pub struct Ctc {
    linear: Linear,
    #[module(skip)]
    input: usize,
}

/// Id of the blank.
const BLANK: u32 = 0;

impl DecoderConfig for CtcSettings {
    fn init(&self, context: DecoderContext) -> Decoder {
        let inputs = context.inputs;
        let named = self.input.as_ref().and_then(|name| inputs.names.iter().position(|input| input == name));
        let input = named.unwrap_or_default();
        Ctc { linear: LinearConfig::new(inputs.widths[input], context.output).init(inputs.device), input }.into()
    }

    /// Checks that there is a sequence input to read step by step.
    fn check(&self, inputs: &[InputSummary], mistakes: &mut Mistakes) {
        let names: Vec<&str> = inputs.iter().filter(|input| input.is_sequence).map(|input| input.name).collect();
        let available = if names.is_empty() { "there is none".to_owned() } else { format!("available: {}", some_of(&names)) };
        match self.input.as_deref() {
            Some(name) if !names.contains(&name) => {
                let meant = closest(name, names.iter().copied());
                let meant = meant.map(|name| format!(", did you mean '{name}'?")).unwrap_or_default();
                let message = format!("'{name}' is not a sequence input (audio, timeseries, text){meant}; {available}");
                mistakes.add("input", message);
            }
            None if inputs.len() > 1 || names.is_empty() => {
                let message = "ctc reads a single sequence input (audio, timeseries, text): specify it";
                mistakes.add("input", format!("{message}; {available}"));
            }
            Some(_) | None => {}
        }
    }

    fn reads_inputs(&self) -> bool {
        true
    }

    fn decoding(&self) -> Option<&DecodingSettings> {
        Some(&self.decoding)
    }
}

impl Ctc {
    /// Returns the log-probabilities, `[batch, steps, vocabulary]`, and the number of steps of each row.
    fn log_probabilities(&self, fused: &Fused) -> (Tensor<3>, Vec<usize>) {
        let input = &fused.inputs[self.input];
        let lengths = input.mask.clone().int().sum_dim(1).into_data();
        let lengths = lengths.iter::<i64>().map(|length| length as usize).collect();
        (activation::log_softmax(linear(&self.linear, input.values.clone()), 2), lengths)
    }
}

/// Returns `[batch, 4]`: the CTC loss of each row's text twice, zeros, and its number of tokens. Of the log-probabilities,
/// `[batch, steps, vocabulary]`, only the first `n_steps[row]` steps of a row count.
pub(crate) fn path_costs(log_p: Tensor<3>, n_steps: &[usize], target: &TargetTokens) -> Tensor<2> {
    let device = log_p.device();
    let (batch, longest) = (target.lengths.len(), target.steps);
    let texts: Vec<Option<&[u32]>> = (0..batch)
        .map(|row| {
            let own = &target.ids[row * longest..row * longest + target.lengths[row]];
            let text = own.strip_suffix(&[END]).unwrap_or(own);
            Some(text).filter(|text| !text.is_empty() && n_needed(text) <= n_steps[row])
        })
        .collect();
    // Texts that do not fit are replaced by one that does, whose cost is then set to zero.
    let replaced: Vec<&[u32]> = texts.iter().map(|text| text.unwrap_or(&[N_SPECIAL])).collect();
    let counts = |values: Vec<usize>| {
        let values: Vec<i64> = values.into_iter().map(|count| count as i64).collect();
        Tensor::<1, Int>::from_data(TensorData::new(values, [batch]), &device)
    };
    let padded = replaced.iter().flat_map(|text| text.iter().chain(std::iter::repeat_n(&N_SPECIAL, longest - text.len())));
    let ids: Vec<i64> = padded.map(|id| i64::from(*id)).collect();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [batch, longest]), &device);
    let lengths = counts(replaced.iter().map(|text| text.len()).collect());
    let cost = CTCLossConfig::new().init().forward(log_p.swap_dims(0, 1), ids, counts(n_steps.to_vec()), lengths); // [batch]
    let n_tokens: Vec<f32> = texts.iter().map(|text| text.map_or(0.0, |text| text.len() as f32)).collect();
    let n_tokens = Tensor::<2>::from_data(TensorData::new(n_tokens, [batch, 1]), &device);
    let cost = cost.reshape([batch, 1]) * n_tokens.clone().clamp_max(1.0);
    Tensor::cat(vec![cost.clone(), cost.clone(), cost.zeros_like(), n_tokens], 1)
}

/// Returns the number of steps that a text needs: one per token and a blank between equal neighbors.
fn n_needed(text: &[u32]) -> usize {
    text.len() + text.windows(2).filter(|pair| pair[0] == pair[1]).count()
}

impl Decode for Ctc {
    /// Returns the costs of the reference texts in the target, or zeros without a target.
    fn decode(&self, fused: &Fused, target: Option<&Target>) -> Tensor<2> {
        costs(fused, target, |tokens| {
            let (log_p, n_steps) = self.log_probabilities(fused);
            path_costs(log_p, &n_steps, tokens)
        })
    }

    fn text_generator(&self) -> Option<&dyn TextGenerator> {
        Some(self)
    }
}

impl TextGenerator for Ctc {
    fn write(&self, fused: &Fused, decoding: &Decoding, _observe: &mut Observe) -> Vec<Vec<Hypothesis>> {
        let (log_p, lengths) = self.log_probabilities(fused);
        let [_, steps, vocabulary] = log_p.dims();
        let log_p: Vec<f32> = log_p.into_data().try_into_vec().unwrap_or_default();
        let rows = log_p.par_chunks(steps * vocabulary).zip(&lengths);
        rows.map(|(row, length)| search(&row[..length * vocabulary], vocabulary, decoding)).collect()
    }

    fn attention(&self, _fused: &Fused, _target: &TargetTokens) -> Option<Tensor<3>> {
        None
    }
}

/// Decodes the texts of a row, best first, from its log-probabilities: `[steps, vocabulary]`.
fn search(log_p: &[f32], vocabulary: usize, decoding: &Decoding) -> Vec<Hypothesis> {
    let n = decoding.settings.num_return_sequences;
    let width = decoding.settings.beam_width.max(n);
    if width == 1 {
        return vec![best_path(log_p, vocabulary)];
    }
    let mut texts = prefixes(log_p, vocabulary, width);
    texts.truncate(n);
    texts
}

/// Greedy decoding: takes the most probable token of each step, then drops repetitions and blanks.
fn best_path(log_p: &[f32], vocabulary: usize) -> Hypothesis {
    let mut path: Vec<(u32, f32)> = log_p.chunks(vocabulary).map(argmax).collect();
    let score = path.iter().map(|(_, log_p)| f64::from(*log_p)).sum();
    path.dedup_by_key(|(id, _)| *id);
    let tokens = path.into_iter().map(|(id, _)| id).filter(|id| *id >= N_SPECIAL).collect();
    Hypothesis { tokens, score }
}

fn argmax(step: &[f32]) -> (u32, f32) {
    let best = (0..step.len()).fold(0, |best, at| if step[at] > step[best] { at } else { best });
    (best as u32, step[best])
}

/// Log-probabilities that the steps of a text end with a blank and with its last token.
#[derive(Clone, Copy)]
struct Ends {
    blank: f64,
    token: f64,
}

impl Ends {
    const NEVER: Self = Self { blank: f64::NEG_INFINITY, token: f64::NEG_INFINITY };

    fn total(self) -> f64 {
        log_add(self.blank, self.token)
    }
}

/// `ln(e^a + e^b)`
fn log_add(a: f64, b: f64) -> f64 {
    let top = a.max(b);
    if top == f64::NEG_INFINITY { top } else { top + ((a - top).exp() + (b - top).exp()).ln() }
}

/// Prefix beam search: returns the `width` most probable texts, each summed over all its paths that stayed in the beam (Hannun et
/// al. 2014).
fn prefixes(log_p: &[f32], vocabulary: usize, width: usize) -> Vec<Hypothesis> {
    let mut beam: Vec<(Vec<u32>, Ends)> = vec![(Vec::new(), Ends { blank: 0.0, ..Ends::NEVER })];
    for step in log_p.chunks(vocabulary) {
        let log_p = |id: u32| f64::from(step[id as usize]);
        let mut next: HashMap<Vec<u32>, Ends> = HashMap::new();
        let mut ids: Vec<u32> = (N_SPECIAL..vocabulary as u32).collect();
        ids.sort_by(|a, b| step[*b as usize].total_cmp(&step[*a as usize]));
        ids.truncate(2 * width);
        for (text, ends) in &beam {
            let same = next.entry(text.clone()).or_insert(Ends::NEVER);
            same.blank = log_add(same.blank, ends.total() + log_p(BLANK));
            if let Some(last) = text.last() {
                same.token = log_add(same.token, ends.token + log_p(*last));
            }
            for id in &ids {
                let from = if text.last() == Some(id) { ends.blank } else { ends.total() };
                let longer = next.entry([text.as_slice(), &[*id]].concat()).or_insert(Ends::NEVER);
                longer.token = log_add(longer.token, from + log_p(*id));
            }
        }
        beam = next.into_iter().collect();
        beam.sort_by(|a, b| b.1.total().total_cmp(&a.1.total()).then_with(|| a.0.cmp(&b.0)));
        beam.truncate(width);
    }
    beam.into_iter().map(|(tokens, ends)| Hypothesis { tokens, score: ends.total() }).collect()
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use mbm_data::Shape;

    use super::*;
    use crate::combiner::CombinerSettings;
    use crate::decoder::{DecoderSettings, Loss, TextContext, TextSpec};
    use crate::encoder::{AudioEncoder, EncoderSettings};
    use crate::testing::{read, spec};
    use crate::{ModelSpec, OutputSpec};

    fn transcribing() -> ModelSpec {
        let encoder = EncoderSettings::Audio(read::<AudioEncoder>("{type: rnn, cell_type: lstm, state_size: 16}"));
        let output = OutputSpec {
            name: "text".into(),
            decoder: DecoderSettings::Text(TextSpec { decoder: read("ctc"), text: TextContext::default() }),
            width: 7,
            loss: Loss::Tokens,
            loss_weight: 1.0,
        };
        let input = (encoder, Shape::Frames { width: 3, max_steps: 6 });
        ModelSpec { outputs: vec![output], ..spec(vec![input], read::<CombinerSettings>("concat")) }
    }

    #[test]
    fn ctc_learns_transcripts_that_fit_the_steps() {
        use burn::optim::{AdamConfig, GradientsParams};
        let spec = transcribing();
        let device = burn::tensor::Device::flex().autodiff();
        let mut batch = crate::testing::batch(&spec);
        batch.inputs[0].present[0] = false;
        let mut model = spec.init(&device, 2);
        let mut optimizer = AdamConfig::new().init();
        let targets: Vec<Target> = batch.targets.iter().map(|target| Target::new(target, &device)).collect();
        let mut last = f32::INFINITY;
        for _ in 0..300 {
            let loss = spec.loss(&model, &model.forward(&batch, Some(&targets), &device).logits, &targets);
            last = loss.clone().into_scalar::<f32>();
            if last < 0.02 {
                break;
            }
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(0.02, model, gradients);
        }
        assert!(last < 0.05, "the loss on eight rows is still {last}");
        let plain = burn::tensor::Device::flex();
        let model = burn::module::Module::valid(&model);
        let fused = model.forward(&batch, None, &plain).fused;
        for text in ["{}", "{beam_width: 4}"] {
            let settings = read::<DecodingSettings>(text);
            let decoding = Decoding { settings, max_length: 9, prefix: vec![], seed: 0, is_cached: true };
            let texts = model.generate(0, &fused, &decoding, &mut |_| ControlFlow::Continue(()));
            // Rows 2 and later have enough steps: the references are 4 5 for even rows and 5 for odd rows.
            assert_eq!(texts[4][0].tokens, [4, 5], "{text}");
            assert_eq!(texts[5][0].tokens, [5], "{text}");
        }
    }

    #[test]
    fn beam_sums_over_all_paths_of_a_text() {
        // Two steps with p(blank) = 0.6 and p(4) = 0.4: the most probable path is empty (0.36), but three paths give "4" (0.64).
        let log_p: Vec<f32> = [0.6, 0.0, 0.0, 0.0, 0.4].repeat(2).iter().map(|p: &f32| p.ln()).collect();
        assert_eq!(best_path(&log_p, 5).tokens, [] as [u32; 0]);
        let best = prefixes(&log_p, 5, 4);
        assert_eq!(best[0].tokens, [4]);
        assert!((best[0].score - 0.64f64.ln()).abs() < 1e-6);
        assert_eq!(n_needed(&[4, 4, 5, 5, 5]), 8);
    }
}
