"""Takes README's pictures of the report and of MLflow into docs/images: `make screenshots`.

MLflow is asked for the runs of the scale in params.yaml, so `python -m pipelines.track` comes
before.
"""

import contextlib
import io
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from pipelines.params.reader import Params
from scripts.screenshot import FLAGS, chromium
from t2t.tracking.view import VIEW_QUERY

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "images"
MAX_BYTES = 200_000
START_S = 120.0
SETTLE_MS = 6_000
# A hundred runs in four charts, drawn without a GPU.
PATIENCE_MS = 180_000
# MLflow's assistant opens by itself at the first visit, over a third of the page.
QUIET = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');"
QUIET += "localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');"


@dataclass(frozen=True)
class Shot:
    """A picture; `selector`, where there is one, is brought to the top of the window first."""

    name: str
    address: str
    selector: str = ""
    dark: bool = False
    width: int = 1280
    height: int = 860


def report_shots(page: Path) -> list[Shot]:
    """The report's claims, tables and pictures."""
    address = page.as_uri()
    return [
        Shot("report-claims", address, "#Claims"),
        Shot("report-tables", address, "#Table7"),
        Shot("report-dark", address, "#Deltas", dark=True),
    ]


def mlflow_shots(server: str, experiment: str) -> list[Shot]:
    """The runs, best first, and their charts."""
    runs = f"{server}/#/experiments/{experiment}/runs{VIEW_QUERY}"
    return [
        Shot("mlflow-runs", runs, width=1800, height=900),
        Shot("mlflow-charts", f"{runs}&compareRunsMode=CHART", width=1800, height=1100),
    ]


def take(browser: Browser, shot: Shot) -> None:
    """Writes docs/images/<name>.webp. Raises ValueError where that is too large for a README."""
    scheme = "dark" if shot.dark else "light"
    page = browser.new_page(
        viewport={"width": shot.width, "height": shot.height}, color_scheme=scheme
    )
    page.set_default_timeout(PATIENCE_MS)
    page.add_init_script(QUIET)
    page.goto(shot.address, wait_until="load")
    if shot.address.startswith("http"):
        _settle_mlflow(page)
    if shot.selector:
        page.locator(shot.selector).first.evaluate("e => e.scrollIntoView({block: 'start'})")
    picture = io.BytesIO()
    with Image.open(io.BytesIO(page.screenshot(timeout=PATIENCE_MS))) as image:
        image.convert("RGB").save(picture, "WEBP", quality=82, method=6)
    page.close()
    if picture.tell() > MAX_BYTES:
        raise ValueError(f"{shot.name}: {picture.tell()} bytes, more than {MAX_BYTES}")
    (OUT / f"{shot.name}.webp").write_bytes(picture.getvalue())
    print(f"docs/images/{shot.name}.webp: {picture.tell() // 1000} kB")


def _settle_mlflow(page: Page) -> None:
    """Waits until runs and charts are drawn, and closes the note that this is a shared view."""
    page.get_by_text("matching runs").first.wait_for()
    page.wait_for_timeout(SETTLE_MS)
    # Clicked by script: the page is busy drawing, and no button of it holds still.
    page.get_by_role("button", name="Hide banner").dispatch_event("click")
    page.wait_for_timeout(SETTLE_MS)


@contextlib.contextmanager
def mlflow_server() -> Iterator[str]:
    """An MLflow server of our own on the tracking database; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", os.environ["MLFLOW_TRACKING_URI"]]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        give_up_at = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{address}/health", timeout=2).close()
                break
            if time.monotonic() > give_up_at or process.poll() is not None:
                raise TimeoutError(f"mlflow server did not start within {START_S:.0f} s")
            time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait(20)


def main() -> None:
    from mlflow import MlflowClient

    scale = Params(ROOT / "params.yaml").part("scale", str)
    report = ROOT / "reports" / scale / "index.html"
    experiment = MlflowClient(os.environ["MLFLOW_TRACKING_URI"]).get_experiment_by_name(scale)
    if not report.is_file() or experiment is None:
        sys.exit(f"scale {scale} has no report or no runs in MLflow: dvc repro, make track")
    OUT.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, mlflow_server() as server:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        for shot in [*report_shots(report), *mlflow_shots(server, experiment.experiment_id)]:
            take(browser, shot)
        browser.close()


if __name__ == "__main__":
    main()
