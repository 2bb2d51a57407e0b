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
from t2t.nn.dense import DenseBlock, Transition
from t2t.nn.ghost import ChannelScale, GhostAttention, GhostMlp
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


def cheap_copy(scale: ChannelScale, x: Tensor) -> Tensor:
    """The depthwise convolution of one tap that the scale stands for."""
    return F.conv1d(x.transpose(1, 2), scale.weight, groups=x.shape[-1]).transpose(1, 2)


def mlp(layer: Mlp | GhostMlp, x: Tensor) -> Tensor:
    hidden = F.gelu(layer.fc1(x))
    if isinstance(layer, GhostMlp):
        second = F.gelu(cheap_copy(layer.cheap_operation2, hidden))
        third = F.gelu(cheap_copy(layer.cheap_operation3, hidden))
        hidden = torch.cat([hidden, second, third], dim=2)
    return layer.fc2(hidden)


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


def queries_keys_values(layer: Attention | GhostAttention, x: Tensor) -> tuple[Tensor, ...]:
    if not isinstance(layer, GhostAttention):
        return layer.qkv(x).chunk(3, dim=-1)
    cheap = (layer.cheap_operation_q, layer.cheap_operation_k, layer.cheap_operation_v)
    halves = (layer.q(x), layer.k(x), layer.v(x))
    return tuple(
        torch.cat([half, cheap_copy(scale, half)], dim=2)
        for half, scale in zip(halves, cheap, strict=True)
    )


def attention(layer: Attention | GhostAttention, x: Tensor) -> Tensor:
    batch, length, dim = x.shape
    head_dim = dim // layer.num_heads
    query, key, value = (
        y.reshape(batch, length, layer.num_heads, head_dim).permute(0, 2, 1, 3)
        for y in queries_keys_values(layer, x)
    )
    attended = softmax_attention(query, key, value, head_dim**-0.5)
    y = layer.proj(attended.transpose(1, 2).reshape(batch, length, dim))
    if isinstance(layer, SEAttention):
        squeeze, _, excite, _ = layer.se_layer.fc
        gate = torch.sigmoid(excite(torch.relu(squeeze(y.mean(1)))))
        y = y * gate[:, None]
    return y


def block(layer: Block | Transition, x: Tensor) -> Tensor:
    if isinstance(layer, Transition):
        return F.gelu(layer.linear(x))
    y = x + attention(layer.attn, layer.norm1(x))
    y = y + mlp(layer.mlp, layer.norm2(y))
    if isinstance(layer, DenseBlock):
        return torch.cat([x, layer.dense_linear(y)], dim=2)
    return y


def logits(model: TokenClassifier, x: Tensor) -> Tensor:
    """`model(x)` in evaluation mode."""
    x = tokens(model.tokenizer, x)
    dist_token, head_dist = getattr(model, "dist_token", None), getattr(model, "head_dist", None)
    first = [model.cls_token] + ([] if dist_token is None else [dist_token])
    x = torch.cat([*(token.expand(x.shape[0], -1, -1) for token in first), x], dim=1)
    x = x + model.pos_embed
    for layer in model.blocks:
        x = block(layer, x)
    x = model.norm(x)
    if head_dist is None:
        return model.head(x[:, 0])
    return (model.head(x[:, 0]) + head_dist(x[:, 1])) / 2
