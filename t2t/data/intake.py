"""What a shard is going to hold: counts, channel sums, a digest; and what was left out."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from t2t.data.encode_pool import Outcome, Refused
from t2t.data.stored_forms import StoredImage
from t2t.data.twins import LISTED_TWINS, KnownImages, ShownImages, twins_of
from t2t.errors import DataError

LISTED_PROBLEMS = 10
# Where so many images are bad, the rest need not be looked at to know that something is wrong.
MOST_PROBLEMS = 1000
SKIPPED_SHARE = 0.01

Unreadable = Literal["refuse", "skip"]


@dataclass
class Intake:
    """The samples of a split that have come so far, `of` the samples that there are.

    `unreadable` "refuse" collects images that cannot be stored until `finish` refuses them all;
    "skip" leaves them out, up to SKIPPED_SHARE of the split.
    """

    split: str
    classes: Sequence[str]
    of: int
    unreadable: Unreadable
    seen: int = 0
    problems: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    num_pixels: int = 0
    moments: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, 3), np.int64))
    shown: ShownImages = field(default_factory=ShownImages)

    def __post_init__(self) -> None:
        self.counts = np.zeros(len(self.classes), np.int64)

    def take(self, outcome: Outcome) -> tuple[StoredImage, int] | None:
        """The next sample's image and label where they are to be written.

        Raises DataError where too many are bad.
        """
        index = self.seen
        self.seen += 1
        if isinstance(outcome, Refused):
            self._refuse(index, outcome)
            return None
        image, label = outcome
        most = len(self.classes) - 1
        if not 0 <= label <= most:
            self.problems.append(f"image {index}: label {label} is not in 0..{most}")
            return None
        self.counts[label] += 1
        self.num_pixels += image.height * image.width
        self.moments += image.moments
        self.shown.add(index, image.shown)
        add_sample(self.digest, image.content, label)
        return None if self.problems else outcome

    def _refuse(self, index: int, refused: Refused) -> None:
        if self.unreadable == "skip":
            # Folders and addresses differ from one run to the next; the manifest must not.
            name = "/".join(PurePath(refused.path).parts[-2:])
            why = refused.why.replace(refused.path or "\0", name)
            self.skipped.append(f"image {index} ({name}): {re.sub(' at 0x[0-9a-f]+', '', why)}")
            if len(self.skipped) > SKIPPED_SHARE * self.of:
                raise self._too_many(self.skipped, f"more than {SKIPPED_SHARE:.0%} are unreadable")
            return
        named = f" ({refused.path})" if refused.path else ""
        self.problems.append(f"image {index}{named}: {refused.why}")
        if len(self.problems) == MOST_PROBLEMS:
            raise self._too_many(self.problems, "the rest was not looked at")

    def finish(self) -> None:
        """Raises DataError where anything was refused, or a class has no image."""
        if self.problems:
            raise self._too_many(self.problems)
        empty = [name for name, count in zip(self.classes, self.counts, strict=True) if count == 0]
        if empty:
            raise DataError(f"split {self.split!r} has no image of class {', '.join(empty)}")

    def _too_many(self, bad: list[str], remark: str = "") -> DataError:
        listed = "; ".join(bad[:LISTED_PROBLEMS])
        more = f" and {len(bad) - LISTED_PROBLEMS} more" * (len(bad) > LISTED_PROBLEMS)
        remark = remark and f" ({remark})"
        return DataError(
            f"split {self.split!r}: {len(bad)} bad of {self.seen}{remark}: {listed}{more}"
        )

    def facts(self, known: KnownImages) -> dict[str, Any]:
        """The manifest's keys that follow from what came, and from other splits' images."""
        scale = 255 * self.num_pixels
        inside, outside = twins_of(self.split, self.shown, known)
        sums, squares = self.moments.tolist()
        return {
            "num_samples": int(self.counts.sum()),
            "counts": tuple(self.counts.tolist()),
            "skipped": tuple(self.skipped),
            "num_duplicates": len(inside),
            "duplicates": tuple(inside[:LISTED_TWINS]),
            "num_leaked": len(outside),
            "leaked": tuple(outside[:LISTED_TWINS]),
            "channel_mean": tuple(total / scale for total in sums),
            "channel_std": tuple(
                (square * self.num_pixels - total**2) ** 0.5 / scale
                for square, total in zip(squares, sums, strict=True)
            ),
            "stored_sha256": self.digest.hexdigest(),
        }


def add_sample(digest: "hashlib._Hash", content: Any, label: int) -> None:
    """Adds a sample's stored bytes and its label to the digest of a shard's contents."""
    digest.update(content)
    digest.update(label.to_bytes(8, "little", signed=True))
