"""The networks written out plainly, from their equations, on the parameters of the lean modules.

Windows are unfolded, softmax and kernels are formed in full, every block carries every token.
Slow and clear: the oracle for the lean arithmetic, and the definition that MACs count.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2t.nn.attention import Attention, SEAttention
from t2t.nn.block import Block, Mlp
from t2t.nn.patch_embed import PatchEmbed
from t2t.nn.soft_split import SoftSplit
from t2t.nn.token_classifier import TokenClassifier
from t2t.nn.token_performer import TokenPerformer
from t2t.nn.token_transformer import TokenTransformer
from t2t.nn.tokens_to_token import SPLITS, ConvTokens, TokensToToken


def windows(x: Tensor, split: SoftSplit) -> Tensor:
    """(B, C, H, W) -> (B, N, C*k*k)."""
    return F.unfold(x, split.kernel, 1, split.padding, split.stride).transpose(1, 2)


def as_map(tokens: Tensor, height: int, width: int) -> Tensor:
    batch, _, channels = tokens.shape
    return tokens.transpose(1, 2).reshape(batch, channels, height, width)


def performer_attention(key: Tensor, query: Tensor, value: Tensor, w: Tensor) -> Tensor:
    def features(x: Tensor) -> Tensor:
        exponent = torch.einsum("bnd,md->bnm", x, w) - x.square().sum(-1, keepdim=True) / 2
        return exponent.exp() / math.sqrt(w.shape[0])

    phi_key, phi_query = features(key), features(query)
    mass = torch.einsum("bnm,bm->bn", phi_query, phi_key.sum(1)).unsqueeze(-1)
    summary = torch.einsum("bnd,bnm->bdm", value, phi_key)
    return torch.einsum("bnm,bdm->bnd", phi_query, summary) / (mass + 1e-8)


def performer(layer: TokenPerformer, x: Tensor) -> Tensor:
    """`layer` without its dropout."""
    key, query, value = layer.kqv(layer.norm1(windows(x, layer.split))).chunk(3, dim=-1)
    attended = performer_attention(key, query, value, layer.w)
    y = value + layer.proj(attended)
    first, activation, second, _ = layer.mlp
    return y + second(activation(first(layer.norm2(y))))


def softmax_attention(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    return (query @ key.transpose(-2, -1) * scale).softmax(-1) @ value


def transformer(layer: TokenTransformer, x: Tensor) -> Tensor:
    tokens = windows(x, layer.split)
    query, key, value = layer.attn.qkv(layer.norm1(tokens)).chunk(3, dim=-1)
    attended = softmax_attention(query, key, value, tokens.shape[-1] ** -0.5)
    y = value + layer.attn.proj(attended)
    return y + mlp(layer.mlp, layer.norm2(y))


def mlp(layer: Mlp, x: Tensor) -> Tensor:
    return layer.fc2(F.gelu(layer.fc1(x)))


def tokens(module: nn.Module, x: Tensor) -> Tensor:
    """What a tokenizer gives for images (B, 3, H, W)."""
    if isinstance(module, PatchEmbed):
        patches = windows(x, SoftSplit(16, 16, 0))
        return F.linear(patches, module.proj.weight.flatten(1), module.proj.bias)
    if isinstance(module, ConvTokens):
        layers = (module.soft_split0, module.soft_split1, module.project)
        for split, layer in zip(SPLITS, layers, strict=True):
            height, width = split.grid(*x.shape[-2:])
            y = F.linear(windows(x, split), layer.weight.flatten(1), layer.bias)
            x = as_map(y, height, width)
        return y
    assert isinstance(module, TokensToToken)
    for split, layer in zip(SPLITS, (module.attention1, module.attention2), strict=False):
        height, width = split.grid(*x.shape[-2:])
        plain = performer if isinstance(layer, TokenPerformer) else transformer
        x = as_map(plain(layer, x), height, width)
    return module.project(windows(x, SPLITS[2]))


def attention(layer: Attention, x: Tensor) -> Tensor:
    batch, length, dim = x.shape
    head_dim = dim // layer.num_heads
    qkv = layer.qkv(x).reshape(batch, length, 3, layer.num_heads, head_dim)
    query, key, value = qkv.permute(2, 0, 3, 1, 4)
    attended = softmax_attention(query, key, value, head_dim**-0.5)
    y = layer.proj(attended.transpose(1, 2).reshape(batch, length, dim))
    if isinstance(layer, SEAttention):
        squeeze, _, excite, _ = layer.se_layer.fc
        gate = torch.sigmoid(excite(torch.relu(squeeze(y.mean(1)))))
        y = y * gate[:, None]
    return y


def block(layer: Block, x: Tensor) -> Tensor:
    x = x + attention(layer.attn, layer.norm1(x))
    return x + mlp(layer.mlp, layer.norm2(x))


def logits(model: TokenClassifier, x: Tensor) -> Tensor:
    """`model(x)` in evaluation mode."""
    x = tokens(model.tokenizer, x)
    x = torch.cat([model.cls_token.expand(x.shape[0], -1, -1), x], dim=1) + model.pos_embed
    for layer in model.blocks:
        x = block(layer, x)
    return model.head(model.norm(x)[:, 0])
