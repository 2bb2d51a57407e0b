"""The view is in the form that MLflow's page saves, and is written once."""

import base64
import json
import zlib
from types import SimpleNamespace

from t2t.tracking.view import save_view


class Experiments:
    """A client with one experiment; counts how often its tags are set."""

    def __init__(self) -> None:
        self.tags: dict[str, str] = {}
        self.times_set = 0

    def get_experiment(self, experiment_id: str):
        return SimpleNamespace(creation_time=1_700_000_000_000, tags=self.tags)

    def set_experiment_tag(self, experiment_id: str, key: str, value: str) -> None:
        self.tags[key] = value
        self.times_set += 1


def test_the_view_sorts_by_accuracy_and_is_saved_once():
    client = Experiments()
    for _ in range(2):
        save_view(client, "1")
    assert client.times_set == 1
    (text,) = client.tags.values()
    view = json.loads(text)
    kind, packed = view["state"].split(";")
    state = json.loads(zlib.decompress(base64.b64decode(packed)))
    assert (view["name"], kind) == ("Ablation", "deflate")
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`top1_pct`", False)
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == {
        section["uuid"] for section in state["compareRunSections"]
    }
