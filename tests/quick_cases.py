"""Sweeps of which a quick run takes a part, so that all kinds come in a few minutes; a slow run takes the other cases.

Of a sweep over two things a quick run takes every second or third case, as the black squares of a chess board: each
value of both is among them.
"""

from collections import Counter

import pytest

QUICK = {
    "call_forms": {"every_form_of_call": 2, "ids_in_floats_are_not_quantized": 2},
    "cli": {"samples_to_calibrate_and_to_verify_on": 5},
    "composite_layers": {"normalizations_inside_are_folded": 2},
    "contexts": {"compiled_by_xla": 2, "jacobians": 3},
    "conv1d": {
        "compiled_by_xla": 3,
        "keras_contract": 2,
        "unknown_lengths_and_empty_batch": 3,
        "values_and_gradients": 2,
        "dtypes": 2,
    },
    "conv1d_transpose": {"values_and_gradients": 2},
    "conversion_errors": {"operators_without_a_counterpart_name_their_layers": 2},
    "convert": {"keras_layers_become_one_operator": 2},
    "deformable": {"compiled_by_xla": 3, "values": 2, "keras_contract": 2},
    "folding_ahead": {"normalizations_fold_where_that_is_exact": 2},
    "graph_corrections": {"encodings_of_ids": 3},
    "image_data_format": {"every_public_example_runs": 2},
    "layers": {"the_keras_contract": 2},
    "load_model": {"nested_models_of_keras2": 2},
    "ops": {
        "dtypes": 2,
        "gradients": 2,
        "size_below_kernel_at_run_time": 2,
        "unknown_sizes_and_empty_batch": 2,
    },
    "package": {"another_backend_is_refused": 4},
    "quantize_files": {"every_layer_of_the_file_equals_the_prepared_model": 2},
    "quantize_inputs": {
        "layers_that_move_or_scale_are_exact": 2,
        "preparation_without_integers_stays_in_front_with_a_note": 2,
    },
    "quantize_layers": {
        "activations_composed_of_several_kernels": 3,
        "merged_calls_and_operators": 2,
        "shared_layers": 2,
    },
    "quantize_transposed": {"the_file_computes_what_the_prepared_model_does": 2},
    "records": {"damage_inside_a_shard_is_found_by_check": 3, "workers_see_every_image_once": 3},
    "roughness": {"columns_of_noise": 3, "small_columns": 2},
    "slim": {"programs_equal_slim": 2},
    "surgery": {"each_layer_kind_folds": 2, "folded_networks_compute_the_same": 2},
    "tflite": {
        "a_changed_weight_is_found_in_every_recipe": 2,
        "each_layer_exports_to_its_operators_and_values": 2,
        "forms_of_data": 2,
        "prepared_model_with_other_types_is_proven_to_the_bit": 3,
        "tuple_of_inputs_is_in_the_order_of_the_model": 2,
        "verify_fails_on_the_file_of_another_model": 2,
    },
    "tflite_models": {"layers_are_compared_in_the_batches_of_the_file": 3},
    "transposed": {
        "compiled_by_xla": 3,
        "unknown_sizes_and_empty_batch": 3,
        "values_and_gradients": 2,
    },
    "upsampling_layers": {"exported_files": 2, "the_keras_contract": 2},
    "verification": {"bounds_past_the_type_are_right": 2},
    "weights_tflite": {"files_of_every_recipe_load": 2, "padding_rule_is_detected": 2},
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
