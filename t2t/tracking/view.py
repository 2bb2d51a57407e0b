"""The view in which an experiment's runs are worth looking at: one of MLflow's saved views.

It is a tag of the experiment, in the form in which MLflow's own page saves one: columns, order and
charts. People find it under "Views", or open it by VIEW_QUERY.
"""

import base64
import json
import zlib
from typing import Any

VIEW = "ablation"
# Behind `#/experiments/<id>/runs`; `&compareRunsMode=CHART` shows the charts.
VIEW_QUERY = f"?viewStateShareKey={VIEW}"
_TAG = f"mlflow.sharedViewState.{VIEW}"
_SECTION = "ablation-charts"
_COLUMNS = (
    "metrics.`top1_pct`",
    "metrics.`top5_pct`",
    "metrics.`params_m`",
    "metrics.`macs_g`",
    "params.`seed`",
    "tags.`title`",
    "tags.`paper_top1_pct`",
    "tags.`paper_table`",
    "tags.`baseline`",
    "tags.`device`",
)
_WIDTHS_PX = {
    "tags.`title`": 230,
    "tags.`paper_top1_pct`": 130,
    "tags.`paper_table`": 190,
    "tags.`baseline`": 150,
}


def save_view(client: Any, experiment_id: str) -> None:
    """Gives the experiment its view, unless it has just this one."""
    experiment = client.get_experiment(experiment_id)
    made_ms = experiment.creation_time
    view = {"name": "Ablation", "createdAt": made_ms, "updatedAt": made_ms, "state": _packed()}
    tag = json.dumps(view)
    if experiment.tags.get(_TAG) != tag:
        client.set_experiment_tag(experiment_id, _TAG, tag)


def _packed() -> str:
    state = {
        "searchFilter": "",
        "orderByKey": "metrics.`top1_pct`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(_COLUMNS),
        "columnOrder": list(_COLUMNS),
        "columnWidths": _WIDTHS_PX,
        "runsHiddenMode": "SHOWALL",
        "hideEmptyCharts": True,
        "useGroupedValuesInCharts": True,
        "groupBy": None,
        "globalLineChartConfig": {
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
        },
        "compareRunSections": [
            {"uuid": _SECTION, "name": "Ablation", "display": True, "isReordered": False}
        ],
        "compareRunCharts": _charts(),
    }
    return "deflate;" + base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()


def _charts() -> list[dict[str, Any]]:
    """Accuracy beside cost, what a good run has in common, and the learning curves."""
    charts = [
        {
            "type": "PARALLEL",
            "selectedParams": ["weight_decay", "lr_factor", "train_fraction"],
            "selectedMetrics": ["params_m", "macs_g", "top1_pct"],
            "showAllRuns": True,
        },
        *(
            {
                "type": "SCATTER",
                "xaxis": {"key": cost, "type": "METRIC"},
                "yaxis": {"key": "top1_pct", "type": "METRIC"},
            }
            for cost in ("macs_g", "params_m")
        ),
        *(
            {
                "type": "LINE",
                "metricKey": key,
                "selectedMetricKeys": [key],
                "xAxisKey": "step",
                "xAxisScaleType": "linear",
                "scaleType": "linear",
                "lineSmoothness": 0,
                "selectedXAxisMetricKey": "",
            }
            for key in ("val_top1_pct", "train_loss", "images_per_s")
        ),
    ]
    return [
        {
            **chart,
            "uuid": f"{VIEW}-{number}",
            "metricSectionId": _SECTION,
            "deleted": False,
            "isGenerated": False,
        }
        for number, chart in enumerate(charts)
    ]
