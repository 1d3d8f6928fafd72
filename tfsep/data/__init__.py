"""Data sets of labelled images: Fashion-MNIST, and a folder of images by class.

A data set is a record of two `Split` s; a split loads an image when it is asked for it, so memory does not grow with a
folder of files. Images stay uint8 until a `Preprocessing`, the one record by which training, calibration, verification
and prediction turn pixels into what a network is given.
"""

from tfsep.data._fashion_mnist import (
    FASHION_MNIST_CLASSES,
    FASHION_MNIST_FILES,
    FASHION_MNIST_NOTICE,
    fashion_mnist,
    read_idx,
)
from tfsep.data._folder import IMAGE_SUFFIXES, image_folder
from tfsep.data._open import open_batches, open_data
from tfsep.data._preprocessing import CENTRAL, DEFAULT, Preprocessing, read_preprocessing, write_preprocessing
from tfsep.data._split import ImageData, Split, decoded, preprocess

__all__ = [
    "CENTRAL",
    "DEFAULT",
    "FASHION_MNIST_CLASSES",
    "FASHION_MNIST_FILES",
    "FASHION_MNIST_NOTICE",
    "IMAGE_SUFFIXES",
    "ImageData",
    "Preprocessing",
    "Split",
    "decoded",
    "fashion_mnist",
    "image_folder",
    "open_batches",
    "open_data",
    "preprocess",
    "read_idx",
    "read_preprocessing",
    "write_preprocessing",
]
