"""A ``.tflite`` file as untrusted data: its size checked, its tables unpacked, its constants as numbers."""
