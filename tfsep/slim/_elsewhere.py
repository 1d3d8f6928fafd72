"""Names of slim that are not here, and what does their work."""

from collections.abc import Callable
from typing import NoReturn

_NAMES: dict[str, tuple[str, ...]] = {
    "model.compile(loss=...) and keras.losses": ("losses",),
    "model.compile(metrics=...) and keras.metrics": ("metrics",),
    "model.fit": ("learning", "training"),
    "model.evaluate": ("evaluation", "train_eval"),
    "keras.optimizers and model.fit": ("optimize_loss", "adaptive_clipping_fn", "optimizers"),
    "model.optimizer.iterations": (
        "assert_global_step",
        "assert_or_get_global_step",
        "create_global_step",
        "get_global_step",
        "get_or_create_global_step",
    ),
    "keras.callbacks.TensorBoard": (
        "summaries",
        "summarize_activation",
        "summarize_activations",
        "summarize_biases",
        "summarize_collection",
        "summarize_tensor",
        "summarize_tensors",
        "summarize_variables",
        "summarize_weights",
    ),
    "tfsep.data and tf.data": (
        "data",
        "data_decoder",
        "data_provider",
        "dataset",
        "dataset_data_provider",
        "parallel_reader",
        "prefetch_queue",
        "queues",
        "tfexample_decoder",
    ),
    "tfsep.weights.load_slim_checkpoint": ("assign_from_checkpoint", "assign_from_checkpoint_fn"),
    "the assign of each variable": ("assign_from_values", "assign_from_values_fn"),
    "a layer of slim or Keras, which makes its variables": (
        "add_model_variable",
        "get_local_variables",
        "global_variable",
        "local_variable",
        "model_variable",
        "variable",
        "variables",
    ),
    "slim.get_variables and its like": ("filter_variables", "get_variable_full_name", "get_variable_collections"),
    "tf.distribute, with tfsep.train": ("VariableDeviceChooser",),
    "keras.layers.Conv3DTranspose": ("conv3d_transpose", "convolution3d_transpose"),
    "keras.layers.Discretization": ("bucketization_op", "bucketize"),
    "keras.RematScope": ("RevBlock", "recompute_grad", "rev_block", "rev_block_lib"),
    "keras.ops.transpose and keras.ops.reshape": ("images_to_sequence", "sequence_to_images"),
    "tf.sparse.from_dense on a model's result": ("dense_to_sparse",),
    "a keras.layers.Layer of one's own, as Keras has none": ("GDN", "gdn"),
    "slim.fully_connected": ("legacy_fully_connected",),
    "slim.linear": ("legacy_linear",),
    "slim.relu": ("legacy_relu",),
    "slim.batch_norm and its like": ("normalization",),
    "slim.arg_scope and slim.add_arg_scope": ("arg_scope_lib", "add_arg_scope"),
    "slim.initializers": ("initializers",),
    "slim.utils": ("utils",),
    "slim.utils.collect_named_outputs": (
        "NamedOutputs",
        "append_tensor_alias",
        "gather_tensors_aliases",
        "get_tensor_aliases",
    ),
    "Python's if and numbers, as is_training is no tensor": ("constant_value", "smart_cond", "static_cond"),
    "slim.utils.two_element_tuple": ("n_positive_integers",),
}
"""What does the work of slim's other names, by what does it."""


def refusal_of_others(module: str) -> Callable[[str], NoReturn]:
    """Return the ``__getattr__`` of a module, which says what to use in place of a name of slim that is not here.

    Args:
        module: the module, as slim code calls it.

    Examples:
        >>> refusal_of_others("slim")("learning")
        Traceback (most recent call last):
        AttributeError: slim.learning: expected a name of slim that is here, got one whose work is done by model.fit
    """

    def refuse(name: str) -> NoReturn:
        for instead, names in _NAMES.items():
            if name in names:
                raise AttributeError(
                    f"{module}.{name}: expected a name of slim that is here, got one whose work is done by {instead}"
                )
        raise AttributeError(f"module 'tfsep.{module}' has no attribute {name!r}")

    return refuse
