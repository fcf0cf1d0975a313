"""The engine passports that are kept: sealed, of what they say, and the README's table is theirs."""

from pathlib import Path

import pytest

from benchmarks import engines
from livecut.engine.passport import Passport

README = Path(__file__).resolve().parents[2] / "README.md"
KEPT = engines.newest()["engines"]


@pytest.mark.parametrize("number", range(len(KEPT)))
def test_each_is_a_passport_that_nobody_changed(number):
    data = {name: value for name, value in KEPT[number].items() if name != "model"}
    passport = Passport.from_json(data)
    assert passport.target == "tensorrt"
    assert passport.precision_found == passport.precision_asked
    assert passport.precision_evidence in ("parsed network", "engine inspector")
    assert passport.layers[passport.precision_found] > 0
    assert passport.command.startswith("livecut export ")


def test_the_table_of_the_readme_is_theirs():
    text = README.read_text(encoding="utf-8")
    begin, end = "<!-- engines: begin -->\n", "<!-- engines: end -->"
    shown = text[text.index(begin) + len(begin) : text.index(end)].strip().splitlines()
    assert shown == engines.table(KEPT)


def test_no_engine_is_kept():
    root = Path(__file__).resolve().parents[2]
    import subprocess

    listed = subprocess.run(
        ["git", "ls-files", "*.plan", "*.engine"], cwd=root, capture_output=True, text=True, check=False
    )
    assert listed.stdout == ""
