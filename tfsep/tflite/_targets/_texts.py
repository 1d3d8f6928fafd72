"""Groups of operators, and texts of requirements and changes, that several rules share."""

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
WINDOWS = (*CONVOLUTIONS, "TRANSPOSE_CONV")

NOT_PLAIN = ", not plain whole numbers or conditions"
REAL = f"floats or 8-bit integers{NOT_PLAIN}"

BATCH = "export with batch_size=1"
FLOAT_OR_INT8 = "export with the recipe float32, float16 or int8"
IN_FLOATS = "use other layers here: the converter leaves this part in floats"
INDICES = "compute indices and masks in front of the model, or leave this operator to the CPU"
INT8 = "export with the recipe int8"
POOLING = "use a pooling layer over the whole image or sequence in place of the mean"
STATIC_SHAPES = "export with static shapes, as `export` does"
STATIC_WEIGHTS = "give the model its weights as variables, not as an input or a computed tensor"
WITH_BIAS = "use_bias=True, or a batch normalization that is folded"
