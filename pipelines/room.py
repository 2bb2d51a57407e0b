"""What a full disk means to a person."""

import contextlib
from collections.abc import Iterator

from t2t.errors import EnvironmentProblem
from t2t.files import NO_ROOM


@contextlib.contextmanager
def full_disk_told() -> Iterator[None]:
    """Makes an EnvironmentProblem of the OSError by which a full disk ends the block."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        where = f"{error.filename}: " if error.filename else ""
        raise EnvironmentProblem(
            f"{where}no room left on the disk ({error.strerror}); free some space and run it again"
        ) from error
