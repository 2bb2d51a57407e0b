"""What is left of saves that were killed."""

from t2t.training import checkpoint


def test_a_save_writes_over_what_a_killed_one_left(tmp_path, monkeypatch):
    """A save that is killed has not renamed its file."""
    monkeypatch.setattr(checkpoint, "commit", lambda partial, path: None)
    for step in (1, 2):
        checkpoint.save_checkpoint(tmp_path, step, {"step": step})
    assert len(list(tmp_path.iterdir())) == 1
    checkpoint.delete_checkpoints(tmp_path)
    assert not list(tmp_path.iterdir())
