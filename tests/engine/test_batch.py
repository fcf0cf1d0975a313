"""Which picture goes where, and a run that goes on after a bad one."""

import errno
import os
import threading

import numpy as np
import pytest

from livecut.engine import batch
from livecut.engine.batch import Item, is_many, plan_batch, run_batch
from livecut.engine.errors import BackendError, SinkError, SourceError, UsageError
from livecut.engine.pictures import read_picture, write_picture


def keep(picture):
    """A cut that keeps everything."""
    return np.dstack([picture.image, np.full(picture.image.shape[:2], 255, np.uint8)]), picture


@pytest.fixture
def folder(tmp_path):
    """``in/`` with two pictures, one of them below, a text, a hidden file and a broken picture."""
    root = tmp_path / "in"
    (root / "below").mkdir(parents=True)
    write_picture(root / "a.jpg", np.full((4, 6, 3), 10, np.uint8))
    write_picture(root / "below" / "b.webp", np.full((4, 6, 3), 20, np.uint8))
    (root / "notes.txt").write_text("not a picture")
    write_picture(root / ".hidden.png", np.zeros((4, 6, 3), np.uint8))
    return root


def targets(plan, out):
    return [os.fspath(item.target.relative_to(out)) for item in plan.items]


def test_a_folder_keeps_relative_paths_with_the_new_suffix(folder, tmp_path):
    plan = plan_batch([str(folder)], tmp_path / "out")
    assert targets(plan, tmp_path / "out") == ["a.png", "below/b.png"]
    assert plan.skipped == 1


def test_a_glob_keeps_what_follows_its_fixed_part(folder, tmp_path):
    assert is_many(str(folder / "**" / "*.webp"))
    plan = plan_batch([str(folder / "**" / "*.webp")], tmp_path / "out", suffix=".webp")
    assert targets(plan, tmp_path / "out") == ["below/b.webp"]


def test_several_sources_make_one_batch(folder, tmp_path):
    plan = plan_batch([str(folder / "a.jpg"), str(folder / "below")], tmp_path / "out")
    assert targets(plan, tmp_path / "out") == ["a.png", "b.png"]


def test_two_that_would_share_a_name_keep_their_own_suffix(folder, tmp_path):
    write_picture(folder / "a.png", np.zeros((4, 6, 3), np.uint8))
    plan = plan_batch([str(folder)], tmp_path / "out")
    assert sorted(targets(plan, tmp_path / "out")) == ["a.jpg.png", "a.png.png", "below/b.png"]
    assert {item.source.name for item in plan.renamed} == {"a.jpg", "a.png"}


def test_no_two_items_ever_share_a_target(folder, tmp_path):
    for name in ("a.png", "a.jpg.tiff", "a.jpg.webp"):
        write_picture(folder / name, np.zeros((4, 6, 3), np.uint8))
    names = targets(
        plan_batch([str(folder), str(folder / "below" / "b.webp")], tmp_path / "out"), tmp_path / "out"
    )
    assert len(names) == len(set(names))


def test_the_output_folder_may_lie_inside_and_is_not_searched(folder):
    write_picture(folder / "below" / "old.png", np.zeros((4, 6, 3), np.uint8))
    plan = plan_batch([str(folder)], folder / "below")
    assert [item.source.name for item in plan.items] == ["a.jpg"]


def test_the_input_folder_is_refused_as_output(folder):
    with pytest.raises(UsageError, match="would replace their originals"):
        plan_batch([str(folder)], folder)


def test_nothing_to_do_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="no pictures there"):
        plan_batch([str(tmp_path)], tmp_path / "out")
    with pytest.raises(SourceError, match="no such file or folder"):
        plan_batch([str(tmp_path / "gone")], tmp_path / "out")


def test_a_batch_writes_every_picture(folder, tmp_path):
    plan = plan_batch([str(folder)], tmp_path / "out")
    result = run_batch(plan.items, keep)
    assert (result.done, result.failed, result.stopped) == (2, [], False)
    assert read_picture(tmp_path / "out" / "below" / "b.png").image.shape == (4, 6, 3)


def test_a_batch_goes_on_after_bad_pictures_and_says_which(folder, tmp_path):
    (folder / "aa.png").write_text("not a picture")
    (folder / "b.png").touch()
    seen = []
    plan = plan_batch([str(folder)], tmp_path / "out")
    result = run_batch(plan.items, keep, on_item=lambda item, error: seen.append((item.source.name, error)))
    assert result.done == 2
    assert [path.name for path, _ in result.failed] == ["aa.png", "b.png"]
    assert dict(seen)["a.jpg"] is None
    assert "the file is empty" in dict(seen)["b.png"]
    assert not (tmp_path / "out" / "b.png").exists()


def test_existing_targets_are_left_alone_without_overwrite(folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_bytes(b"mine")
    result = run_batch(plan_batch([str(folder)], tmp_path / "out").items, keep, overwrite=False)
    assert (result.done, result.existing) == (1, 1)
    assert (tmp_path / "out" / "a.png").read_bytes() == b"mine"


def test_a_picture_that_vanishes_in_between_is_one_failure(folder, tmp_path):
    plan = plan_batch([str(folder)], tmp_path / "out")
    (folder / "a.jpg").unlink()
    result = run_batch(plan.items, keep)
    assert result.done == 1
    assert "no such file" in result.failed[0][1]


def test_a_full_disk_ends_the_batch(folder, tmp_path, monkeypatch):
    def full(path, pixels, **options):
        error = SinkError(f"{path}: cannot be written: No space left on device")
        error.errno = errno.ENOSPC
        raise error

    monkeypatch.setattr(batch, "write_picture", full)
    with pytest.raises(SinkError, match=r"No space left on device; 0 of 2 pictures are done"):
        run_batch(plan_batch([str(folder)], tmp_path / "out").items, keep)


def test_a_failing_model_ends_the_batch(folder, tmp_path):
    def broken(picture):
        raise BackendError("the device is gone")

    with pytest.raises(BackendError, match="the device is gone"):
        run_batch(plan_batch([str(folder)], tmp_path / "out").items, broken)


def test_a_batch_stops_when_asked_and_finishes_what_is_in_work(folder, tmp_path):
    stop = threading.Event()

    def cut(picture):
        stop.set()
        return keep(picture)

    result = run_batch(plan_batch([str(folder)], tmp_path / "out").items, cut, stop=stop)
    assert result.stopped
    assert result.done == 1


def test_only_a_bounded_number_of_pictures_is_in_memory(tmp_path, monkeypatch):
    alive, most = set(), 0
    lock = threading.Lock()

    def read(path):
        nonlocal most
        with lock:
            alive.add(path)
            most = max(most, len(alive))
        return read_picture(source, name=str(path))

    def write(path, pixels, **options):
        with lock:
            alive.discard(path)

    source = tmp_path / "a.png"
    write_picture(source, np.zeros((1, 1, 3), np.uint8))
    monkeypatch.setattr(batch, "read_picture", read)
    monkeypatch.setattr(batch, "write_picture", write)
    run_batch([Item(tmp_path / str(i), tmp_path / str(i)) for i in range(40)], keep, workers=2)
    assert 1 <= most <= 5
