"""The loop of a training run; ``livecut train`` is its command.

The learning rate follows the clock: a run of so many minutes ends when they are over, however fast the
machine is, and the log says how many pictures that was. On cores shared with other work set
``OMP_WAIT_POLICY=passive``: threads that spin while they wait for each other cost several times the speed.
"""

from __future__ import annotations

import dataclasses
import itertools
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from ..engine.errors import LivecutError
from . import evaluate, plate_validation, shipped
from .checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from .config import CHECKPOINT, Config
from .data.cache import pack
from .data.catalogue import read_catalogue
from .data.clips import ClipMaker, ClipStream
from .data.dataset import Batch, SceneMaker, SceneStream, to_alpha, to_network
from .data.plates import PlateBatch, PlateMaker, PlateStream
from .device import describe, prepare
from .initial import locate
from .ledger import of_both
from .model.build import build_network
from .model.pretrained import load_encoder
from .objectives import Step, make_objective
from .optimiser import averaged_copy, follow, freeze, heal, make_optimiser, share_at
from .predictors import torch_predictor
from .record import VALIDATED, Record

LOG_EVERY_STEPS = 50
MAX_BAD_STEPS = 5  # in a row, before the run is given up
CALIBRATION_BATCHES = 8


class TrainingError(LivecutError, RuntimeError):
    """Training cannot go on."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a run is, for who watches it: seconds of the run's own clock, and what it last measured."""

    elapsed_s: float
    total_s: float
    step: int
    pictures: int
    total: float
    """The weighted loss of the last step."""
    validation: dict[str, float]
    """Means over the held-out pairs; empty before the first validation."""


def channels_last(network: nn.Module) -> nn.Module:
    """Lay the weights out as convolutions want them, on a CPU and on a GPU; returns the network."""
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


