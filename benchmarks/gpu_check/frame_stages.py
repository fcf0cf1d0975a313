"""Whole frames on the GPU: one graph or many launches, overlap, three sizes, several streams."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from livecut.engine import registry
from livecut.engine.backends.device_backend import DeviceBackend
from livecut.engine.backends.frame_lanes import FrameLane
from livecut.engine.bench.run import Run, open_session
from livecut.engine.bench.search import Trial, find_streams, judge_trial
from livecut.engine.bench.settings import Settings
from livecut.engine.cuda import Device

from .cases import planes_of
from .copy_stages import FRAMES, bandwidths
from .engines import Engine, open_engine
from .frame import Paths, launches, pieces
from .gpu import capture, device_ms, kernels_for, many, wall_ms
from .results import Check, NotRun, Report, figure, ratio

HELD_FPS = 30.0
HELD_MS = 33.0
"""What p99 a stream may have."""
SETTLE_SECONDS = 1.5
"""Of frames before anything is timed: a GPU, and its link, come out of their rest under load alone."""
MOST_STREAMS = 64
MOVED = "bytes over measured bandwidth"


@dataclass
class Setting:
    """What the stages of this file share."""

    engine: Engine
    inside: DeviceBackend
    device: Device
    settings: dict[str, Any]

    def paths(self, frame_wh: tuple[int, int], depth: int) -> Paths:
        """Lanes for frames of one stream, each with a picture in it, on a GPU that is no longer at rest."""
        paths = Paths(self.inside, frame_wh, depth)
        paths.fill(planes_of(np.random.default_rng(2), "BGR", frame_wh)[0])
        until = time.perf_counter() + (0 if self.settings.get("small") else SETTLE_SECONDS)
        paths.next()
        while time.perf_counter() < until:
            paths.next()
        paths.restart()
        return paths


@contextmanager
def opened(report: Report, settings: dict[str, Any]) -> Iterator[Setting]:
    """The engine, its device active on this thread."""
    engine = open_engine(report, settings)
    try:
        inside = engine.inside
        device = inside._require()
        with inside.thread_context():
            report.facts |= {"gpu": device.name, "kernels": kernels_for(device, settings).how}
            yield Setting(engine, inside, device, settings)
    finally:
        engine.close()


def frames(settings: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Sizes to measure at; tests take a small one."""
    return {"1080p": (192, 108)} if settings.get("small") else FRAMES


def _one_by_one(paths: Paths, by_graph: bool, frames: int = 1) -> float:
    """Milliseconds from submitting a frame to having its output."""
    started = time.perf_counter()
    for _ in range(frames):
        paths.next(by_graph=by_graph).collect()
    return 1e3 * (time.perf_counter() - started) / frames


def graph(report: Report, settings: dict[str, Any]) -> None:
    """The same frames by one graph and by stream launches, in turns; the same bytes.

    The network alone is timed as well: at 1080p most launches are hidden behind the frame's copy. Frames go
    two by two, as state goes back and forth between two places and launches have to bind them anew.
    """
    with opened(report, settings) as here:
        paths = here.paths(frames(settings)["1080p"], 1)
        try:
            lane = paths.lanes[0]
            if lane.program.why_not_captured:
                raise NotRun(f"{here.engine.backend.info.name} in no graph: {lane.program.why_not_captured}")
            report.facts["queued as"] = paths.how
            outputs = {}
            for by_graph in (True, False):
                paths.restart()
                for _ in range(3):
                    paths.next(by_graph=by_graph).collect()
                outputs[by_graph] = lane.finished.block.copy()
            same = bool((outputs[True] == outputs[False]).all())
            report.checks.append(Check("a graph gives the same bytes as stream launches", same))
            report.checks.append(Check("a graph can be captured", bool(lane.graphs), said=lane.why_no_graph))
            if not lane.graphs:
                return
            for by_graph in (True, False) * 5:
                _one_by_one(paths, by_graph)
            count = many(settings, 300)
            rounds = [(_one_by_one(paths, True, 2), _one_by_one(paths, False, 2)) for _ in range(count)]
            parts = _pieces_ms(here, lane)
            network = _network_ms(lane, count)
        finally:
            paths.free()
    by_graph_ms, by_launch_ms = ([each[i] for each in rounds] for i in (0, 1))
    least = {"floor": sum(map(_median, parts.values())), "floor_what": "its pieces on the device, one by one"}
    report.figures.append(figure("1080p, host to host, one graph", "ms", by_graph_ms, **least))
    report.figures.append(figure("1080p, host to host, stream launches", "ms", by_launch_ms, **least))
    report.figures.append(ratio("stream launches over one graph", by_launch_ms, by_graph_ms, target=1.3))
    alone, apart = ([each[i] for each in network] for i in (0, 1))
    least = {"floor": _median(parts["engine"]), "floor_what": "the engine on the device"}
    report.figures.append(figure("the network alone, one graph", "ms", alone, **least))
    report.figures.append(figure("the network alone, stream launches", "ms", apart, **least))
    report.figures.append(ratio("the network alone: launches over a graph", apart, alone))


