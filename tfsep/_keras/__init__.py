"""What several subpackages need of Keras and TensorFlow: the one import, a model's graph, its inputs and outputs."""
