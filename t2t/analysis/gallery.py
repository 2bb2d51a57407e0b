"""The pictures of a look into a network: which maps are shown, on what scale, in what words."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from t2t.analysis.look import Look
from t2t.analysis.pictures import Panel, draw, write_png
from t2t.data.types import Pixels
from t2t.files import write_json

# Columns of a picture beside the image itself.
_COLUMNS = 8
# Ends of the colour scale of features, in typical sizes of a channel: nothing reaches far beyond
# in a sound layer, and what is saturated fills its cell with one colour.
_SCALE_SIZES = 3.0
INDEX = "images.json"


@dataclass(frozen=True)
class Shown:
    """A picture: its file's name, what it is called, and what it shows to those who cannot see."""

    file: str
    title: str
    alt: str
    panel: Panel


def write_gallery(look: Look, images: Pixels, folder: Path, network: str) -> list[Shown]:
    """Writes the pictures of `look` into `folder`, and "images.json", their list.

    Args:
        images: what was looked at, (B, H, W, 3) uint8, before it was normalised.
        network: its name, for titles.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shown = [*_tokens(look, images, network), *_features(look, images, network)]
    shown += _attention(look, images, network)
    for picture in shown:
        write_png(draw(picture.panel), folder / picture.file)
    entries = [{"file": each.file, "title": each.title, "alt": each.alt} for each in shown]
    write_json(folder / INDEX, entries)
    return shown


def _tokens(look: Look, images: Pixels, network: str) -> Iterator[Shown]:
    last = len(look.tokens)
    for step, maps in enumerate(look.tokens, 1):
        where = f"step {step} of {last} of the T2T module" if last > 1 else "the patch embedding"
        panel, words = _channel_panel(maps, images)
        title = f"Tokens after {where}, {network}"
        yield Shown(f"tokens_{step}.png", title, f"{title}: {words}", panel)


def _features(look: Look, images: Pixels, network: str) -> Iterator[Shown]:
    for number, maps in look.features.items():
        panel, words = _channel_panel(maps, images)
        title = f"Features after block {number}, {network}"
        yield Shown(f"features_{number}.png", title, f"{title}: {words}", panel)


def _channel_panel(maps: Tensor, images: Pixels) -> tuple[Panel, str]:
    """Channels at equal steps of the ranking by root mean square, the weakest first."""
    sizes = maps.double().square().mean((0, 2, 3)).sqrt()
    places = torch.linspace(0, len(sizes) - 1, min(_COLUMNS, len(sizes))).round().long()
    chosen = sizes.argsort(stable=True)[places.to(sizes.device)]
    end = _SCALE_SIZES * sizes.median().item()
    labels = [f"ch {channel + 1}" for channel in chosen.tolist()]
    panel = Panel(images, maps[:, chosen].cpu().numpy(), labels, "RdBu_r", -end, end)
    rows, columns = maps.shape[-2:]
    return panel, (
        f"{len(images)} images, each beside {len(chosen)} of {len(sizes)} channels as maps of "
        f"{rows} x {columns} tokens, from the weakest channel to the strongest, blue for negative "
        f"and red for positive values up to {_SCALE_SIZES:.0f} times the typical size of a channel"
    )


def _attention(look: Look, images: Pixels, network: str) -> Iterator[Shown]:
    for number, maps in look.attention.items():
        heads = maps.shape[1]
        chosen = torch.linspace(0, heads - 1, min(_COLUMNS, heads)).round().long()
        maps = maps[:, chosen.to(maps.device)]
        labels = [f"head {head + 1}" for head in chosen.tolist()]
        panel = Panel(images, maps.cpu().numpy(), labels, "magma", 0.0, maps.max().item())
        title = f"Attention of the class token in block {number}, {network}"
        rows, columns = maps.shape[-2:]
        yield Shown(
            f"attention_{number}.png",
            title,
            f"{title}: {len(images)} images, each beside what {len(chosen)} of {heads} heads take "
            f"of each of the {rows} x {columns} image tokens, from black for nothing to pale "
            f"yellow for a share of {maps.max().item():.2g}",
            panel,
        )
