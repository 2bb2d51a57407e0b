"""How much alike the heads of a layer are: cosine of their maps, linear CKA of their outputs.

Both are summed batch by batch, in float64, so that a sample of any size takes no memory.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


class MapCosine:
    """Cosine similarity of attention maps between the heads of one layer.

    For an image and two heads it is <A, B> / (|A| |B|) over all entries of their maps A and B, and
    the result is its mean over the images. Entries are shares, never negative: unrelated heads are
    above 0, and two heads that spread evenly over all tokens are at 1.
    """

    def __init__(self) -> None:
        self._sum: Tensor | float = 0.0
        self._images = 0

    def add(self, maps: Tensor) -> None:
        """Takes the maps of some images, (B, heads, queries, N), each row summing to 1."""
        flat = F.normalize(maps.double().flatten(2), dim=-1)
        self._sum = self._sum + (flat @ flat.mT).sum(0).cpu()
        self._images += len(maps)

    def matrix(self) -> Tensor:
        """(heads, heads), symmetric, 1 on the diagonal."""
        return torch.as_tensor(self._sum) / self._images


class OutputCKA:
    """Linear CKA of the heads' outputs (Kornblith et al., ICML 2019, arXiv 1905.00414, section 3).

    X and Y hold what two heads give for each token of each image, before `proj`, a line for each
    token, columns centred:

        CKA(X, Y) = |Y^T X|_F^2 / (|X^T X|_F |Y^T Y|_F)

    It is 1 for outputs that are rotations and multiples of each other, and 0, by definition here,
    where a head gives the same for every token.
    """

    def __init__(self, heads: int) -> None:
        self._heads = heads
        self._products: Tensor | float = 0.0
        self._sum: Tensor | float = 0.0
        self._tokens = 0

    def add(self, outputs: Tensor) -> None:
        """Takes the joined outputs of all heads for some images, (B, queries, dim)."""
        lines = outputs.double().flatten(0, 1)
        self._products = self._products + (lines.mT @ lines).cpu()
        self._sum = self._sum + lines.sum(0).cpu()
        self._tokens += len(lines)

    def matrix(self) -> Tensor:
        """(heads, heads), symmetric, 1 on the diagonal but for heads of constant output."""
        mean = torch.as_tensor(self._sum) / self._tokens
        covariance = torch.as_tensor(self._products) / self._tokens - torch.outer(mean, mean)
        # (heads, width, heads, width): the covariance of each pair of heads.
        apart = covariance.unflatten(1, (self._heads, -1)).unflatten(0, (self._heads, -1))
        norms = apart.square().sum((1, 3))
        own = norms.diagonal().sqrt()
        # Rounding leaves some 1e-16 of the mean square where nothing varies.
        floor = 1e-12 * (torch.as_tensor(self._products).trace() / self._tokens)
        varies = own > floor
        scale = torch.where(varies, own, torch.inf)
        return norms / torch.outer(scale, scale)


def similarity_to_others(matrix: Tensor) -> Tensor:
    """Each head's mean similarity to the other heads of its layer: (heads, heads) -> (heads,)."""
    return (matrix.sum(1) - matrix.diagonal()) / (len(matrix) - 1)
