use burn::tensor::Device;
use mbm_data::{BatchColumn, Shape, Values};

use crate::Tensors;
use crate::encoder::{EncoderOutput, EncoderSettings};
use crate::testing::{check_encoder, read};

#[test]
fn text_encoders_learn() {
    for settings in [
        "{type: embed, embedding_size: 8}",
        "{type: parallel_cnn, embedding_size: 8, num_filters: 4, output_size: 16}",
        "{type: stacked_cnn, embedding_size: 8, num_filters: 8, output_size: 16}",
        "{type: rnn, embedding_size: 8, state_size: 8}",
        "{type: rnn, cell_type: lstm, embedding_size: 8, state_size: 8, num_layers: 2}",
        "{type: rnn, cell_type: gru, embedding_size: 8, state_size: 8, bidirectional: true}",
        "{type: rnn, cell_type: gru, embedding_size: 8, state_size: 8, reduce_output: mean}",
        "{type: cnnrnn, cell_type: gru, embedding_size: 8, num_filters: 8, state_size: 8}",
        "{type: transformer, hidden_size: 16, num_heads: 2, transformer_output_size: 32, dropout: 0.0}",
        "{type: transformer, norm: post, hidden_size: 16, num_heads: 2, transformer_output_size: 32, dropout: 0.0}",
    ] {
        check_encoder("text", settings, Shape::Tokens { vocab_size: 12, max_steps: 5 });
    }
}

#[test]
fn audio_and_timeseries_encoders_learn() {
    for settings in [
        "{type: parallel_cnn, num_filters: 4}",
        "{type: rnn, cell_type: lstm, state_size: 8}",
        "{type: transformer, hidden_size: 16, dropout: 0.0}",
    ] {
        check_encoder("audio", settings, Shape::Frames { width: 3, max_steps: 6 });
    }
    check_encoder("timeseries", "{type: stacked_cnn, num_filters: 16}", Shape::Frames { width: 3, max_steps: 6 });
}

#[test]
fn padding_does_not_change_the_encoding() {
    let shape = Shape::Tokens { vocab_size: 12, max_steps: 9 };
    let texts = [
        "embed",
        "parallel_cnn",
        "rnn",
        "{type: rnn, cell_type: lstm, bidirectional: true}",
        "{type: rnn, cell_type: gru, reduce_output: max}",
        "transformer",
    ];
    for text in texts {
        let device = Device::flex();
        device.seed(1);
        let encoder = EncoderSettings::Text(read(text)).get().init(&shape, EncoderOutput::Summary, &device);
        let encode = |steps: usize, lengths: Vec<usize>, ids: Vec<u32>| {
            let column = BatchColumn {
                present: vec![true; lengths.len()],
                values: Values::Tokens { steps, lengths, ids, texts: Vec::new() },
            };
            let values = encoder.get().encode(Tensors::new(&column, &device)).values;
            values.narrow(0, 0, 1).into_data().try_into_vec::<f32>().unwrap()
        };
        let unpadded = encode(3, vec![3], vec![4, 5, 6]);
        let padded = encode(6, vec![3, 6], vec![4, 5, 6, 0, 0, 0, 7, 8, 9, 10, 11, 2]);
        let worst = unpadded.iter().zip(&padded).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "{text}: difference {worst} exceeds f32 rounding");
    }
}
