"""Plain utilities, independent of Keras and of ``.tflite`` files."""
