"""Random numbers as a function of where they are used, not of what was drawn before.

Each draw is a hash of (seed, epoch, index, stream, counter), so a sample's crop does not depend
on the batch it falls in, the worker that reads it or the step a run was resumed at. The mixing
function is the finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
generators", OOPSLA 2014). Keys are chained through the hash, never added, so (seed 1, epoch 0) and
(seed 0, epoch 1) have nothing in common.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MULTIPLY_1 = np.uint64(0xBF58476D1CE4E5B9)
MULTIPLY_2 = np.uint64(0x94D049BB133111EB)

UInts = NDArray[np.uint64]


class Stream(IntEnum):
    """What a draw is for; two purposes never share numbers."""

    ORDER = 1
    CROP = 2
    FLIP = 3
    MIX = 4
    ERASE = 5
    ERASE_NOISE = 6
    INTERPOLATION = 7
    RAND_AUGMENT = 8
    SUBSET = 9
    SHIFT = 10


def mix64(values: UInts) -> UInts:
    """Bijective avalanche of 64-bit words, elementwise."""
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * MULTIPLY_1
        values = (values ^ (values >> np.uint64(27))) * MULTIPLY_2
        return values ^ (values >> np.uint64(31))


def keys(stream: Stream, seed: int, epoch: int, indices: ArrayLike) -> UInts:
    """One 64-bit key for each index, shape as `indices`; seed, epoch, indices >= 0."""
    key = np.zeros(1, np.uint64)
    for part in (int(stream), seed, epoch, np.asarray(indices)):
        word = np.asarray(part).astype(np.uint64)
        with np.errstate(over="ignore"):
            key = mix64((key ^ mix64(word + GOLDEN)) + GOLDEN)
    return key.reshape(np.shape(indices))


def uniforms(
    stream: Stream, seed: int, epoch: int, indices: ArrayLike, count: int
) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1) with 53 bits: shape (*indices.shape, count)."""
    with np.errstate(over="ignore"):
        counters = np.arange(1, count + 1, dtype=np.uint64) * GOLDEN
        words = mix64(keys(stream, seed, epoch, indices)[..., None] + counters)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    """The order of an epoch: the indices 0..size-1, sorted by their hash."""
    hashes = keys(Stream.ORDER, seed, epoch, np.arange(size))
    return np.argsort(hashes, kind="stable").astype(np.int64)


def generator(
    stream: Stream, seed: int, epoch: int, index: int, part: int = 0
) -> np.random.Generator:
    """A NumPy generator for draws that a few uniforms cannot give (Beta).

    The parts of an index are stretches of one sequence, each 2^128 numbers long.
    """
    key = int(keys(stream, seed, epoch, index))
    return np.random.Generator(np.random.Philox(key=key, counter=part << 128))
