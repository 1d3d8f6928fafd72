"""TF-slim's functions on Keras tensors: slim code moves over by changing one import.

With ``from tfsep import slim`` in place of ``import tf_slim as slim`` and a `keras.Input` in place of a placeholder,
the result is a Keras model of ordinary layers. Names, argument order and meaning are slim's; arguments without a
counterpart in Keras are refused. TensorFlow's functions that slim code has between slim's (``tf.pad``, ``tf.concat``,
``tf.squeeze``, ``tf.reduce_mean``, ``tf.nn.relu6`` and more) take Keras tensors, once this module is imported, and
``tensor.get_shape()`` is there; other functions are those of `keras.ops`. Initializers and
``tf.compat.v1.variable_scope`` work unchanged. So slim's own ``mobilenet_v1.py`` runs as it is.

Examples:
    >>> from tfsep import slim
    >>> inputs = keras.Input((32, 32, 3))
    >>> with slim.arg_scope(
    ...     [slim.conv2d, slim.separable_conv2d],
    ...     activation_fn=tf.nn.relu6,
    ...     normalizer_fn=slim.batch_norm,
    ...     weights_regularizer=slim.l2_regularizer(4e-5),
    ... ):
    ...     with tf.compat.v1.variable_scope("MobilenetV1"):
    ...         net = slim.conv2d(inputs, 32, [3, 3], stride=2, scope="Conv2d_0")
    ...         net = slim.separable_conv2d(net, None, [3, 3], depth_multiplier=1, scope="Conv2d_1_depthwise")
    ...         net = slim.conv2d(net, 64, [1, 1], scope="Conv2d_1_pointwise")
    >>> keras.Model(inputs, net).output_shape
    (None, 16, 16, 64)
    >>> list(slim.utils.convert_collection_to_dict("variables"))[4]
    'MobilenetV1/Conv2d_1_depthwise/depthwise_weights'

Layers are named by slim's scopes, with dots for slashes, by which `tfsep.weights.load_slim_checkpoint` finds them.

State: names, layers to share and collections, which slim keeps in TensorFlow 1's graph, are in a `Graph`. It belongs to
the Keras inputs of a model, and functions find it by the tensor they are given. A new `keras.Input` starts a new graph,
so two models built one after the other both have slim's default names. A graph refers weakly to layers and tensors, and
is deleted with them. Build a model of several inputs inside ``with slim.Graph():``. Functions without a tensor
(`get_variables`) read the graph of the ``with``, or else the last one used.

Scopes: ``tf.compat.v1.variable_scope`` prefixes names, but outside TensorFlow 1's graphs it does not tell its
``reuse``, which is always ``AUTO_REUSE`` there: a layer named like one from an earlier entry of the scope is shared.
It counts default names for the whole process. `slim.variable_scope` follows slim in both.

Losses: a Keras model keeps the regularization of its weights in ``model.losses``, and `fit` adds it; TensorFlow's
collection of regularization losses stays empty.

Phase: a Keras model is told on each call whether it trains. So ``is_training=True`` leaves the phase to the call, and
``is_training=False`` fixes it: frozen statistics, no dropout, also in ``fit``. (``training=False`` on the call of a
layer has no such effect: in ``fit``, a functional model overrides it.)
"""

# ruff: noqa: F403
from tf_slim import add_arg_scope, arg_scope_func_key, arg_scoped_arguments, current_arg_scope, has_arg_scope

from tfsep.slim import _initializers as initializers
from tfsep.slim import _regularizers as regularizers
from tfsep.slim import layers, model_analyzer, utils
from tfsep.slim._arg_scope import arg_scope
from tfsep.slim._elsewhere import refusal_of_others
from tfsep.slim._graph import Graph
from tfsep.slim._scope import variable_scope
from tfsep.slim._tensorflow import let_tensorflow_take_keras_tensors
from tfsep.slim._variables import (
    get_collection,
    get_model_variables,
    get_trainable_variables,
    get_unique_variable,
    get_variables,
    get_variables_by_name,
    get_variables_by_suffix,
    get_variables_to_restore,
)
from tfsep.slim.layers import *

let_tensorflow_take_keras_tensors()

__all__ = [  # noqa: PLE0604
    *layers.__all__,
    "Graph",
    "add_arg_scope",
    "arg_scope",
    "arg_scope_func_key",
    "arg_scoped_arguments",
    "current_arg_scope",
    "get_collection",
    "get_model_variables",
    "get_trainable_variables",
    "get_unique_variable",
    "get_variables",
    "get_variables_by_name",
    "get_variables_by_suffix",
    "get_variables_to_restore",
    "has_arg_scope",
    "initializers",
    "layers",
    "model_analyzer",
    "regularizers",
    "utils",
    "variable_scope",
]


__getattr__ = refusal_of_others("slim")
