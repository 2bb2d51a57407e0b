"""The folders below which raw data sets lie."""

from dataclasses import dataclass
from pathlib import Path

from t2t.errors import ConfigError


@dataclass(frozen=True)
class Roots:
    """Where raw sets are looked for: `shared` first, which is never written to, then `downloads`.

    A set has the same place below either, so what is prepared from one can be read from the other.
    """

    downloads: Path | None = None
    shared: Path | None = None

    @property
    def folders(self) -> tuple[Path, ...]:
        """The roots in the order in which they are looked at."""
        return tuple(folder for folder in (self.shared, self.downloads) if folder is not None)

    @property
    def described(self) -> str:
        """The roots as an error message names them."""
        return " or ".join(str(folder) for folder in self.folders) or "any folder: none was given"

    def find(self, name: str) -> Path | None:
        """The root that holds the file or folder `name`, a path relative to it."""
        return next((root for root in self.folders if (root / name).exists()), None)

    def writable(self) -> Path:
        """The folder for downloads and unpacked archives. Raises ConfigError where none is given.

        The folder is made where it is not there yet.
        """
        if self.downloads is None:
            raise ConfigError("no folder for downloads and unpacked archives was given")
        self.downloads.mkdir(parents=True, exist_ok=True)
        return self.downloads
