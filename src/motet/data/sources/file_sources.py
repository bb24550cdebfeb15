"""The data sets in files: their names, their sources, and how they are read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import final

from motet.data._dataset import Dataset
from motet.data._options import FOLDER_OPTIONS, HELD_OUT_OPTIONS, DataOptions
from motet.data.sources.cifar import HELD_OUT, cifar10, cifar100, missing_cifar10, missing_cifar100
from motet.data.sources.fetch import RemoteFile
from motet.data.sources.idx import FASHION_MNIST_SOURCE, MNIST_SOURCE, fashion_mnist, missing_files, mnist
from motet.data.sources.imagenet import imagenet, missing_imagenet, missing_tiny_imagenet, tiny_imagenet


@final
@dataclass(frozen=True, kw_only=True)
class FileSource:
    """A data set in files.

    Attributes:
        description: one line.
        source: where it comes from, in words.
        needs: the files that it needs in one folder, in words.
        missing: returns the files that a folder lacks.
        read: returns the data set in a folder with all files.
        options: the fields of `DataOptions` that apply to it.
        files: the files to download.
        by_hand: the archive that needs a manual download.
        unpacked: the folder inside its archive; empty if the files themselves are downloaded.
    """

    description: str
    source: str
    needs: str
    missing: Callable[[Path], tuple[str, ...]]
    read: Callable[[Path, DataOptions], Dataset]
    options: frozenset[str]
    files: tuple[RemoteFile, ...]
    unpacked: str = ""
    by_hand: tuple[RemoteFile, ...] = ()


def _share(options: DataOptions) -> float:
    return HELD_OUT if options.validation_share is None else options.validation_share


def _idx_files(urls: tuple[str, ...], sums: Mapping[str, str]) -> tuple[RemoteFile, ...]:
    return tuple(
        RemoteFile(name=name, urls=tuple(url + name for url in urls), checksum=f"md5:{md5}")
        for name, md5 in sums.items()
    )


_KRIZ = "https://www.cs.toronto.edu/~kriz/"

# Checksums are those published by the data's authors or by torchvision.
FILE_SOURCES: Mapping[str, FileSource] = MappingProxyType(
    {
        "fashion-mnist": FileSource(
            description="70,000 grey 28x28 images of clothes, 10 classes",
            source=FASHION_MNIST_SOURCE,
            needs="its four IDX files",
            missing=missing_files,
            read=lambda folder, _: fashion_mnist(folder),
            options=frozenset(),
            files=_idx_files(
                ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
                {
                    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
                    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
                    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
                },
            ),
        ),
        "mnist": FileSource(
            description="70,000 grey 28x28 images of handwritten digits, 10 classes",
            source=MNIST_SOURCE,
            needs="its four IDX files",
            missing=missing_files,
            read=lambda folder, _: mnist(folder),
            options=frozenset(),
            files=_idx_files(
                ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
                {
                    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
                    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
                    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
                },
            ),
        ),
        "cifar10": FileSource(
            description="60,000 colour 32x32 images of animals and vehicles, 10 classes",
            source="www.cs.toronto.edu/~kriz/cifar.html",
            needs="its Python batches",
            missing=missing_cifar10,
            read=lambda folder, said: cifar10(folder, validation_share=_share(said), seed=said.split_seed),
            options=frozenset(HELD_OUT_OPTIONS),
            files=(
                RemoteFile(
                    name="cifar-10-python.tar.gz",
                    urls=(f"{_KRIZ}cifar-10-python.tar.gz",),
                    checksum="md5:c58f30108f718f92721af3b95e74349a",
                ),
            ),
            unpacked="cifar-10-batches-py",
        ),
        "cifar100": FileSource(
            description="60,000 colour 32x32 images of things, 100 classes",
            source="www.cs.toronto.edu/~kriz/cifar.html",
            needs="its Python batches",
            missing=missing_cifar100,
            read=lambda folder, said: cifar100(folder, validation_share=_share(said), seed=said.split_seed),
            options=frozenset(HELD_OUT_OPTIONS),
            files=(
                RemoteFile(
                    name="cifar-100-python.tar.gz",
                    urls=(f"{_KRIZ}cifar-100-python.tar.gz",),
                    checksum="md5:eb9058c3a382ffc7106e4002c42a8d85",
                ),
            ),
            unpacked="cifar-100-python",
        ),
        "tiny-imagenet": FileSource(
            description="110,000 colour 64x64 images, 200 of ImageNet's classes",
            source="cs231n.stanford.edu",
            needs="its folders train and val",
            missing=missing_tiny_imagenet,
            read=tiny_imagenet,
            options=frozenset(FOLDER_OPTIONS),
            files=(
                RemoteFile(
                    name="tiny-imagenet-200.zip",
                    urls=("http://cs231n.stanford.edu/tiny-imagenet-200.zip",),
                    checksum="md5:90528d7ca1a48142e341f4ef8d21d0de",
                ),
            ),
            unpacked="tiny-imagenet-200",
        ),
        "imagenet": FileSource(
            description="1,331,167 colour images, resized to 224x224, 1,000 classes (ILSVRC 2012)",
            source="image-net.org, after registration",
            needs="its folders train (one folder for each class) and val",
            missing=missing_imagenet,
            read=imagenet,
            options=frozenset(FOLDER_OPTIONS),
            files=(),
            by_hand=(
                RemoteFile(name="ILSVRC2012_img_train.tar", urls=(), checksum="md5:1d675b47d978889d74fa0da5fadfb00e"),
                RemoteFile(name="ILSVRC2012_img_val.tar", urls=(), checksum="md5:29b22e2961454d5413ddabcf34fc5622"),
                RemoteFile(
                    name="ILSVRC2012_devkit_t12.tar.gz", urls=(), checksum="md5:fa75699e90414af021442c21a62c3abf"
                ),
            ),
        ),
    }
)
"""The data sets by name."""
