//! Tests that every network learns and that search results depend neither on the cache nor on the batch.

use std::ops::ControlFlow;

use burn::tensor::Device;
use mbm_data::{Batch, Shape};

use super::*;
use crate::combiner::CombinerSettings;
use crate::decoder::{DecoderSettings, Loss, TextContext, TextDecoder, TextSpec};
use crate::encoder::{EncoderSettings, TextEncoder, VectorEncoder};
use crate::testing::{N_ROWS, check, read, spec};
use crate::{Model, ModelSpec, OutputSpec};

const VOCABULARY: usize = 9;

const NETWORKS: [&str; 6] = [
    "{type: transformer, num_layers: 2, hidden_size: 16, num_heads: 2, transformer_output_size: 32, dropout: 0.0}",
    "{type: transformer, num_layers: 1, hidden_size: 16, num_heads: 2, transformer_output_size: 32, dropout: 0.0, norm: post, positions: learned}",
    "{type: transformer, num_layers: 1, hidden_size: 16, num_heads: 2, transformer_output_size: 32, dropout: 0.0, positions: rotary, tied_embeddings: false}",
    "{type: rnn, hidden_size: 16, dropout: 0.0}",
    "{type: rnn, hidden_size: 16, dropout: 0.0, num_layers: 2, attention: bahdanau}",
    "{type: rnn, hidden_size: 16, dropout: 0.0, cell_type: gru, tied_embeddings: false}",
];

fn writing(network: &str, combiner: &str) -> ModelSpec {
    let vector = (EncoderSettings::Vector(VectorEncoder::Dense(mbm_config::defaults())), Shape::Vector { width: 6 });
    let text = read::<TextEncoder>("{type: embed, embedding_size: 8}");
    let text = (EncoderSettings::Text(text), Shape::Tokens { vocab_size: 12, max_steps: 4 });
    let settings = GeneratorSettings { network: read(network), decoding: mbm_config::defaults() };
    let limits = TextContext { max_steps: 12, label_smoothing: 0.0 };
    let decoder = DecoderSettings::Text(TextSpec { decoder: TextDecoder::Generator(settings), text: limits });
    let output = OutputSpec { name: "text".into(), decoder, width: VOCABULARY, loss: Loss::Tokens, loss_weight: 1.0 };
    ModelSpec { outputs: vec![output], ..spec(vec![text, vector], read::<CombinerSettings>(combiner)) }
}

#[test]
fn every_network_learns_to_generate() {
    for network in NETWORKS {
        check(network, &writing(network, "concat"));
    }
}

#[test]
fn generator_learns_with_every_kind_of_combiner() {
    let steps = "{type: cross_attention, hidden_size: 16, num_heads: 2, dropout: 0.0}";
    for combiner in [steps, "{type: gated, output_size: 16}", "{type: concat, num_fc_layers: 1, output_size: 16}"] {
        check(combiner, &writing(NETWORKS[0], combiner));
    }
}

fn decoding(text: &str, is_cached: bool) -> Decoding {
    Decoding { settings: read(text), max_length: 10, prefix: Vec::new(), seed: 5, is_cached }
}

fn texts(spec: &ModelSpec, batch: &Batch, decoding: &Decoding) -> Vec<Vec<Hypothesis>> {
    texts_of(&spec.init(&crate::device(), 4), batch, decoding)
}

fn texts_of(model: &Model, batch: &Batch, decoding: &Decoding) -> Vec<Vec<Hypothesis>> {
    let device = crate::device();
    let fused = model.forward(batch, None, &device).fused;
    model.generate(0, &fused, decoding, &mut |_| ControlFlow::Continue(()))
}

const SEARCHES: [&str; 4] = [
    "{}",
    "{beam_width: 4, num_return_sequences: 3, length_penalty: 0.6}",
    "{do_sample: true, num_return_sequences: 2, temperature: 2.0}",
    "{beam_width: 3, no_repeat_ngram_size: 2, min_length: 3}",
];

#[test]
fn uncached_search_finds_the_same_texts() {
    for network in NETWORKS {
        let spec = writing(network, "concat");
        let batch = crate::testing::batch(&spec);
        let model = spec.init(&crate::device(), 4);
        for search in SEARCHES {
            let [cached, uncached] = [true, false].map(|is_cached| texts_of(&model, &batch, &decoding(search, is_cached)));
            assert_eq!(cached.len(), N_ROWS);
            for (cached, uncached) in cached.iter().flatten().zip(uncached.iter().flatten()) {
                assert_eq!(cached.tokens, uncached.tokens, "{network} {search}");
                assert!((cached.score - uncached.score).abs() < 1e-4, "{network} {search}");
            }
        }
    }
}