class Trainer:
    """One run: network, optimiser, averaged network, counters, and where they are written.

    Parameters
    ----------
    config : Config
    data : Path
        The data folder.
    out : Path
        The run's folder: ``checkpoint.pt``, ``log.txt``, ``curve.csv``, ``curve.png``, ``samples-*.png``.
    cache : Path
        Where decoded pictures are kept.
    device : torch.device, optional
        From ``device.choose_device``; the CPU by default.
    say : callable
        Shows a line of the log.
    on_step : callable, optional
        Called with a ``Progress`` after every step.
    """

    def __init__(
        self,
        config: Config,
        data: Path,
        out: Path,
        cache: Path,
        *,
        device: torch.device | None = None,
        say: Callable[[str], None] = print,
        on_step: Callable[[Progress], None] | None = None,
    ) -> None:
        self.config, self.out, self.on_step = config, Path(out), on_step
        self.device = device or torch.device("cpu")
        torch.manual_seed(config.seed)
        prepare(self.device, config.run.threads)
        network = build_network(config.method, config.network)
        if config.encoder_weights:
            load_encoder(network.encoder, locate(data, config.encoder_weights))  # type: ignore[arg-type]
        self.network = channels_last(network.to(self.device))
        self.objective = make_objective(config, self.device)
        self.record = Record(self.out, self.objective.names, say)
        self.log = self.record.log
        catalogue = read_catalogue(data)
        self.training = pack([item for item in catalogue.items if not item.validation], cache)
        shown = ("pair", "plate") if config.method == "plate" else ("pair",)
        pairs = [item for item in catalogue.items if item.validation and item.kind in shown]
        self.validation = pack(pairs, cache)
        skipped = [*catalogue.skipped, *self.training.skipped, *self.validation.skipped]
        for line in skipped:
            self.log(f"skipped {line}")
        counts = f"{len(self.training)} items to train on, {len(self.validation)} held-out pairs"
        self.log(f"{counts}, {len(skipped)} skipped")
        self.log(f"{config.name} on {describe(self.device, config.run.bfloat16)}")
        if not len(self.training):
            raise ValueError(f"{data}: nothing to train on is left; the log says what was skipped")
        self.average = averaged_copy(self.network)
        freeze(self.network, config.learns)
        self.optimiser = make_optimiser(self.network, config.optimiser)
        self.earlier: list[dict[str, Any]] = []
        self.ledger: dict[str, Any] | None = {}
        self.step, self.pictures, self.elapsed_s, self.bad_steps = 0, 0, 0.0, 0
        self.window: list[dict[str, float]] = []
        self.validated: dict[str, float] = {}
        self.stopping = False

    def start_from(self, path: Path, halfway_to: Path | None = None) -> None:
        """Take the averaged weights of another run, or what ships, where name and shape agree.

        Parameters
        ----------
        path : Path
            A run's folder, a checkpoint, a bundle's folder, or the name of a model.
        halfway_to : Path, optional
            The same, of what that run went on from: the mean of the two is taken, weight by weight. Most of
            what a run learns stays, and much of what it forgets meanwhile comes back (Wortsman et al. 2022,
            "Robust fine-tuning of zero-shot models").

        Raises
        ------
        CheckpointError, ModelError, ManifestError
            If it cannot be read, is of so different a network that less than half agrees, or the two are not
            of one network.
        """
        own = self.network.state_dict()
        start = shipped.read_start(path)
        weights, is_folded, origin = start.weights, start.is_bundle, start.origin
        self.earlier, self.ledger = start.earlier, start.ledger
        if halfway_to is not None:
            other = shipped.read_start(halfway_to)
            weights, is_folded = start.halfway_to(other), True
            origin += f", halfway to {other.origin}"
            self.ledger = of_both(start.ledger, other.ledger)
        if is_folded:
            taken = shipped.unfolded(self.average, weights, self._some_inputs())
        else:
            taken = shipped.agreeing(weights, own)
        if 2 * len(taken) < len(own):
            raise CheckpointError(
                f"{start.path}: of another network: {len(taken)} of {len(own)} tensors agree; "
                "start from a run of this configuration's network"
            )
        for network in (self.network, self.average):
            network.load_state_dict(taken, strict=False)
        self.log(f"starts from {origin}: {len(taken)} of {len(own)} tensors")

    def _some_inputs(self) -> Iterator[tuple[torch.Tensor, ...]]:
        """Batches as the network gets them, the same for every run of a seed."""
        stream = self._stream(multiprocessing.get_context("spawn").Value("d", 0.0), self.config.seed)
        for batch in itertools.islice(stream, CALIBRATION_BATCHES):
            image = to_network(batch.image)
            yield (image, to_network(batch.plate)) if isinstance(batch, PlateBatch) else (image,)

    def stop(self) -> None:
        """Ask ``run`` to save and return after the step it is at. May be called from a signal handler."""
        self.stopping = True

    def run(self) -> None:
        """Train until the minutes are over, or ``stop``; save, validate and draw on the way.

        Raises
        ------
        TrainingError
            If the loss stays without a finite value, or a checkpoint cannot be written.
        """
        run, total_s = self.config.run, self.config.run.minutes * 60
        # Not forked: a copy of a process that has used OpenMP may wait for ever for threads it does not have.
        context = multiprocessing.get_context("spawn")
        progress = context.Value("d", min(1.0, self.elapsed_s / total_s))
        batches = self._batches(progress, context)
        started = time.monotonic() - self.elapsed_s
        saved = validated = self.elapsed_s
        mark_s, mark_pictures = self.elapsed_s, self.pictures
        while self.elapsed_s < total_s and not self.stopping:
            self.train_step(next(batches), share_at(progress.value, self.step, self.config))
            self.elapsed_s = time.monotonic() - started
            progress.value = min(1.0, self.elapsed_s / total_s)
            if self.step % LOG_EVERY_STEPS == 0 and self.window:
                rate = (self.pictures - mark_pictures) / max(self.elapsed_s - mark_s, 1e-6)
                mark_s, mark_pictures = self.elapsed_s, self.pictures
                self.report(rate)
            if self.elapsed_s - saved > run.checkpoint_minutes * 60:
                saved = self.elapsed_s
                self.save()
            if self.elapsed_s - validated > run.validation_minutes * 60:
                validated = self.elapsed_s
                self.validate()
        self.save()
        if self.stopping:
            self.log("stopped; saved, go on with --resume")
            return
        if self.window:
            self.report((self.pictures - mark_pictures) / max(self.elapsed_s - mark_s, 1e-6))
        self.validate()

    def _batches(self, progress: Any, context: Any) -> Iterator[Batch]:
        workers = self.config.run.workers
        return iter(
            DataLoader(
                self._stream(progress, self.config.seed + self.step),
                batch_size=None,
                num_workers=workers,
                prefetch_factor=4 if workers else None,
                multiprocessing_context=context if workers else None,
                worker_init_fn=_leave_interrupts_to_the_parent if workers else None,
                pin_memory=self.device.type == "cuda",
            )
        )

    def _stream(self, progress: Any, seed: int) -> SceneStream | ClipStream | PlateStream:
        maker, stages = SceneMaker(self.training), self.config.stages
        if self.config.method == "plate":
            return PlateStream(PlateMaker(maker), stages, progress, seed)
        if self.config.frames:
            return ClipStream(ClipMaker(maker), stages, progress, self.config.frames, seed)
        return SceneStream(maker, stages, progress, seed)

    def train_step(self, batch: Batch, share: float) -> None:
        """One optimiser step at ``share`` of the full learning rates."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["full"] * share
        self.network.train()
        batch = batch.to(self.device)
        image = to_network(batch.image).contiguous(memory_format=torch.channels_last)
        plate = to_network(batch.plate) if isinstance(batch, PlateBatch) else None
        step = Step(image, to_alpha(batch.alpha), self.trust(batch), batch.edge, plate)
        loss, terms = self.objective(self.network, step)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimiser.gradient_clip)
        # One transfer from the device for all of them.
        *numbers, size = torch.stack([*(term.detach() for term in terms.values()), norm]).tolist()
        values = dict(zip(terms, numbers, strict=True))
        if not np.isfinite([*numbers, size]).all():
            self.refuse(values)
            return
        self.bad_steps = 0
        self.optimiser.step()
        self.objective.after_step()
        follow(self.average, self.network, self.step, self.config.optimiser.ema_decay)
        self.step += 1
        self.pictures += len(batch.image)
        self.window.append(values)
        if self.on_step is not None:
            total_s = self.config.run.minutes * 60
            self.on_step(
                Progress(self.elapsed_s, total_s, self.step, self.pictures, values["total"], self.validated)
            )

    def trust(self, batch: Batch) -> torch.Tensor:
        """Masks are believed fully at first; only a network that has learnt something may doubt them."""
        doubt = min(1.0, max(0.0, (self.elapsed_s / (self.config.run.minutes * 60) - 0.3) / 0.3))
        return 1 - (1 - batch.trust) * doubt

    def refuse(self, values: dict[str, float]) -> None:
        """Leave out a step without finite loss or gradient; give up when it goes on."""
        self.bad_steps += 1
        heal(self.network, self.average)
        shown = ", ".join(f"{name} {value:.3g}" for name, value in values.items())
        self.log(f"step {self.step}: not finite ({shown}); left out")
        if self.bad_steps >= MAX_BAD_STEPS:
            raise TrainingError(
                f"{MAX_BAD_STEPS} steps in a row without a finite loss. {self.out / CHECKPOINT} is "
                "the last good state; lower learning_rate and go on with --resume"
            )

    def report(self, pictures_per_s: float) -> None:
        """Log the mean of the last steps and add a row to the curve."""
        means = {name: float(np.mean([terms[name] for terms in self.window])) for name in self.window[0]}
        self.window.clear()
        rate = self.optimiser.param_groups[-1]["lr"]
        shown = " ".join(f"{name} {value:.4f}" for name, value in means.items())
        speed = f"lr {rate:.2e} {pictures_per_s:.1f} pictures/s"
        self.log(f"step {self.step} {self.elapsed_s / 60:.1f} min {speed} {shown}")
        self.add_row({"learning_rate": rate, **means})

    def add_row(self, values: dict[str, float]) -> None:
        """Add a row to the curve, at the run's present clock and counters."""
        minutes = round(self.elapsed_s / 60, 3)
        self.record.add_row({"minutes": minutes, "step": self.step, "pictures": self.pictures, **values})

    def validate(self) -> dict[str, dict[str, float]]:
        """Measure the averaged network on the held-out pairs, log it, and draw some of them."""
        sizes_wh = [(width, height) for width, height in self.config.input_sizes]
        predict = torch_predictor(
            self.average, sizes_wh, device=self.device, bfloat16=self.config.run.bfloat16
        )
        if self.config.method == "plate":
            return self._log_validation(plate_validation.validate(predict, self.validation))
        measured = []
        for result in evaluate.results(predict, self.validation, VALIDATED):
            measured.append(result)
            if self.stopping:
                return {}
        if not measured:
            return {}
        self.record.draw_samples(measured, self.step)
        return self._log_validation(evaluate.summarise(measured))

    def _log_validation(self, summary: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        if not summary:
            return {}
        for folder, values in summary.items():
            shown = " ".join(f"{name} {value:.4f}" for name, value in values.items())
            self.log(f"validation {folder}: {shown}")
        self.validated = {name: summary["all"][name] for name in VALIDATED}
        self.add_row({f"val_{name}": value for name, value in self.validated.items()})
        return summary

    def save(self) -> None:
        """Write ``checkpoint.pt``.

        Raises
        ------
        TrainingError
            If it cannot be written; the one before is then still whole.
        """
        try:
            save_checkpoint(
                self.out / CHECKPOINT,
                config=dataclasses.asdict(self.config),
                network=self.network.state_dict(),
                average=self.average.state_dict(),
                optimiser=self.optimiser.state_dict(),
                objective=self.objective.state(),
                counters={"step": self.step, "pictures": self.pictures, "elapsed_s": self.elapsed_s},
                earlier=self.earlier,
                ledger=self.ledger,
            )
        except CheckpointError as error:
            raise TrainingError(f"{error}; make room and go on with --resume") from error

    def resume(self) -> None:
        """Go on from ``checkpoint.pt``."""
        state: dict[str, Any] = load_checkpoint(self.out / CHECKPOINT, self.config.network)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.objective.restore(state.get("objective", {}))
        counters, self.earlier = state["counters"], state.get("earlier", [])
        self.ledger = state.get("ledger", {})
        self.step, self.pictures = counters["step"], counters["pictures"]
        self.elapsed_s = counters["elapsed_s"]
        self.log(f"resumed at step {self.step}, {self.elapsed_s / 60:.1f} min")


def _leave_interrupts_to_the_parent(_worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; the parent finishes its step, then ends the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
