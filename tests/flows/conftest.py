import pytest

from pipelines.flows.flow import Wish, run_flow
from tests.flows.stubs import Stub, stub_stages


class Ran:
    """A flow that has run: its plan, events and summary."""

    def __init__(self, folder, is_to_stop=lambda: False, on_event=lambda event: None, **wish):
        self.events = []

        def planned(plan):
            self.plan = plan
            return tell

        def tell(event):
            self.events.append(event)
            on_event(event)

        wish = Wish(**{"scale": "stub", "places": 3} | wish)
        self.summary = run_flow(folder, wish, planned=planned, is_to_stop=is_to_stop)

    @property
    def statuses(self):
        return {name: str(outcome.status) for name, outcome in self.summary.outcomes.items()}

    def order(self, kind):
        return [event.stage for event in self.events if event.kind == kind]


@pytest.fixture
def flow(monkeypatch):
    """Runs a flow in a stub's folder, as its working directory."""

    def run(stub, **wish):
        monkeypatch.chdir(stub.folder)
        monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(stub.folder / ".site_cache"))
        return Ran(stub.folder, **wish)

    return run


@pytest.fixture
def stub(tmp_path):
    return Stub.created(tmp_path / "stub", stub_stages(4))
