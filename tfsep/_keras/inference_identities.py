"""Keras's layers that do something to a model's numbers in training alone."""

from tfsep._keras.backend import keras

L = keras.layers

INFERENCE_IDENTITIES = (
    *(L.Dropout, L.SpatialDropout1D, L.SpatialDropout2D, L.SpatialDropout3D, L.GaussianDropout, L.GaussianNoise),
    *(L.AlphaDropout, L.ActivityRegularization, L.Identity),
    *(L.AugMix, L.CutMix, L.MixUp, L.RandAugment, L.Solarization),
    *(L.RandomBrightness, L.RandomColorDegeneration, L.RandomColorJitter, L.RandomContrast, L.RandomElasticTransform),
    *(L.RandomErasing, L.RandomFlip, L.RandomGaussianBlur, L.RandomGrayscale, L.RandomHue, L.RandomInvert),
    *(L.RandomPerspective, L.RandomPosterization, L.RandomRotation, L.RandomSaturation, L.RandomSharpness),
    *(L.RandomShear, L.RandomTranslation, L.RandomZoom),
)
"""Layers whose computation at inference is their input.

`RandomCrop` is none, though ``predict`` returns its whole input: a graph has the size of the crop behind it.
"""
