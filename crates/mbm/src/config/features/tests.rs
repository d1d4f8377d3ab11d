//! The weights of classes in the loss.

use mbm_model::decoder::Loss;

use crate::config::plan::Plan;

/// Returns the loss of an output for numbers of training rows per class.
fn loss(output: &str, class_counts: &[usize]) -> (Loss, f64) {
    let text = format!("input_features: [{{name: x, type: number}}]\noutput_features: [{{name: y, {output}}}]\n");
    let plan: Plan = text.parse().unwrap();
    plan.config.output_features[0].loss(class_counts).unwrap()
}

fn class_weights(output: &str, class_counts: &[usize]) -> Vec<f32> {
    match loss(output, class_counts) {
        (Loss::CrossEntropy { class_weights, .. }, _) => class_weights,
        (other, _) => panic!("{other:?}"),
    }
}

#[test]
fn balanced_classes_are_weighted_as_in_scikit_learn() {
    // As compute_class_weight("balanced"): rows / (classes * rows of the class). A class without rows counts as one with one row.
    let counts = [6, 3, 1, 0];
    let balanced: [f32; 4] = [10.0 / 24.0, 10.0 / 12.0, 2.5, 2.5];
    assert_eq!(class_weights("type: category", &counts), [1.0; 4]);
    assert_eq!(class_weights("type: category, loss: {balance_classes: true}", &counts), balanced);
    assert_eq!(class_weights("type: category, loss: {type: focal, balance_classes: true}", &counts), balanced);
    assert_eq!(class_weights("type: category, loss: {class_weights: [1, 2, 3, 4]}", &counts), [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn positive_class_weight_multiplies_that_of_the_balance() {
    let counts = [6, 2];
    assert_eq!(class_weights("type: binary, loss: {positive_class_weight: 3}", &counts), [1.0, 3.0]);
    let both = class_weights("type: binary, loss: {positive_class_weight: 3, balance_classes: true}", &counts);
    assert_eq!(both, [8.0 / 12.0, 6.0]);
    assert_eq!(loss("type: binary, loss: {weight: 0.25}", &counts).1, 0.25);
}
