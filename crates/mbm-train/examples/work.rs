//! Workloads compared by `bench/run.py`: `work NAME REPETITIONS` prints the seconds of each repetition, after two warmup runs.

use std::error::Error;
use std::time::Instant;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Tensor};
use mbm_config::{Diagnostics, Format, Node, Setting, defaults};
use mbm_data::{Batch, BatchColumn, Shape, Values};
use mbm_model::combiner::CombinerSettings;
use mbm_model::decoder::{CategoryDecoder, DecoderSettings, Loss};
use mbm_model::encoder::{AudioEncoder, Encoder, EncoderOutput, EncoderSettings, ImageEncoder, TextEncoder};
use mbm_model::{InputSpec, ModelSpec, OutputSpec, Steps, Target, Tensors, on_worker_pool};
use mbm_train::OptimizerSettings;

/// The same allocator as in the `mbm` command.
#[global_allocator]
static ALLOCATOR: mbm_allocator::MiMalloc = mbm_allocator::MiMalloc;

type Work = Box<dyn FnMut() + Send>;

const WORK: [&str; 8] =
    ["matmul", "resnet50-1", "resnet50-8", "mobilenet-8", "lstm", "transformer", "transformer-backward", "article-step"];

fn main() -> Result<(), Box<dyn Error>> {
    mbm_allocator::keep_freed_memory();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, repetitions] = args.as_slice() else {
        return Err(format!("usage: work NAME REPETITIONS; names: {WORK:?}").into());
    };
    let mut work = work(name).ok_or_else(|| format!("unknown workload '{name}'; available: {WORK:?}"))?;
    (0..2).for_each(|_| on_worker_pool(&mut work));
    for _ in 0..repetitions.parse::<usize>()? {
        let started = Instant::now();
        on_worker_pool(&mut work);
        println!("{:.6}", started.elapsed().as_secs_f64());
    }
    Ok(())
}

fn work(name: &str) -> Option<Work> {
    Some(match name {
        "matmul" => matmul(),
        "resnet50-1" => image("{type: resnet, model_variant: 50}", 1),
        "resnet50-8" => image("{type: resnet, model_variant: 50}", 8),
        "mobilenet-8" => image("mobilenet_v2", 8),
        "lstm" => steps("{type: rnn, cell_type: lstm, num_layers: 2, state_size: 256}", [32, 64, 256], false),
        "transformer" => steps(TRANSFORMER, [16, 64, 384], false),
        "transformer-backward" => steps(TRANSFORMER, [16, 64, 384], true),
        "article-step" => article_step(),
        _ => return None,
    })
}

const TRANSFORMER: &str =
    "{type: transformer, num_layers: 6, hidden_size: 384, num_heads: 6, transformer_output_size: 1536, dropout: 0.0}";

fn read<T: Setting>(text: &str) -> T {
    let node = Node::parse(text, Format::Yaml).ok();
    let settings = node.and_then(|node| T::read(&node, "", &mut Diagnostics::default()));
    settings.unwrap_or_else(|| panic!("'{text}' is not a valid setting"))
}

/// Product of two 2048 x 2048 matrices.
fn matmul() -> Work {
    let device = Device::flex();
    let matrix = || Tensor::<2>::random([2048, 2048], Distribution::Normal(0.0, 1.0), &device);
    let (a, b) = (matrix(), matrix());
    Box::new(move || drop(a.clone().matmul(b.clone()).into_data()))
}

/// Inference of an image encoder on images of 224 x 224 pixels.
fn image(encoder: &str, batch: usize) -> Work {
    let device = Device::flex();
    let shape = Shape::Image { channels: 3, height: 224, width: 224 };
    let encoder = EncoderSettings::Image(read::<ImageEncoder>(encoder)).get().init(&shape, EncoderOutput::Summary, &device);
    let encoder = encoder.materialize();
    let images = Tensor::<4>::random([batch, 3, 224, 224], Distribution::Normal(0.0, 1.0), &device);
    Box::new(move || drop(encoder.get().encode(Tensors::Images(images.clone())).values.into_data()))
}

/// Forward pass of an encoder on frames `[batch, steps, width]`, plus the backward pass if `backward` is set.
fn steps(encoder: &str, dims: [usize; 3], backward: bool) -> Work {
    let device = if backward { Device::flex().autodiff() } else { Device::flex() };
    let shape = Shape::Frames { width: dims[2], max_steps: dims[1] };
    let encoder: Encoder =
        EncoderSettings::Audio(read::<AudioEncoder>(encoder)).get().init(&shape, EncoderOutput::Summary, &device);
    let encoder = encoder.materialize();
    let values = Tensor::<3>::random(dims, Distribution::Normal(0.0, 1.0), &device);
    Box::new(move || {
        let Steps { values, mask } = Steps::full(values.clone());
        let encoded = encoder.get().encode(Tensors::Frames(values, mask)).values;
        if backward {
            drop(GradientsParams::from_grads(encoded.sum().backward(), &encoder));
        } else {
            drop(encoded.into_data());
        }
    })
}

/// Training step of ResNet-50 + LSTM 2 x 512 + linear with AdamW at batch size 8.
fn article_step() -> Work {
    const BATCH: usize = 8;
    let device = Device::flex().autodiff();
    let input = |name: &str, encoder, shape| InputSpec {
        name: name.to_owned(),
        encoder,
        shape,
        projection: None,
        vocabulary: Vec::new(),
    };
    let image = EncoderSettings::Image(read::<ImageEncoder>("{type: resnet, model_variant: 50}"));
    let text = "{type: rnn, cell_type: lstm, num_layers: 2, state_size: 512, embedding_size: 256}";
    let spec = ModelSpec {
        inputs: vec![
            input("image", image, Shape::Image { channels: 3, height: 224, width: 224 }),
            input("text", EncoderSettings::Text(read::<TextEncoder>(text)), Shape::Tokens { vocab_size: 1000, max_steps: 32 }),
        ],
        combiner: CombinerSettings::Concat(defaults()),
        outputs: vec![OutputSpec {
            name: "label".to_owned(),
            decoder: DecoderSettings::Category(CategoryDecoder::Classifier(defaults())),
            width: 10,
            loss: Loss::CrossEntropy { class_weights: vec![1.0; 10], smoothing: 0.0, gamma: 0.0 },
            loss_weight: 1.0,
        }],
    };
    let column = |values| BatchColumn { present: vec![true; BATCH], values };
    let pixels = (0..BATCH * 3 * 224 * 224).map(|at| (at as f32 * 0.37).sin()).collect();
    let ids = (0..BATCH * 32).map(|at| (at * 7 % 1000) as u32).collect();
    let batch = Batch {
        rows: (0..BATCH).collect(),
        inputs: vec![
            column(Values::Images { dims: [3, 224, 224], data: pixels }),
            column(Values::Tokens { steps: 32, lengths: vec![32; BATCH], ids, texts: Vec::new() }),
        ],
        targets: vec![column(Values::Classes((0..BATCH as u32).collect()))],
        faults: Vec::new(),
        weights: None,
    };
    let mut model = spec.init(&device, 1);
    let mut optimizer = read::<OptimizerSettings>("adamw").init(&model);
    Box::new(move || {
        let targets: Vec<Target> = batch.targets.iter().map(|target| Target::new(target, &device)).collect();
        let logits = model.forward(&batch, None, &device).logits;
        let loss = spec.loss(&model, &logits, &targets);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-3, model.clone(), gradients);
    })
}
