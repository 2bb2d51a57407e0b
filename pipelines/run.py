"""Runs one stage: `python -m pipelines.run VERB ARGUMENTS...`, the command of every DVC stage.

What does not decide a stage's result stands here, outside the stages' dependencies: the
environment, the look at params.yaml, the guard over the inputs, the mirror to MLflow, and the form
of an error.
"""

import importlib
import os
import sys
from collections.abc import Sequence

from pipelines.check import check_params
from pipelines.environment import ROOT, project_environment
from pipelines.freshness import check_freshness
from pipelines.guard import InputGuard
from pipelines.mirror import mirrored
from pipelines.parent import leave_with_parent
from pipelines.room import full_disk_told
from t2t.errors import ConfigError, T2TError

VERBS = ("prepare", "shard", "train", "evaluate", "analyse", "transfer", "report")
VERBS += ("extra", "fetch", "catalogue", "measure", "compare")
TRACKED_VERBS = ("train", "evaluate", "transfer", "fetch")


def run_stage(verb: str, arguments: Sequence[str]) -> None:
    """Runs the stage `verb` and makes sure that its inputs stayed what they were."""
    if verb not in VERBS:
        raise ConfigError(f"no stage {verb!r}; the stages are {', '.join(VERBS)}")
    check_params(ROOT / "params.yaml")
    check_freshness(arguments, ROOT)
    guard = _guard_of_dvc_stage()
    stage = importlib.import_module(f"pipelines.stages.{verb}")
    if verb in TRACKED_VERBS:
        with mirrored():
            stage.main(arguments)
    else:
        stage.main(arguments)
    if guard is not None:
        guard.verify()


def _guard_of_dvc_stage() -> InputGuard | None:
    """A guard where DVC runs us; by hand nothing is recorded, so there is nothing to guard."""
    name = os.environ.get("DVC_STAGE")
    if name is None:
        return None
    # DVC takes most of a second to import, which a run by hand need not pay.
    from pipelines.graph import stage_inputs

    return InputGuard(ROOT, stage_inputs(ROOT, name))


def main() -> int:
    """The exit code is the error's class: 2 configuration, 3 data, 4 machine, 5 checkpoint."""
    leave_with_parent()
    os.environ.update(project_environment(os.environ))
    verb, *arguments = sys.argv[1:] or [""]
    try:
        with full_disk_told():
            run_stage(verb, arguments)
    except T2TError as error:
        print(f"{verb}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
