"""What the README shows works: its Python runs, its options exist, its tables are the code's."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from livecut.engine.pictures import write_picture

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_example_runs(number, tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    write_picture("product.jpg", rng.integers(0, 256, (120, 160, 3), dtype=np.uint8))
    exec(compile(blocks("python")[number], f"README.md, example {number + 1}", "exec"), {})


def commands():
    lines = [line.split("#")[0].split("<")[0] for block in blocks("sh") for line in block.splitlines()]
    return [line.split() for line in lines if line.startswith("livecut ")]


def test_every_option_shown_exists():
    from typer.main import get_command

    from livecut.cli.main import app

    verbs = get_command(app).commands
    assert len(commands()) >= 10
    for _, verb, *arguments in commands():
        options = {
            name for parameter in verbs[verb].params for name in (*parameter.opts, *parameter.secondary_opts)
        }
        for argument in arguments:
            assert not argument.startswith("--") or argument in options, f"livecut {verb} has no {argument}"


def test_options_of_the_tables_exist():
    from typer.main import get_command

    from livecut.cli.main import app

    verbs = get_command(app).commands
    known = {
        name
        for verb in verbs.values()
        for parameter in verb.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    shown = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", README))
    assert shown - known == set()


@pytest.mark.parametrize("verb", ["cut", "stream"])
def test_every_option_of_the_daily_verbs_is_told(verb):
    from typer.main import get_command

    from livecut.cli.main import app

    told = set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", README))
    for parameter in get_command(app).commands[verb].params:
        names = {name for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("-")}
        assert not names or names & told, f"livecut {verb}: README does not tell {' or '.join(sorted(names))}"


def test_report_keys_are_the_codes():
    from livecut.engine.stats import StreamStats

    shown = json.loads(blocks("json")[0])
    report = StreamStats().report(shown["backend"]).to_json()
    assert list(shown) == list(report)
    assert list(shown["latency_ms"]) == list(report["latency_ms"])
    assert list(shown["rss_mb"]) == list(report["rss_mb"])


def test_exit_codes_are_the_errors():
    from livecut.engine import errors

    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type)}
    table = {int(code) for code in re.findall(r"^\| (\d)[^|]* \|", README, re.MULTILINE)}
    assert codes <= table
