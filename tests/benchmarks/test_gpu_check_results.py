"""What the GPU check makes of its figures: verdicts, goals, and the page that shows them."""

from html.parser import HTMLParser
from pathlib import Path

import pytest

from benchmarks.gpu_check import page
from benchmarks.gpu_check.results import (
    FAILED,
    GOALS,
    NOT_RUN,
    Check,
    Figure,
    Report,
    figure,
    ratio,
    whole,
)
from benchmarks.gpu_check.stages import STAGES

ROOT = Path(__file__).resolve().parents[2]


def test_figures_come_only_from_samples():
    with pytest.raises(ValueError, match="speed: expected finite samples"):
        figure("speed", "ms", [])
    with pytest.raises(ValueError, match="expected finite samples"):
        figure("speed", "ms", [1.0, float("nan")])
    found = figure("speed", "ms", [1.0, 2.0, 3.0], floor=0.5, floor_what="bytes")
    assert (found.value, found.samples, found.floor) == (2.0, 3, 0.5)


@pytest.mark.parametrize(
    ("interval", "goal", "verdict"),
    [
        ((2.0, 1.9, 2.1), {"target": 1.5}, "pass"),
        ((2.0, 1.4, 2.6), {"target": 1.5}, "unsure"),
        ((1.4, 1.3, 1.6), {"target": 1.5}, "MISS"),
        ((1.0, 0.9, 1.1), {"target": 1.2, "at_least": False}, "pass"),
        ((1.1, 0.9, 1.3), {"target": 1.2, "at_least": False}, "unsure"),
        ((1.3, 1.2, 1.4), {"target": 1.2, "at_least": False}, "MISS"),
        ((1.0, 0.9, 1.1), {}, "shown"),
    ],
)
def test_a_goal_is_reached_only_if_the_pessimistic_end_reaches_it(interval, goal, verdict):
    assert Figure("x", "x", *interval, samples=9, **goal).verdict == verdict


def test_a_ratio_is_of_samples_taken_in_turns():
    found = ratio("slow over fast", [4.0, 4.2, 4.1], [2.0, 2.1, 2.05], target=1.5)
    assert found.value == pytest.approx(2.0)
    assert found.verdict == "pass"


def test_a_failed_check_fails_its_stage_and_names_itself():
    report = Report("a", "A", checks=[Check("one", True), Check("two", False), Check("three", False)])
    assert report.judged().status == FAILED
    assert report.reason == "two and 1 more"


def sample_run():
    goals = {"target": 1.3}
    reports = [
        Report("environment", "What is here", facts={"gpu": "Test <GPU>", "output": "not shown as a fact"}),
        Report("kernels", "Kernels", checks=[Check("lc_over", True, 0.0, 0.0, "6 cases | 0 wrong")]),
        Report("graph", "Graphs", figures=[Figure("graphs", "x", 1.5, 1.4, 1.6, 30, **goals),
                                           Figure("frame", "ms", 0.4, 0.39, 0.41, 30, 0.2, "engine")]),
        Report("copies", "Copies", FAILED, "went wrong", checks=[Check("same <bytes>", False, 2.0, 1.0)]),
        Report("leaks", "Leaks", NOT_RUN, "no CUDA device: there is none"),
    ]  # fmt: skip
    return whole(
        reports, {"cpu": "A CPU", "commit": "abc", "dirty": False}, "2026-01-01T00:00:00+00:00", True
    )


class Balanced(HTMLParser):
    void = frozenset(["meta", "br"])

    def __init__(self):
        super().__init__()
        self.open, self.text, self.links = [], [], []

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag not in self.void and tag != "p":
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag != "p":
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_shows_everything_and_loads_nothing():
    parser = Balanced()
    parser.feed(page.as_html(sample_run()))
    text = " ".join(parser.text)
    assert parser.open == []
    assert parser.links == []
    for expected in (
        "Test <GPU>", "1.5x", ">= 1.3x", "pass", "2.00", "0.2 ms (engine)", "same <bytes>", "WRONG",
        "no CUDA device: there is none", "6 cases | 0 wrong", "whose figures are no results",
    ):  # fmt: skip
        assert expected in text, expected


def test_the_markdown_says_the_same():
    text = page.as_markdown(sample_run())
    assert "| graphs | 1.5x | 1.4 to 1.6 |  |  | >= 1.3x | pass |" in text
    assert "not run: no CUDA device: there is none" in text
    assert "6 cases \\| 0 wrong" in text
    assert page.headline(sample_run()) == "3 passed, 1 failed, 1 not run; goals: 1 pass"


# -- goals


def goals(*reports):
    return {line["goal"]: line for line in whole(list(reports), {}, "today", False)["goals"]}


def test_every_goal_has_a_line_also_where_nothing_was_measured():
    lines = goals(Report("pipeline", "P", NOT_RUN, "no CUDA device: none"))
    assert len(lines) == 5
    assert {line["verdict"] for line in lines.values()} == {NOT_RUN}
    by_stage = {line["stage"]: line["reason"] for line in lines.values()}
    assert by_stage["pipeline"] == "no CUDA device: none"
    assert by_stage["graph"] == "its stage was not asked for"
    data = whole([Report("pipeline", "P", NOT_RUN, "no CUDA device: none")], {}, "today", False)
    for text in (page.as_markdown(data), page.as_html(data)):
        assert text.count("its stage was not asked for") == 2
        assert "40x a serial eager-PyTorch FP16 loop" in text


def test_a_goal_is_as_good_as_its_worst_figure():
    at = {"target": 0.95}
    figures = [
        Figure(f"{size}: throughput over the engine's own", "x", value, value - 0.02, value, 9, **at)
        for size, value in (("720p", 0.99), ("1080p", 0.96), ("4K", 0.99))
    ]
    lines = goals(Report("pipeline", "P", figures=figures), Report("graph", "G", FAILED, "a bug"))
    line = next(line for goal, line in lines.items() if "throughput" in goal)
    assert line["verdict"] == "unsure"
    assert [each["what"][:4] for each in line["figures"]] == ["720p", "1080", "4K: "]
    assert next(line for goal, line in lines.items() if "graph" in goal)["reason"] == "a bug"


def test_the_figures_that_goals_ask_for_are_those_that_stages_make():
    """By their names in the sources, as no GPU is here to make them."""
    sources = "".join(
        (ROOT / "benchmarks" / "gpu_check" / name).read_text(encoding="utf-8")
        for name in ("frame_stages.py", "torch_stage.py")
    )
    for wanted in GOALS:
        assert wanted.stage in {stage.name for stage in STAGES}
        name = wanted.figure.removeprefix("1080p: ")
        assert name in sources, wanted.figure
