//! Words of Ludwig's config that mbm does not have (yet), so that an error can say so by name.

const WORDS: &[&str] = &[
    "adapter", "anomaly", "aux_classifier", "auto_transformer", "bag", "base_learning_rate", "base_model", "bf16",
    "binary_weighted_cross_entropy", "bucketing_field", "cache_credentials", "calibration", "clip", "comparator", "conditions", "constraints",
    "convnext", "decision", "defaults", "dependencies", "distilbert", "effective_batch_size", "efficientnet", "embeddings_on_cpu",
    "embeddings_trainable", "enable_gradient_checkpointing", "enable_profiling", "enrich", "entity_1", "entity_2", "evaluate_training_set",
    "eval_batch_size", "eval_steps", "fill_value", "force_split", "ft_transformer", "generation", "global_max_sequence_length", "gpt2", "h3",
    "hyperopt", "in_memory", "increase_batch_size_on_plateau", "infer_image_dimensions", "input_size", "layer_freezing_regex_pattern", "llama",
    "llm", "lr_finder", "ludwig_version", "max_batch_size", "missing_value_strategy", "mlp_mixer", "model_type", "negative_sampling",
    "ngram", "normalize_gradients", "num_processes", "outlier_strategy", "oversample_minority", "padding_symbol", "padding_value",
    "pretrained_embeddings", "prompt", "quantization", "reduce_dependencies", "reduce_input", "regularization_type", "roberta",
    "sample_ratio", "sample_size", "sequence", "sequence_concat", "skip_all_evaluation", "stacked_cnn_rnn", "stacked_parallel_cnn",
    "stacked_transformer", "stop_if_no_improvement", "t5", "tabnet", "tabpfn", "tabtransformer", "tied", "train_steps", "transformer_xl",
    "undersample_majority", "unet", "unknown_symbol", "use_mixed_precision", "xlmroberta",
];

/// Whether Ludwig's documentation of version 0.11 has this word.
pub(crate) fn knows(word: &str) -> bool {
    WORDS.contains(&word)
}
