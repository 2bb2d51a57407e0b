"""Attention maps, formed only where somebody looks at them; training never does."""

from torch import Tensor

from t2t.nn.precision import widen, without_autocast


def softmax_map(query: Tensor, key: Tensor, scale: float) -> Tensor:
    """softmax(Q K^T * scale), (B, heads, N, D) twice -> (B, heads, N, N) in float32 or wider.

    Row i holds how much token i takes of each token's value (paper equation 1).
    """
    with without_autocast(query):
        return (widen(query) @ widen(key).mT * scale).softmax(-1)
