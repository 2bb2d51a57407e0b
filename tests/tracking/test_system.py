"""Samples of the machine's load: each once, and the older ones are not read for each new one."""

import pytest

from t2t.tracking import system
from t2t.training import journal
from t2t.training.journal import Journal, read_journal


@pytest.fixture
def sampler(monkeypatch):
    monkeypatch.setattr(system, "SYSTEM_SAMPLE_S", 0.0)
    return system.SystemSampler()


def steps(folder):
    return [event["step"] for event in read_journal(folder / "system.jsonl")]


def test_older_samples_are_read_once(sampler, tmp_path, monkeypatch):
    read = []
    for module in (system, journal):
        monkeypatch.setattr(
            module, "read_journal", lambda path: read.append(path) or read_journal(path)
        )
    sampler.sample([tmp_path])
    assert read
    read.clear()
    for _ in range(3):
        sampler.sample([tmp_path])
    assert not read and steps(tmp_path) == [0, 1, 2, 3]


def test_samples_go_on_behind_those_of_another(sampler, tmp_path):
    sampler.sample([tmp_path])
    Journal(tmp_path / "system.jsonl").append("system", 1, metrics={"system/cpu": 1.0})
    sampler.sample([tmp_path])
    sampler.sample([])
    sampler.sample([tmp_path])
    assert steps(tmp_path) == [0, 1, 2, 3]
