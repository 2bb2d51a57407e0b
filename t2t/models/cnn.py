"""Convolutional controls of the paper's Tables 3, 4 and 6, built by timm from its own parts.

ResNet-50/101/152, SENet-50, ResNeXt-50 and Wide-ResNet-18x1.5 are timm's ResNet; ResNet-50-Ghost
is the same with timm's GhostModule in the place of every 3 x 3 convolution; DenseNet-201 is
timm's DenseNet; MobileNet V1 and V2 are timm's EfficientNet with the definitions of those papers.
What the paper leaves open of three of them: docs/decisions/022-convolutional-controls.md.

timm is imported when one is built: it takes seconds, and listing networks needs none of it.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, Self, cast

from torch import nn

from t2t.nn.scaling import scale_depth


@dataclass(frozen=True)
class ResNetConfig:
    """`stage_depths` blocks of `stage_widths` channels (4 times as many leave a bottleneck).

    A bottleneck's 3 x 3 convolution has `groups` groups of `group_width` channels for every 64 of
    its stage. `drop_path_rate` is the last block's, rising linearly from 0 at the first.
    """

    stage_depths: tuple[int, ...]
    stage_widths: tuple[int, ...] = (64, 128, 256, 512)
    block: Literal["bottleneck", "basic"] = "bottleneck"
    groups: int = 1
    group_width: int = 64
    variant: Literal["plain", "se", "ghost"] = "plain"
    drop_path_rate: float = 0.0

    def scaled(self, width_factor: float, depth_factor: float) -> Self:
        """Widths and depths multiplied; groups stay, and so do the stem's 64 channels."""
        return replace(
            self,
            stage_widths=tuple(_scale_channels(w, width_factor) for w in self.stage_widths),
            stage_depths=tuple(scale_depth(depth, depth_factor) for depth in self.stage_depths),
        )

    def network(self, num_classes: int) -> nn.Module:
        """The network, freshly initialised."""
        from timm.models.resnet import BasicBlock, Bottleneck, ResNet

        block = Bottleneck if self.block == "bottleneck" else BasicBlock
        model = ResNet(
            cast(Any, block),  # timm's hint asks for an instance, its code for the class
            self.stage_depths,
            num_classes=num_classes,
            channels=self.stage_widths,
            cardinality=self.groups,
            base_width=self.group_width,
            drop_path_rate=self.drop_path_rate,
            block_args={"attn_layer": "se"} if self.variant == "se" else None,
        )
        if self.variant == "ghost":
            _make_ghostly(model)
        return model


@dataclass(frozen=True)
class DenseNetConfig:
    """`stage_depths` layers, each adding `growth` channels to the 2 * growth of the stem.

    `drop_path_rate` has no effect: no layer has a branch that could be skipped.
    """

    stage_depths: tuple[int, ...]
    growth: int
    drop_path_rate: float = 0.0

    def scaled(self, width_factor: float, depth_factor: float) -> Self:
        """Growth and depths multiplied."""
        return replace(
            self,
            growth=_scale_channels(self.growth, width_factor, least=8),
            stage_depths=tuple(scale_depth(depth, depth_factor) for depth in self.stage_depths),
        )

    def network(self, num_classes: int) -> nn.Module:
        """The network, freshly initialised."""
        from timm.models.densenet import DenseNet

        return DenseNet(self.growth, self.stage_depths, num_classes=num_classes)


@dataclass(frozen=True)
class MobileNetConfig:
    """`width` and `depth` multiply the channels and the layers of each stage of version 1 or 2.

    `drop_path_rate` is the last block's, rising linearly from 0 at the first; it concerns blocks
    with a skip connection alone, of which version 1 has none.
    """

    version: Literal["v1", "v2"]
    width: float = 1.0
    depth: float = 1.0
    drop_path_rate: float = 0.0

    def scaled(self, width_factor: float, depth_factor: float) -> Self:
        """Both multipliers multiplied; timm rounds channels to multiples of 8, depths upwards."""
        return replace(self, width=self.width * width_factor, depth=self.depth * depth_factor)

    def network(self, num_classes: int) -> nn.Module:
        """The network, freshly initialised."""
        from timm.models import efficientnet

        v1 = self.version == "v1"
        generate = efficientnet._gen_mobilenet_v1 if v1 else efficientnet._gen_mobilenet_v2
        model = generate(
            "mobilenetv1_100" if v1 else "mobilenetv2_100",
            channel_multiplier=self.width,
            depth_multiplier=self.depth,
            num_classes=num_classes,
            drop_path_rate=self.drop_path_rate,
        )
        return cast(nn.Module, model)


CNNConfig = ResNetConfig | DenseNetConfig | MobileNetConfig

VARIANTS: dict[str, CNNConfig] = {
    # Table 3 (He et al. 2016, arXiv 1512.03385).
    "resnet_50": ResNetConfig((3, 4, 6, 3)),
    "resnet_101": ResNetConfig((3, 4, 23, 3)),
    "resnet_152": ResNetConfig((3, 8, 36, 3)),
    # Table 4 (arXiv 1704.04861 and 1801.04381).
    "mobilenet_v1": MobileNetConfig("v1"),
    "mobilenet_v2": MobileNetConfig("v2"),
    "mobilenet_v2_14": MobileNetConfig("v2", width=1.4),
    # Table 6 (arXiv 1605.07146, 1608.06993, 1709.01507, 1611.05431, 1911.11907).
    "wide_resnet_18": ResNetConfig((2, 2, 2, 2), (96, 192, 384, 768), "basic"),
    "densenet_201": DenseNetConfig((6, 12, 48, 32), growth=32),
    "senet_50": ResNetConfig((3, 4, 6, 3), variant="se"),
    "resnext_50": ResNetConfig((3, 4, 6, 3), groups=32, group_width=4),
    "resnet_50_ghost": ResNetConfig((3, 4, 6, 3), variant="ghost"),
}


def build(config: CNNConfig, *, image_size: tuple[int, int], num_classes: int) -> nn.Module:
    """The network; every image size fits, so that `image_size` changes nothing."""
    return config.network(num_classes)


def _scale_channels(channels: int, factor: float, least: int = 16) -> int:
    """`channels` times `factor` in multiples of 8, at least `least`."""
    if factor == 1:
        return channels
    return max(least, 8 * int(channels * factor / 8 + 0.5))


def _make_ghostly(model: nn.Module) -> None:
    """Puts a GhostModule in the place of each block's 3 x 3 convolution and its norm."""
    from timm.models.ghostnet import GhostModule
    from timm.models.resnet import Bottleneck

    for block in model.modules():
        if not isinstance(block, Bottleneck):
            continue
        conv = block.conv2
        ghost = GhostModule(conv.in_channels, conv.out_channels, 3, stride=conv.stride[0])
        for part in ghost.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        block.add_module("conv2", ghost)
        block.add_module("bn2", nn.Identity())
