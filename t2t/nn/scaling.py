"""How a network is shrunk for a small scale without changing its kind."""


def scale_embed_dim(embed_dim: int, num_heads: int, factor: float) -> int:
    """`embed_dim` times `factor`, in whole and equal heads, even, at least two values per head.

    The number of heads stays. Networks with equal heads keep their order by width.
    """
    if factor == 1:
        return embed_dim
    head_dim = max(2, _round(embed_dim / num_heads * factor))
    if num_heads * head_dim % 2:  # sine and cosine come in pairs
        head_dim += 1
    return num_heads * head_dim


def scale_token_dim(token_dim: int, factor: float) -> int:
    """`token_dim` times `factor`, even (the Performer halves it) and at least 8."""
    if factor == 1:
        return token_dim
    return max(8, 2 * _round(token_dim * factor / 2))


def scale_depth(depth: int, factor: float) -> int:
    """`depth` times `factor`, rounded half up, at least 1."""
    return max(1, _round(depth * factor))


def _round(x: float) -> int:
    return int(x + 0.5)
