"""Plain utilities that know neither Keras nor a ``.tflite`` file."""