def _median(samples: Sequence[float]) -> float:
    return float(np.median(samples))


def _network_ms(lane: FrameLane, count: int) -> list[tuple[float, float]]:
    """Milliseconds of an inference with the wait for it, by one graph and by launches, in turns."""
    call, whole = pieces(lane)["engine"], capture(lane.stream, pieces(lane)["engine"])
    try:
        rounds = []
        for _ in range(count + 5):
            (by_graph,) = wall_ms(partial(whole.launch, lane.stream), lane.stream, 1, warm_up=0)
            (by_launch,) = wall_ms(call, lane.stream, 1, warm_up=0)
            rounds.append((by_graph, by_launch))
        return rounds[5:]
    finally:
        lane.stream.synchronize()
        whole.free()


def _pieces_ms(here: Setting, lane: FrameLane) -> dict[str, list[float]]:
    """Device time of each piece of a frame."""
    count = many(here.settings, 60)
    return {
        name: device_ms(
            here.device, lane.stream, call, count, 4, captured=name != "engine" or bool(lane.graphs)
        )
        for name, call in pieces(lane).items()
    }


def _per_frame_ms(paths: Paths, batches: int, batch: int) -> list[float]:
    """Milliseconds a frame at full load: batches of frames, each lane submitted as soon as it is free.

    Every lane is busy when a batch begins and when it ends, so that it is as many frames done as submitted.
    """
    for _ in range(2 * len(paths.lanes)):
        paths.next()
    samples = []
    for _ in range(batches):
        started = time.perf_counter()
        for _ in range(batch):
            paths.next()
        samples.append(1e3 * (time.perf_counter() - started) / batch)
    paths.drain()
    return samples


def overlap(report: Report, settings: dict[str, Any]) -> None:
    """Throughput at depths 1 to 4: the longest of copy-in, work and copy-out is the least there can be."""
    with opened(report, settings) as here:
        batches, batch = many(settings, 20), many(settings, 60)
        samples: dict[int, list[float]] = {}
        parts: dict[str, list[float]] = {}
        for depth in (1, 2, 3, 4):
            paths = here.paths(frames(settings)["1080p"], depth)
            try:
                if depth == 1:
                    report.facts["queued as"] = paths.how
                    parts = _pieces_ms(here, paths.lanes[0])
                samples[depth] = _per_frame_ms(paths, batches, batch)
            finally:
                paths.free()
    medians = {name: _median(values) for name, values in parts.items()}
    work = medians["pre"] + medians["engine"] + medians["post"]
    floor = max(medians["copy in"], work, medians["copy out"])
    for depth, values in samples.items():
        what = f"1080p, time a frame at depth {depth}"
        report.figures.append(
            figure(what, "ms", values, floor=floor, floor_what="the longest of in, work, out")
        )
    report.figures.append(ratio("depth 1 over depth 3", samples[1], samples[3]))


def pipeline(report: Report, settings: dict[str, Any]) -> None:
    """Pieces, host to host, and throughput beside the engine's own, in every size.

    At 4K the link takes longer for a frame than the engine: throughput there is told beside that floor, and
    no goal.
    """
    with opened(report, settings) as here:
        for name, frame_wh in frames(settings).items():
            paths = here.paths(frame_wh, 3)
            try:
                lane = paths.lanes[0]
                report.facts["queued as"] = paths.how
                parts = _pieces_ms(here, lane)
                rates = {
                    name: _median(found)
                    for name, found in bandwidths(here.device, lane.stream, settings).items()
                }
                alone = _engine_alone(here, lane)
                loaded = _per_frame_ms(paths, many(settings, 20), many(settings, 60))
            finally:
                paths.free()
            one = here.paths(frame_wh, 1)
            try:
                for _ in range(10):
                    _one_by_one(one, True)
                host = [_one_by_one(one, True) for _ in range(many(settings, 200))]
            finally:
                one.free()
            _report_size(report, name, parts, host, alone, loaded, _floors_ms(lane, rates))


