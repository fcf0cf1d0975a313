"""The row that compares precisions: every one a model has, beside its error where there are pictures."""

import bundles
import numpy as np
import precision_nets as nets
import pytest

pytest.importorskip("openvino", reason="precisions are compared on openvino")
pytest.importorskip("onnxruntime", reason="INT8 is calibrated with onnxruntime")

from benchmarks import bench_precision as bench
from benchmarks.options import Options
from livecut.engine.processor import int8_instructions
from livecut.engine.session import Session
from livecut.export.variants import add_int8

multiplies_bytes = pytest.mark.skipif(
    not int8_instructions(), reason="the chip has neither VNNI nor AMX: INT8 saturates and is not timed"
)


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A folder of shipped models: one, with an INT8 variant."""
    changes = {"input__mean": [127.5] * 3, "input__std": [127.5] * 3}
    made = nets.cutter(channels=16)
    folder = bundles.write_bundle(tmp_path / "models" / "cutter", made.graph, **changes)
    add_int8(folder, [nets.write_pictures(tmp_path / "pictures")])
    monkeypatch.setattr(bench.registry, "SHIPPED", tmp_path / "models")
    monkeypatch.setattr(bench, "available_cpus", lambda: 1)
    return tmp_path / "models"


def test_int8_is_left_out_where_it_would_saturate(models, monkeypatch):
    monkeypatch.setattr(bench, "int8_instructions", lambda: "")
    (row,) = bench.run(Options(quick=True))
    assert "fp32" in row.contenders
    assert "int8" not in row.contenders


@multiplies_bytes
def test_every_precision_is_timed_and_compared_with_fp32(models):
    rows = bench.run(Options(quick=True))
    (row,) = rows
    assert row.name == "precision-cutter-1t"
    assert {"fp32", "int8"} <= set(row.contenders)
    assert any(goal.what == "cutter: int8 faster than fp32, 1 thread" for goal in row.goals)
    assert [check.what for check in row.checks][-1] == "int8: alpha against fp32, mean"
    assert row.details["errors"] == {}
    assert row.conditions["backends"]["int8"].startswith("openvino on CPU")


@multiplies_bytes
def test_errors_stand_beside_times_where_there_are_pictures(models, tmp_path):
    pytest.importorskip("torch", reason="evaluation needs torch")
    row = bench.run(Options(quick=True, data=tmp_path / "pictures", cache=tmp_path / "cache"))[0]
    errors = row.details["errors"]
    assert 0 < errors["fp32"]["mae"] < 0.5
    growth = next(goal for goal in row.goals if goal.what == "cutter: int8: MAE more than fp32's")
    assert growth.measured.value == pytest.approx(100 * (errors["int8"]["mae"] / errors["fp32"]["mae"] - 1))
    assert (growth.target, growth.at_least) == (5.0, False)
    assert row.details["table"][2].startswith("| fp32 | ")


def test_the_predictor_gives_alpha_at_the_pictures_own_size(models):
    image = np.zeros((37, 101, 3), np.uint8)
    image[:, 40:60] = 255
    with Session(models / "cutter", backend="openvino", precision="fp32") as session:
        alpha = bench.Predictor(session)(image)
    assert alpha.shape == (37, 101)
    assert alpha.dtype == np.float32
    assert alpha[18, 50] > 0.8 > 0.3 > alpha[18, 5]


def test_without_a_variant_int8_is_left_out(tmp_path):
    folder = bundles.write_bundle(tmp_path / "plain", nets.cutter().graph)
    opened = bench.sessions(folder, 1)
    assert "int8" not in opened
    assert "fp32" in opened
    for session in opened.values():
        session.close()
