"""Mixup and CutMix over a batch cut in groups, as pure functions of a draw for each group.

mixup: Zhang et al. 2018, arXiv:1710.09412. CutMix: Yun et al. 2019, arXiv:1905.04899. The partner
of image i in a group of n is image n-1-i; one coefficient serves the group, pixels are rounded to
uint8 (timm's `FastCollateMixup` in mode "batch", which the paper's recipe uses: a group is what
one of its GPUs loads).

A process may hold a part of the batch only, as long as it holds both images of every pair.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from t2t.data.draws import Stream, generator
from t2t.data.transfer import to_device
from t2t.errors import ConfigError

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class MixPolicy:
    """How often and how strongly groups of `group_size` images are mixed; an alpha of 0 turns
    that kind off.

    Raises ConfigError where a value is out of range.
    """

    mixup_alpha: float
    cutmix_alpha: float
    switch_prob: float
    prob: float
    group_size: int

    def __post_init__(self) -> None:
        for name in ("mixup_alpha", "cutmix_alpha"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be 0 or more, not {getattr(self, name)}")
        for name in ("switch_prob", "prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must lie between 0 and 1, not {getattr(self, name)}")
        if self.group_size < 1:
            raise ConfigError(f"group_size must be 1 or more, not {self.group_size}")


@dataclass(frozen=True)
class MixDraw:
    """What one group gets: `lam` is the weight of each image against its partner.

    `box` is (top, bottom, left, right) in pixels, end exclusive, for CutMix alone; `lam` is then
    the share of the image outside the box.
    """

    kind: Literal["none", "mixup", "cutmix"] = "none"
    lam: float = 1.0
    box: tuple[int, int, int, int] = (0, 0, 0, 0)


def draw_mix(
    policy: MixPolicy,
    *,
    seed: int,
    epoch: int,
    step: int,
    group: int,
    height_px: int,
    width_px: int,
) -> MixDraw:
    """The draw of one group of one step of one epoch; nothing else decides it."""
    rng = generator(Stream.MIX, seed, epoch, step, group)
    mixes, switches = rng.random() < policy.prob, rng.random() < policy.switch_prob
    if not mixes or (policy.mixup_alpha == 0 and policy.cutmix_alpha == 0):
        return MixDraw()
    if policy.cutmix_alpha == 0 or (policy.mixup_alpha > 0 and not switches):
        return MixDraw("mixup", float(rng.beta(policy.mixup_alpha, policy.mixup_alpha)))
    lam = float(rng.beta(policy.cutmix_alpha, policy.cutmix_alpha))
    centre_y, centre_x = int(rng.integers(height_px)), int(rng.integers(width_px))
    return cutmix_at(lam, centre_y, centre_x, height_px, width_px)


def cutmix_at(lam: float, centre_y: int, centre_x: int, height_px: int, width_px: int) -> MixDraw:
    """The CutMix draw for a box of area share 1 - lam about a centre, clipped to the image.

    Of an odd side the lower right gets the pixel more, as in timm.
    """
    side = math.sqrt(1 - lam)
    box_height, box_width = int(height_px * side), int(width_px * side)
    top, bottom = max(centre_y - box_height // 2, 0), centre_y + (box_height + 1) // 2
    left, right = max(centre_x - box_width // 2, 0), centre_x + (box_width + 1) // 2
    bottom, right = min(bottom, height_px), min(right, width_px)
    kept = 1.0 - (bottom - top) * (right - left) / (height_px * width_px)
    return MixDraw("cutmix", kept, (top, bottom, left, right))


@dataclass(frozen=True)
class MixPlan:
    """What each image of a part of a batch gets; tensors on the CPU.

    `lam` (B,) float64: an image's weight against its partner in the targets; `boxes` (B, 4) int64:
    top, bottom, left, right of what is pasted from the partner, empty where nothing is;
    `partners` (B,) int64: their rows in this part; `kinds`: those that occur.
    """

    lam: Tensor
    boxes: Tensor
    partners: Tensor
    kinds: frozenset[str]


def plan_mix(
    policy: MixPolicy,
    *,
    seed: int,
    epoch: int,
    step: int,
    positions: Ints,
    batch_size: int,
    height_px: int,
    width_px: int,
) -> MixPlan:
    """The plan for the images at `positions` (B,) of a batch of `batch_size`, in that order.

    A part's images are mixed as they are in the whole batch. Raises ConfigError where a position
    is out of range or comes twice, or where its partner is not among them.
    """
    where = {"seed": seed, "epoch": epoch, "step": step}
    size = {"height_px": height_px, "width_px": width_px}

    def draw(group: int) -> MixDraw:
        return draw_mix(policy, **where, group=group, **size)

    return plan_of(draw, positions, batch_size, policy.group_size)


def plan_of(
    draw: Callable[[int], MixDraw], positions: Ints, batch_size: int, group_size: int
) -> MixPlan:
    """The plan that the draws of the groups, `draw(group)`, make for the images at `positions`.

    Raises ConfigError as `plan_mix` does.
    """
    partners = _rows_of_partners(positions, batch_size, group_size)
    groups, which = np.unique(positions // group_size, return_inverse=True)
    draws = [draw(group) for group in groups.tolist()]
    return MixPlan(
        torch.tensor([one.lam for one in draws], dtype=torch.float64)[which],
        torch.tensor([one.box for one in draws]).view(-1, 4)[which],
        torch.from_numpy(partners),
        frozenset(one.kind for one in draws),
    )


def _rows_of_partners(positions: Ints, batch_size: int, group_size: int) -> Ints:
    rows = np.full(batch_size, -1)
    inside = (positions >= 0) & (positions < batch_size)
    rows[positions[inside]] = np.flatnonzero(inside)
    if not inside.all() or (rows[positions] != np.arange(len(positions))).any():
        raise ConfigError(
            f"positions in the batch must differ and lie in 0..{batch_size - 1}, not "
            f"{positions.tolist()}"
        )
    partners = _partners(positions, batch_size, group_size)
    absent = rows[partners] < 0
    if absent.any():
        raise ConfigError(
            f"the image at position {positions[absent][0]} of a batch of {batch_size} is mixed "
            f"with that at {partners[absent][0]}, which this part of the batch has not got; "
            "t2t.data.mixing.parts gives parts that hold both of every pair"
        )
    return rows[partners]


def _partners(positions: Ints, batch_size: int, group_size: int) -> Ints:
    """The position of each image's partner: the group [start, end) is read backwards."""
    start = positions // group_size * group_size
    end = np.minimum(start + group_size, batch_size)
    return start + end - 1 - positions


