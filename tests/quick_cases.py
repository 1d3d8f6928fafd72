"""Sweeps of which a quick run takes a part, so that all kinds come in a few minutes; a slow run takes the other cases.

Of a sweep over two things a quick run takes every second or third case, as the black squares of a chess board: each
value of both is among them.
"""

from collections import Counter

import pytest

QUICK = {
    "batch_mixing": {"what_is_constant_in_a_batch_of_one": 2},
    "call_forms": {"every_form_of_call": 2, "ids_in_floats_are_not_quantized": 2},
    "cli": {"samples_to_calibrate_and_to_verify_on": 5},
    "composite_layers": {"layers_inside_are_quantized": 3, "normalizations_inside_are_folded": 3},
    "computation": {"step_that_is_not_finite_is_skipped_and_counted": 2, "steps_augment_as_the_input_pipeline_does": 2},
    "computed_ids": {"computed_ids_are_the_model_s": 2, "sums_of_ids_that_are_given": 3},
    "contexts": {"compiled_by_xla": 3, "jacobians": 3},
    "conv1d": {
        "compiled_by_xla": 3,
        "dtypes": 2,
        "exported_files": 2,
        "keras_contract": 2,
        "unknown_lengths_and_empty_batch": 3,
        "values_and_gradients": 2,
    },
    "conv1d_transpose": {"file_computes_what_was_prepared": 2, "values_and_gradients": 2},
    "conversion_errors": {"operators_without_a_counterpart_name_their_layers": 3},
    "convert": {"keras_layers_become_one_operator": 2},
    "deformable": {
        "compiled_by_xla": 3,
        "dtype_policies": 2,
        "exported_file": 2,
        "exported_files_of_several_sizes": 2,
        "keras_contract": 2,
        "unknown_sizes_and_empty_batch": 2,
        "values": 2,
    },
    "folding_ahead": {"normalizations_fold_where_that_is_exact": 2},
    "graph_corrections": {
        "encodings_of_ids": 3,
        "ids_in_floats_stay_whole": 2,
        "tensors_of_several_readers_in_integers": 2,
    },
    "gridding": {"receptive_field_is_the_support_of_the_gradient": 2},
    "image_data_format": {"every_public_example_runs": 2},
    "inference": {
        "functions_compute_what_predict_does_and_leave_the_model_as_it_was": 3,
        "what_keras_does_not_track_stays": 2,
    },
    "keras_export": {"saved_model_computes_what_predict_does": 2},
    "layers": {"the_keras_contract": 2, "trains_under_mixed_precision": 2},
    "load_model": {
        "functions_of_tensorflow_between_layers": 2,
        "models_of_all_kinds_become_folders_for_devices": 2,
        "nested_models_of_keras2": 2,
    },
    "model_copies": {"models_of_other_libraries": 2, "subclassed_models_in_half_precision": 2},
    "mutations": {"damaged_files": 2},
    "open_sizes": {"products_of_computed_sizes": 2},
    "ops": {"dtypes": 2, "gradients": 2, "size_below_kernel_at_run_time": 2, "unknown_sizes_and_empty_batch": 2},
    "package": {"another_backend_is_refused": 4},
    "profile": {"operators_that_run_other_graphs_or_have_a_state": 2},
    "quantize": {"results_have_the_shapes_and_types_of_the_traced_computation": 2},
    "quantize_files": {
        "a_channel_with_a_tiny_gamma": 2,
        "every_layer_of_the_file_equals_the_prepared_model": 2,
        "reference_kernels": 2,
    },
    "quantize_inputs": {
        "float_layers_between_quantized_ones_are_exact": 2,
        "inputs_of_other_types": 2,
        "layers_that_move_or_scale_are_exact": 3,
        "preparation_without_integers_stays_in_front_with_a_note": 3,
    },
    "quantize_layers": {
        "activations_composed_of_several_kernels": 3,
        "merged_calls_and_operators": 2,
        "results_that_are_zero_in_all_data": 2,
        "shared_layers": 2,
    },
    "quantize_sweep": {"networks_are_taken_as_they_are": 3},
    "quantize_transposed": {
        "a_bias_of_zeros_in_front_of_a_rectifier": 2,
        "a_decomposed_convolution_trains_and_is_saved": 2,
        "channels_first_stay_in_float32": 2,
        "the_file_computes_what_the_prepared_model_does": 3,
    },
    "records": {
        "damage_inside_a_shard_is_found_by_check": 5,
        "take_and_shard_are_slices": 2,
        "workers_see_every_image_once": 3,
    },
    "resizing": {"files": 2},
    "roughness": {"columns_of_noise": 3, "small_columns": 2},
    "slim": {"programs_equal_slim": 2, "sweeps_equal_slim": 3},
    "slim_checkpoint": {"end_points_equal_slim": 3},
    "slim_models": {"keras_dtype_policy_sets_precision": 2, "saving_and_loading": 2},
    "surgery": {"each_layer_kind_folds": 2, "folded_networks_compute_the_same": 2},
    "sweep": {"images_wider_than_kernel_blocks": 2},
    "targets_others": {"memory_estimate_equals_the_measured_arena": 2},
    "tflite": {
        "a_changed_weight_is_found_in_every_recipe": 2,
        "each_layer_exports_to_its_operators_and_values": 2,
        "forms_of_data": 2,
        "prepared_model_with_other_types_is_proven_to_the_bit": 3,
        "tuple_of_inputs_is_in_the_order_of_the_model": 3,
        "types_of_inputs_and_outputs": 2,
        "verify_fails_on_the_file_of_another_model": 3,
    },
    "tflite_models": {
        "batches": 2,
        "inputs_of_every_type": 2,
        "layers_are_compared_in_the_batches_of_the_file": 3,
        "state_starts_as_it_is_and_goes_on": 2,
        "variables_that_keras_does_not_track": 2,
    },
    "transposed": {"compiled_by_xla": 3, "unknown_sizes_and_empty_batch": 3, "values_and_gradients": 2},
    "upsampling_layers": {"exported_files": 3, "the_keras_contract": 2},
    "verification": {
        "bounds_past_the_type_are_right": 2,
        "dead_channels_are_errors": 2,
        "dead_outputs_are_errors_in_every_recipe": 2,
    },
    "weights_tflite": {
        "files_of_every_recipe_load": 2,
        "inverted_residuals_load": 2,
        "other_depthwise_separable_networks_load": 2,
        "padding_rule_is_detected": 3,
    },
}
"""Of the cases of a test, by file and name, a quick run takes one of so many."""


def mark_slow_cases(items: list[pytest.Item]) -> None:
    """Mark the cases that a quick run leaves to the slow one."""
    seen = Counter[tuple[str, str]]()
    for item in items:
        key = item.path.stem.removeprefix("test_"), item.name.partition("[")[0].removeprefix("test_")
        step = QUICK.get(key[0], {}).get(key[1], 1)
        if step > 1 and item.get_closest_marker("slow") is None:
            if seen[key] % step:
                item.add_marker(pytest.mark.slow)
            seen[key] += 1
