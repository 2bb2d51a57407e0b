"""CIFAR-10: 50,000 training and 10,000 test images of 10 classes, 32x32 (Krizhevsky, 2009)."""

from t2t.data.sources.cifar import load_cifar
from t2t.data.sources.fetch import Remote
from t2t.data.sources.roots import Roots
from t2t.data.sources.source import Source


def load(roots: Roots, *, download: bool = False, remote: Remote | None = None) -> Source:
    """From cifar-10-batches-py/ or cifar-10-python.tar.gz; see `load_cifar`."""
    return load_cifar(roots, name="cifar10", download=download, remote=remote)
