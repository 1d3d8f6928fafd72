"""Shared helpers for Keras and TensorFlow: their import, types, and a model's graph, inputs and outputs."""
