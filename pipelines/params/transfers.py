"""What params.yaml says of a transfer: a row trained on, on a data set downstream."""

from collections.abc import Mapping

from pipelines.params.reader import Name, Params
from pipelines.params.training import Start, merged_recipe
from t2t.training.recipe import Recipe


def transfer_facts(params: Params, transfer: str) -> dict[str, str]:
    """What a transfer is: its id, the row it `needs`, its `set`, `recipe` and `start`."""
    place = f"transfers.{transfer}"
    return {
        "transfer": transfer,
        "needs": params.part(f"{place}.needs", Name),
        "set": params.part(f"{place}.set", Name),
        "recipe": params.part(f"{place}.recipe", Name),
        "start": params.part(f"{place}.start", Start),
    }


def transfer_recipe(params: Params, scale: str, facts: Mapping[str, str]) -> Recipe:
    """`recipe`, changed by the transfer's recipe, by its set, by the scale, and by its own `train`.

    Raises ConfigError, at the place, for a key that is unknown or out of range.
    """
    return merged_recipe(params, transfer_places(scale, facts))


def transfer_places(scale: str, facts: Mapping[str, str]) -> list[str]:
    """The mappings that `transfer_recipe` merges, the last of which prevails."""
    return [
        "recipe",
        f"transfer_recipes.{facts['recipe']}",
        f"downstream.{facts['set']}.train",
        f"scales.{scale}.transfer.{facts['recipe']}",
        f"transfers.{facts['transfer']}.train",
    ]