/// Selects rows of the test batch and trims the padding of each input to the longest selected row.
fn rows(spec: &ModelSpec, kept: &[usize]) -> Batch {
    use mbm_data::Values;
    let mut batch = crate::testing::batch(spec);
    for column in &mut batch.inputs {
        let places: Vec<Option<usize>> =
            column.present.iter().scan(0, |next, is| Some(is.then(|| std::mem::replace(next, *next + 1)))).collect();
        let present: Vec<usize> = kept.iter().filter_map(|row| places[*row]).collect();
        column.present = kept.iter().map(|row| places[*row].is_some()).collect();
        column.values = match &column.values {
            Values::Vectors { width, data } => {
                let data = present.iter().flat_map(|at| data[at * width..(at + 1) * width].to_vec()).collect();
                Values::Vectors { width: *width, data }
            }
            Values::Tokens { steps, lengths, ids, .. } => {
                let lengths: Vec<usize> = present.iter().map(|at| lengths[*at]).collect();
                let longest = lengths.iter().copied().max().unwrap_or(0);
                let ids = present.iter().flat_map(|at| ids[at * steps..at * steps + longest].to_vec()).collect();
                Values::Tokens { steps: longest, lengths, ids, texts: Vec::new() }
            }
            other => panic!("{other:?}"),
        };
    }
    batch.rows = kept.to_vec();
    batch
}

#[test]
fn generated_texts_are_invariant_to_the_batch() {
    for network in [NETWORKS[0], NETWORKS[2], NETWORKS[3], NETWORKS[4]] {
        let spec = writing(network, "concat");
        for search in SEARCHES {
            let all = texts(&spec, &crate::testing::batch(&spec), &decoding(search, true));
            for (row, together) in all.iter().enumerate() {
                let alone = texts(&spec, &rows(&spec, &[row]), &decoding(search, true));
                let tokens = |texts: &[Hypothesis]| texts.iter().map(|it| it.tokens.clone()).collect::<Vec<_>>();
                assert_eq!(tokens(&alone[0]), tokens(together), "{network} {search} row {row}");
            }
        }
    }
}

#[test]
fn costs_match_search_scores_and_attention_sums_to_one() {
    let spec = writing(NETWORKS[1], "concat");
    let device = Device::flex();
    let model = spec.init(&device, 4);
    let batch = crate::testing::batch(&spec);
    let target = Target::new(&batch.targets[0], &device);
    let fused = model.forward(&batch, None, &device).fused;
    let costs = model.decode(&fused, Some(std::slice::from_ref(&target)))[0].clone().into_data().try_into_vec::<f32>().unwrap();
    // An uncached search with the reference as prefix sums the same log-probabilities.
    for row in 0..N_ROWS {
        let tokens = target.tokens.as_ref().unwrap();
        let text = &tokens.ids[row * tokens.steps..row * tokens.steps + tokens.lengths[row] - 1];
        let prefixed = Decoding { prefix: text.to_vec(), max_length: text.len() + 1, ..decoding("{length_penalty: 0}", false) };
        let fused = model.forward(&rows(&spec, &[row]), None, &device).fused;
        let found = model.generate(0, &fused, &prefixed, &mut |_| ControlFlow::Continue(()));
        if found[0][0].tokens == text {
            assert!((f64::from(costs[row * N_SCORES + 1]) + found[0][0].score).abs() < 1e-4, "row {row}");
        }
        assert_eq!(costs[row * N_SCORES + 3], tokens.lengths[row] as f32);
    }
    let attention = model.attention(0, &fused, &target).unwrap();
    let sums = attention.sum_dim(2).into_data().try_into_vec::<f32>().unwrap();
    assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5));
}

#[test]
fn observer_receives_each_partial_text() {
    let spec = writing(NETWORKS[0], "concat");
    let device = crate::device();
    let model = spec.init(&device, 4);
    let fused = model.forward(&rows(&spec, &[2]), None, &device).fused;
    let mut observed: Vec<Vec<u32>> = Vec::new();
    let mut observe = |grown: &[(usize, &[u32])]| {
        observed.extend(grown.iter().map(|(_, tokens)| tokens.to_vec()));
        ControlFlow::Continue(())
    };
    let found = model.generate(0, &fused, &decoding("{min_length: 4}", true), &mut observe);
    assert_eq!(observed.last(), Some(&found[0][0].tokens));
    assert!(observed.iter().enumerate().all(|(at, tokens)| tokens.len() == at + 1 && found[0][0].tokens.starts_with(tokens)));
}

#[test]
fn observer_can_stop_the_search() {
    let spec = writing(NETWORKS[0], "concat");
    let device = crate::device();
    let model = spec.init(&device, 4);
    let fused = model.forward(&rows(&spec, &[2, 3]), None, &device).fused;
    for (settings, n_observed) in [("{min_length: 4}", 2), ("{min_length: 4, beam_width: 3}", 0)] {
        let mut n_steps = 0;
        let mut stop_early = |grown: &[(usize, &[u32])]| {
            assert_eq!(grown.len(), n_observed, "{settings}");
            n_steps += 1;
            if n_steps == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let found = model.generate(0, &fused, &decoding(settings, true), &mut stop_early);
        assert_eq!(n_steps, 2, "{settings}");
        assert!(found.iter().all(|texts| texts[0].tokens.len() == 2), "{settings}: {found:?}");
    }
}