def parts(batch_size: int, group_size: int, num_parts: int) -> list[Ints]:
    """The positions 0..batch_size-1 of a batch in `num_parts` parts that keep pairs together.

    Each part ascends. Pairs stand in order and parts take equal stretches of them, so that parts
    are whole groups where the numbers allow; the unpaired middles of odd groups fill up the
    smallest. Sizes differ by two images at most. Raises ConfigError for more parts than pairs and
    middles together.
    """
    positions = np.arange(batch_size)
    partners = _partners(positions, batch_size, group_size)
    firsts, middles = positions[positions < partners], positions[positions == partners]
    if not 1 <= num_parts <= len(firsts) + len(middles):
        raise ConfigError(
            f"a batch of {batch_size} images in mixing groups of {group_size} can be shared by 1 "
            f"to {len(firsts) + len(middles)} parts (processes times accumulation steps), not by "
            f"{num_parts}: both images of a pair stay together"
        )
    shares = [
        np.concatenate([stretch, partners[stretch]])
        for stretch in np.array_split(firsts, num_parts)
    ]
    for middle in middles:
        least = min(range(num_parts), key=lambda part: len(shares[part]))
        shares[least] = np.append(shares[least], middle)
    return [np.sort(share) for share in shares]


def mix_images(images: Tensor, plan: MixPlan) -> Tensor:
    """Mix uint8 images (B, C, H, W) with their partners; a new tensor unless nothing is mixed."""
    if plan.kinds <= {"none"}:
        return images
    partners = images.index_select(0, to_device(plan.partners, images.device))
    mixed = images
    boxed = (plan.boxes[:, 0] < plan.boxes[:, 1]) & (plan.boxes[:, 2] < plan.boxes[:, 3])
    if "mixup" in plan.kinds:
        own = torch.where(boxed, 1.0, plan.lam).view(-1, 1, 1, 1)
        weights = to_device(torch.stack([own, 1 - own]).float(), images.device)
        # In place: on a CPU fresh memory costs more than the arithmetic.
        blended = images.float().mul_(weights[0]).add_(partners.float().mul_(weights[1]))
        mixed = blended.round_().to(torch.uint8)
    if "cutmix" in plan.kinds:
        mixed = torch.where(_inside(plan.boxes, images), partners, mixed)
    return mixed


def _inside(boxes: Tensor, images: Tensor) -> Tensor:
    """Which pixels lie in the image's box, (B, 1, H, W) bool."""
    top, bottom, left, right = to_device(boxes, images.device).view(-1, 4, 1, 1).unbind(1)
    y = torch.arange(images.shape[-2], device=images.device)[:, None]
    x = torch.arange(images.shape[-1], device=images.device)
    return ((y >= top) & (y < bottom) & (x >= left) & (x < right))[:, None]


def soft_targets(labels: Tensor, plan: MixPlan, num_classes: int, smoothing: float) -> Tensor:
    """Targets (B, num_classes) float32: smoothed one-hot rows, mixed as the images are.

    A smoothed row holds smoothing / num_classes everywhere and 1 - smoothing more at its label.
    """
    off = smoothing / num_classes
    rows = torch.full((len(labels), num_classes), off, device=labels.device)
    rows.scatter_(1, labels.long().view(-1, 1), 1.0 - smoothing + off)
    if plan.kinds <= {"none"}:
        return rows
    partners = rows.index_select(0, to_device(plan.partners, labels.device))
    own = plan.lam.view(-1, 1)
    weights = to_device(torch.stack([own, 1 - own]).float(), labels.device)
    return rows * weights[0] + partners * weights[1]
