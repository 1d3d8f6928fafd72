"""Reading of ``.tflite`` files as untrusted data: size check, unpacked tables, constants as numbers."""
