"""Keras's layers that do something to a model's numbers in training alone."""

from tfsep._keras.backend import keras

L = keras.layers

INFERENCE_IDENTITIES = (
    *(L.Dropout, L.SpatialDropout1D, L.SpatialDropout2D, L.SpatialDropout3D, L.GaussianDropout, L.GaussianNoise),
    *(L.AlphaDropout, L.ActivityRegularization, L.Identity),
    *(L.RandomBrightness, L.RandomColorJitter, L.RandomContrast, L.RandomElasticTransform, L.RandomErasing),
    *(L.RandomFlip, L.RandomGaussianBlur, L.RandomInvert, L.RandomPerspective, L.RandomRotation),
    *(L.RandomTranslation, L.RandomZoom),
)
"""Layers whose computation at inference is their input.

`RandomCrop` crops the middle there. `RandomHue`, `RandomSaturation`, `RandomColorDegeneration`, `RandomGrayscale`,
`RandomSharpness`, `RandomPosterization` and `RandomShear`, and `RandAugment` and `AugMix` of them, return their input,
and may draw a number in vain: files would hold a state for it.
"""
