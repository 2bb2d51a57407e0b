"""The remote as a meeting place, while others write there and while it is away."""

import errno
from pathlib import Path

import pytest

from pipelines.keeper import Keeper
from pipelines.remote import Exchange, RemoteAway
from t2t.errors import EnvironmentProblem
from tests.flows.stubs import Stub, stub_stages

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")


@pytest.fixture(scope="module")
def stub(tmp_path_factory):
    """A project whose first stage is made, with a folder as remote."""
    folder = tmp_path_factory.mktemp("remote")
    stub = Stub.created(folder / "stub", stub_stages(1))
    stub.dvc("remote", "add", "--quiet", "--default", "here", str(folder / "remote"))
    stub.dvc("repro", "--quiet", "first")
    return stub


@pytest.fixture
def exchange(stub, monkeypatch):
    monkeypatch.chdir(stub.folder)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(stub.folder / ".site_cache"))
    keeper = Keeper(stub.folder)
    exchange = Exchange(keeper)
    exchange.publish("first")
    yield exchange
    keeper.close()


@pytest.fixture
def entry(exchange):
    """Where the result of `first` lies on the remote."""
    (path,) = Path(exchange._odb.path).glob(f"runs/*/{exchange.digest('first')}/*")
    right = path.read_bytes()
    yield path
    path.write_bytes(right)


@pytest.mark.parametrize("left", ["", "cmd: [", "cmd: x", "- 1", "\xff"])
def test_an_entry_that_is_not_whole_is_not_there(left, exchange, entry):
    digest = exchange.digest("first")
    (entry.parent / f"{entry.name}.partial").write_text(left)
    assert exchange.fetch(digest), "the one beside it is"
    entry.write_bytes(left.encode("latin-1"))
    assert exchange.fetch(digest) is False


@pytest.mark.parametrize(
    "error, expected",
    [
        (OSError(errno.ENETDOWN, "down"), RemoteAway),
        (ValueError("no OSError"), RemoteAway),
        (OSError(errno.ENOSPC, "no space"), EnvironmentProblem),
    ],
)
def test_every_kind_of_error_has_one_meaning(error, expected, exchange, monkeypatch):
    def fail(*_, **__):
        raise error

    def fail_later(*_):
        yield fail()

    fs = type(exchange._odb.fs)
    monkeypatch.setattr(fs, "find", fail_later)  # DVC's is a generator, too
    for name in ("cat_file", "pipe_file"):
        monkeypatch.setattr(fs, name, fail)
    digest = exchange.digest("first")
    calls = (
        lambda: exchange.fetch(digest),
        lambda: exchange.read_note("n"),
        lambda: exchange.write_note("n", {}),
    )
    for call in calls:
        with pytest.raises(EnvironmentProblem) as raised:
            call()
        assert raised.type is expected


def test_an_entry_that_was_on_its_way_at_the_first_look_is_found(s3, tmp_path, monkeypatch):
    import s3fs

    stub = Stub.created(tmp_path / "stub", stub_stages(1))
    stub.dvc("remote", "add", "--quiet", "--default", "here", s3.url("remote"))
    stub.dvc("repro", "--quiet", "first")
    monkeypatch.chdir(stub.folder)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(stub.folder / ".site_cache"))
    keeper = Keeper(stub.folder)
    exchange = Exchange(keeper)
    exchange.publish("first")
    digest = exchange.digest("first")
    worker = s3fs.S3FileSystem(skip_instance_cache=True)
    (entry,) = worker.find(exchange._runs(exchange._odb, digest))
    worker.mv(entry, f"{entry}.partial")
    assert exchange.fetch(digest) is False
    worker.mv(f"{entry}.partial", entry)
    assert exchange.fetch(digest)
    keeper.close()


def test_an_entry_that_is_renamed_meanwhile_is_not_there_yet(exchange, entry, monkeypatch):
    fs = exchange._odb.fs
    monkeypatch.setattr(fs, "find", lambda path: [f"{entry}.now", str(entry)])
    assert exchange.fetch(exchange.digest("first"))
    monkeypatch.setattr(fs, "find", lambda path: [f"{entry}.now"])
    assert exchange.fetch(exchange.digest("first")) is False
