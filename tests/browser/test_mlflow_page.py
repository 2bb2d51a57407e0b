"""MLflow's page of an experiment in the view that we save: by accuracy, columns for people."""

import pytest

from scripts.screenshots import QUIET, mlflow_server
from t2t.tracking.server import experiment_id, log_points, the_run
from t2t.tracking.view import VIEW_QUERY

pytestmark = [
    pytest.mark.browser,
    # Others' code, which these tests run but cannot mend.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
TOP1 = {"vit_small": 97.25, "t2t_vit_14": 98.5, "vit_sw": 91.0}


@pytest.fixture
def experiment(uri):
    """An experiment with a run for each row of TOP1."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = experiment_id(client, "digits")
    for number, (row, top1_pct) in enumerate(TOP1.items()):
        tags = {"row": row, "digest": row, "title": f"Title of {row}", "paper_top1_pct": "81.5"}
        record = {"start_ms": 1_700_000_000_000, "tags": tags, "name": f"{row}-seed0"}
        run_id = the_run(client, found, record | {"params": {"seed": 0}, "datasets": {}})
        metrics = {"top1_pct": top1_pct, "params_m": 0.1 + number, "macs_g": 0.2 + number}
        log_points(client, run_id, [{"step": 0, "time_ms": 1_700_000_000_000, "metrics": metrics}])
        client.set_terminated(run_id)
    return found


def test_runs_stand_by_accuracy_under_columns_for_people(browser, experiment, uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    outside, errors = [], []
    with mlflow_server() as server:
        page = browser.new_page(viewport={"width": 1800, "height": 900})
        page.set_default_timeout(120_000)
        page.add_init_script(QUIET)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "request",
            lambda request: (
                request.url.startswith((server, "data:", "blob:")) or outside.append(request.url)
            ),
        )
        page.goto(f"{server}/#/experiments/{experiment}/runs{VIEW_QUERY}", wait_until="load")
        page.get_by_text("matching runs").first.wait_for()
        page.get_by_text("Title of vit_small").first.wait_for()
        names = page.get_by_role("link").filter(has_text="-seed0").all_inner_texts()
        headings = page.get_by_role("columnheader").all_inner_texts()
        page.close()
    by_accuracy = ["t2t_vit_14-seed0", "vit_small-seed0", "vit_sw-seed0"]
    assert [name.strip() for name in names] == by_accuracy
    for wanted in ("top1_pct", "params_m", "macs_g", "title", "paper_top1_pct"):
        assert any(wanted in heading for heading in headings), (wanted, headings)
    assert outside == [] and errors == []
