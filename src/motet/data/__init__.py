"""Data sets by name, from folders of images and from tables; batches; augmentation on the device."""

from motet.data._arrays import as_dataset
from motet.data._catalogue import DATASETS, DatasetEntry, Kind, fingerprint, kind_of, load
from motet.data._dataset import Dataset, Split
from motet.data._options import DataOptions
from motet.data._spec import DataSpec, Task
from motet.data.augment import Augmentation
from motet.data.batches import batches, in_order, steps_per_epoch
from motet.data.description import DataDescription, describe
from motet.data.formats.image_files import ImageFiles
from motet.data.sources.cifar import cifar10, cifar100
from motet.data.sources.class_folders import image_folder
from motet.data.sources.digits import digits
from motet.data.sources.idx import fashion_mnist, mnist, read_idx
from motet.data.sources.imagenet import imagenet, tiny_imagenet
from motet.data.sources.tables import table
from motet.data.sources.toy import toy

__all__ = [
    "DATASETS",
    "Augmentation",
    "DataDescription",
    "DataOptions",
    "DataSpec",
    "Dataset",
    "DatasetEntry",
    "ImageFiles",
    "Kind",
    "Split",
    "Task",
    "as_dataset",
    "batches",
    "cifar10",
    "cifar100",
    "describe",
    "digits",
    "fashion_mnist",
    "fingerprint",
    "image_folder",
    "imagenet",
    "in_order",
    "kind_of",
    "load",
    "mnist",
    "read_idx",
    "steps_per_epoch",
    "table",
    "tiny_imagenet",
    "toy",
]