def _floors_ms(lane: FrameLane, rates: dict[str, float]) -> dict[str, float]:
    """The least that each piece can take, from the bytes that it moves and ``rates`` in GB/s."""
    before, *after = launches(lane)
    floors = {
        "pre": before.floor_bytes / rates["memory"] / 1e6,
        "post": sum(each.floor_bytes for each in after) / rates["memory"] / 1e6,
    }
    if lane.is_copied:
        floors |= {
            "copy in": lane.frame.block.nbytes / rates["in"] / 1e6,
            "copy out": lane.finished.block.nbytes / rates["out"] / 1e6,
        }
    return floors


def _engine_alone(here: Setting, lane: FrameLane) -> list[float]:
    """Milliseconds an inference when nothing else runs: the engine's own throughput, by a graph if it can."""
    count, repeat = many(here.settings, 20), many(here.settings, 50)
    return device_ms(
        here.device, lane.stream, pieces(lane)["engine"], count, repeat, captured=bool(lane.graphs)
    )


def _report_size(
    report: Report, name: str, parts: dict[str, list[float]], host: list[float], alone: list[float],
    loaded: list[float], floors_ms: dict[str, float],
) -> None:  # fmt: skip
    for piece, values in parts.items():
        floor = {"floor": floors_ms[piece], "floor_what": MOVED} if piece in floors_ms else {}
        report.figures.append(figure(f"{name}: {piece}", "ms", values, **floor))
    medians = {piece: _median(values) for piece, values in parts.items()}
    engine_ms = _median(alone)
    report.figures.append(figure(f"{name}: engine alone", "ms", alone))
    added = [1e3 * (a + b) for a, b in zip(parts["pre"], parts["post"], strict=True)]
    goal = {"target": max(120 * engine_ms, 30.0), "at_least": False} if name == "1080p" else {}
    floor = {"floor": 1e3 * (floors_ms["pre"] + floors_ms["post"]), "floor_what": MOVED}
    report.figures.append(figure(f"{name}: added by pre and post", "us", added, **floor, **goal))
    least = medians["copy in"] + engine_ms + medians["copy out"]
    floor = {"floor": least, "floor_what": "copy in + engine + copy out"}
    report.figures.append(figure(f"{name}: host to host", "ms", host, **floor))
    share = ratio(
        f"{name}: host to host over copies and engine", host, [least] * len(host), target=1.15, at_least=False
    )
    report.figures.append(share)
    rates = [1e3 / ms for ms in loaded]
    longest = max(medians["copy in"], engine_ms, medians["copy out"])
    floor = {"floor": 1e3 / longest, "floor_what": "the longest of copy in, engine, copy out"}
    report.figures.append(figure(f"{name}: throughput, depth 3", "fps", rates, **floor))
    count = min(len(loaded), len(alone))
    goal = {} if name == "4K" else {"target": 0.95}
    over = ratio(f"{name}: throughput over the engine's own", alone[:count], loaded[:count], **goal)
    report.figures.append(over)


def streams(report: Report, settings: dict[str, Any]) -> None:
    """How many sessions hold a 1080p camera of 30 fps each, next to nothing dropped, at a p99 of 33 ms.

    Whole pipelines, as ``livecut bench --find-streams`` runs them but without smoothing over time; outputs
    are compared with an offline run.
    """
    engine = open_engine(report, settings)
    engine.close()  # every stream gets its own
    samples, most = many(settings, 480), settings.get("most_streams", MOST_STREAMS)
    base = Settings(
        model=settings.get("model", registry.DEFAULT_MODEL), size_wh=frames(settings)["1080p"], fps=HELD_FPS,
        seconds=samples / HELD_FPS, warm_up_seconds=min(1.0, samples / HELD_FPS),
        input_size_wh=engine.size_wh, threads=1, temporal=False,
        marked=False,  # whole frames go through the GPU: nothing can be marked on the way
    )  # fmt: skip
    session = partial(open_session, make=engine.make)

    tried: list[str] = []

    def attempt(count: int) -> Trial:
        found = Run(replace(base, streams=count), make_session=session, make_reference=session).measure()
        each = [stream["latency_ms"]["p99"] for stream in found.data["streams"]]
        report.figures.append(figure(f"{count} streams of 1080p: p99 from their time", "ms", each))
        trial = judge_trial(count, found, HELD_MS)
        tried.append(f"{count}: {trial.why or 'held'}")
        report.facts["tried"] = "; ".join(tried)  # at once: there may be no time for the rest
        return trial

    held, trials = find_streams(attempt, most)
    report.facts["streams that hold 30 fps"] = held if held < most else f"at least {held}"
    report.facts["tried"] = "; ".join(f"{each.streams}: {each.why or 'held'}" for each in trials)
    report.checks.append(Check("one stream holds 30 fps", held >= 1, said=trials[0].why))
