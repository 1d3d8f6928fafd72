"""Data sets of labelled images: Fashion-MNIST, a folder of images by class, and TFRecord shards of either.

A data set is a record of two `Split` s; a split loads an image when it is asked for it, so of a folder of files memory
holds the names only, and of shards nothing that grows with their images. `Split.examples` is the order of an epoch, for
one process or for each of several. Images stay uint8 until a `Preprocessing`, the one record by which training,
calibration, verification and prediction turn pixels into what a network is given.
"""

from tfsep.data._decode import decoded, preprocess
from tfsep.data._epoch_shard import Part
from tfsep.data._fashion_mnist import (
    FASHION_MNIST_CLASSES,
    FASHION_MNIST_FILES,
    FASHION_MNIST_NOTICE,
    fashion_mnist,
    read_idx,
)
from tfsep.data._image_data import ImageData
from tfsep.data._image_folder import IMAGE_SUFFIXES, FileSplit, image_folder
from tfsep.data._open_data import class_names_of, open_arrays, open_batches, open_data
from tfsep.data._preprocessing import (
    CENTRAL,
    DEFAULT,
    Preprocessing,
    read_preprocessing,
    save_with_preprocessing,
    write_preprocessing,
)
from tfsep.data._record_index import RECORDS_INDEX
from tfsep.data._records import RecordSplit, open_records
from tfsep.data._split import ArraySplit, IndexedSplit, Split
from tfsep.data._write_records import write_records

__all__ = [
    "CENTRAL",
    "DEFAULT",
    "FASHION_MNIST_CLASSES",
    "FASHION_MNIST_FILES",
    "FASHION_MNIST_NOTICE",
    "IMAGE_SUFFIXES",
    "RECORDS_INDEX",
    "ArraySplit",
    "FileSplit",
    "ImageData",
    "IndexedSplit",
    "Part",
    "Preprocessing",
    "RecordSplit",
    "Split",
    "class_names_of",
    "decoded",
    "fashion_mnist",
    "image_folder",
    "open_arrays",
    "open_batches",
    "open_data",
    "open_records",
    "preprocess",
    "read_idx",
    "read_preprocessing",
    "save_with_preprocessing",
    "write_preprocessing",
    "write_records",
]
