"""Train a network.

``python -m livecut.training.train --config livecut-s --data ../shared/data --out runs/livecut-s [--resume]``

The learning rate follows the clock: a run of ``--minutes`` ends when they are over, however fast the
machine is, and the log says how many pictures that was. On cores shared with other work set
``OMP_WAIT_POLICY=passive``: threads that spin while they wait for each other cost several times the speed.
"""

from __future__ import annotations

import argparse
import copy
import csv
import dataclasses
import math
import multiprocessing
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from . import evaluate, sheets
from .checkpoint import load_checkpoint, save_checkpoint
from .config import Config, load_config
from .data.cache import pack
from .data.catalogue import read_catalogue
from .data.dataset import Batch, SceneMaker, SceneStream, to_alpha, to_network
from .losses import WEIGHTS, matting_loss
from .model.network import MattingNetwork
from .model.pretrained import load_encoder

LOG_EVERY_STEPS = 50
MAX_BAD_STEPS = 5  # in a row, before the run is given up
COLUMNS = (
    "minutes",
    "step",
    "pictures",
    "learning_rate",
    "total",
    *WEIGHTS,
    "val_mae",
    "val_iou",
    "val_boundary_f",
)


class TrainingError(RuntimeError):
    """Training cannot go on."""


def share_at(progress: float, step: int, config: Config) -> float:
    """The share of the full learning rate at ``progress`` 0..1 of the run's minutes and at ``step``."""
    optimiser = config.optimiser
    warm = min(1.0, (step + 1) / max(1, optimiser.warm_up_steps))
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return warm * (optimiser.final_share + (1 - optimiser.final_share) * cosine)


def channels_last(network: MattingNetwork) -> MattingNetwork:
    """Lay the weights out as the CPU's convolutions want them; returns the network."""
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
    """

    def __init__(self, config: Config, data: Path, out: Path, cache: Path) -> None:
        self.config, self.out = config, Path(out)
        self.out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(config.seed)
        torch.set_num_threads(config.run.threads)
        catalogue = read_catalogue(data)
        self.training = pack([item for item in catalogue.items if not item.validation], cache)
        pairs = [item for item in catalogue.items if item.validation and item.kind == "pair"]
        self.validation = pack(pairs, cache)
        skipped = [*catalogue.skipped, *self.training.skipped, *self.validation.skipped]
        for line in skipped:
            self.log(f"skipped {line}")
        counts = f"{len(self.training)} items to train on, {len(self.validation)} held-out pairs"
        self.log(f"{counts}, {len(skipped)} skipped")
        self.network = channels_last(MattingNetwork(**config.network))
        if config.encoder_weights:
            load_encoder(self.network.encoder, data / config.encoder_weights)
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        rate = config.optimiser.learning_rate
        self.optimiser = torch.optim.AdamW(
            [
                {
                    "params": list(self.network.encoder.parameters()),
                    "full": rate * config.optimiser.encoder_share,
                },
                {"params": list(self.network.decoder.parameters()), "full": rate},
            ],
            lr=rate,
            weight_decay=config.optimiser.weight_decay,
        )
        self.step, self.pictures, self.elapsed_s, self.bad_steps = 0, 0, 0.0, 0
        self.window: list[dict[str, float]] = []

    def log(self, line: str) -> None:
        """Print a line and keep it in ``log.txt``."""
        text = f"{time.strftime('%H:%M:%S')} {line}"
        print(text, flush=True)
        with open(self.out / "log.txt", "a", encoding="utf-8") as stream:
            stream.write(text + "\n")

    def run(self) -> None:
        """Train until the minutes are over; save, validate and draw on the way.

        Raises
        ------
        TrainingError
            If the loss stays without a finite value.
        """
        run, total_s = self.config.run, self.config.run.minutes * 60
        # Not forked: a copy of a process that has used OpenMP may wait for ever for threads it does not have.
        context = multiprocessing.get_context("spawn")
        progress = context.Value("d", min(1.0, self.elapsed_s / total_s))
        maker, seed = SceneMaker(self.training), self.config.seed + self.step
        stream = SceneStream(maker, self.config.stages, progress, seed)
        batches = iter(
            DataLoader(
                stream,
                batch_size=None,
                num_workers=run.workers,
                prefetch_factor=4 if run.workers else None,
                multiprocessing_context=context if run.workers else None,
            )
        )
        started = time.monotonic() - self.elapsed_s
        saved = validated = self.elapsed_s
        mark_s, mark_pictures = self.elapsed_s, self.pictures
        while self.elapsed_s < total_s:
            self.train_step(next(batches), share_at(progress.value, self.step, self.config))
            self.elapsed_s = time.monotonic() - started
            progress.value = min(1.0, self.elapsed_s / total_s)
            if self.step % LOG_EVERY_STEPS == 0:
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
        self.validate()

    def train_step(self, batch: Batch, share: float) -> None:
        """One optimiser step at ``share`` of the full learning rates."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["full"] * share
        self.network.train()
        image = to_network(batch.image).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.run.bfloat16):
            logits, sides = self.network.forward_training(image)
        sides = [side.float() for side in sides]
        terms = matting_loss(logits.float(), sides, to_alpha(batch.alpha), self.trust(batch), batch.edge)
        self.optimiser.zero_grad(set_to_none=True)
        terms["total"].backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimiser.gradient_clip)
        if not (torch.isfinite(terms["total"]) and torch.isfinite(norm)):
            self.refuse(terms)
            return
        self.bad_steps = 0
        self.optimiser.step()
        self.update_average()
        self.step += 1
        self.pictures += len(batch.image)
        self.window.append({name: float(term.detach()) for name, term in terms.items()})

    def trust(self, batch: Batch) -> torch.Tensor:
        """Masks are believed fully at first; only a network that has learnt something may doubt them."""
        doubt = min(1.0, max(0.0, (self.elapsed_s / (self.config.run.minutes * 60) - 0.3) / 0.3))
        return 1 - (1 - batch.trust) * doubt

    def refuse(self, terms: dict[str, torch.Tensor]) -> None:
        """Leave out a step without finite loss or gradient; give up when it goes on."""
        self.bad_steps += 1
        values = ", ".join(f"{name} {float(term.detach()):.3g}" for name, term in terms.items())
        self.log(f"step {self.step}: not finite ({values}); left out")
        if self.bad_steps >= MAX_BAD_STEPS:
            raise TrainingError(
                f"{MAX_BAD_STEPS} steps in a row without a finite loss. {self.out / 'checkpoint.pt'} is "
                "the last good state; lower learning_rate and go on with --resume"
            )

    def update_average(self) -> None:
        """Move the averaged network a little towards the trained one; faster at the start."""
        decay = min(self.config.optimiser.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
            for kept, fresh in zip(self.average.buffers(), self.network.buffers(), strict=True):
                kept.copy_(kept.lerp(fresh, 1 - decay) if kept.is_floating_point() else fresh)

    def report(self, pictures_per_s: float) -> None:
        """Log the mean of the last steps and add a row to the curve."""
        means = {name: float(np.mean([terms[name] for terms in self.window])) for name in self.window[0]}
        self.window.clear()
        rate = self.optimiser.param_groups[1]["lr"]
        shown = " ".join(f"{name} {value:.4f}" for name, value in means.items())
        speed = f"lr {rate:.2e} {pictures_per_s:.1f} pictures/s"
        self.log(f"step {self.step} {self.elapsed_s / 60:.1f} min {speed} {shown}")
        self.add_row({"learning_rate": rate, **means})

    def add_row(self, values: dict[str, float]) -> None:
        """Append to ``curve.csv``; columns not given stay empty."""
        path = self.out / "curve.csv"
        fresh = not path.exists()
        row = {
            "minutes": round(self.elapsed_s / 60, 3),
            "step": self.step,
            "pictures": self.pictures,
            **values,
        }
        with open(path, "a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        sheets.curves(path, self.out / "curve.png", ("total", "bce", "val_mae", "val_iou", "val_boundary_f"))

    def validate(self) -> dict[str, dict[str, float]]:
        """Measure the averaged network on the held-out pairs, log it, and draw some of them."""
        predict = evaluate.torch_predictor(self.average, bfloat16=self.config.run.bfloat16)
        measured = list(evaluate.results(predict, self.validation, ("mae", "iou", "boundary_f")))
        if not measured:
            return {}
        summary = evaluate.summarise(measured)
        for folder, values in summary.items():
            self.log(
                f"validation {folder}: " + " ".join(f"{name} {value:.4f}" for name, value in values.items())
            )
        self.add_row({f"val_{name}": summary["all"][name] for name in ("mae", "iou", "boundary_f")})
        shown = measured[:: max(1, len(measured) // 24)][:24]
        rows = [
            [r.image, sheets.grey(r.alpha), sheets.grey(r.predicted), sheets.over(r.image, r.predicted)]
            for r in shown
        ]
        doubled = [left + right for left, right in zip(rows[::2], rows[1::2], strict=False)]
        sheets.sheet(doubled, self.out / f"samples-{self.step:06d}.png", 128)
        return summary

    def save(self) -> None:
        """Write ``checkpoint.pt``."""
        save_checkpoint(
            self.out / "checkpoint.pt",
            config=dataclasses.asdict(self.config),
            network=self.network.state_dict(),
            average=self.average.state_dict(),
            optimiser=self.optimiser.state_dict(),
            counters={"step": self.step, "pictures": self.pictures, "elapsed_s": self.elapsed_s},
        )

    def resume(self) -> None:
        """Go on from ``checkpoint.pt``."""
        state: dict[str, Any] = load_checkpoint(self.out / "checkpoint.pt", self.config.network)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        counters = state["counters"]
        self.step, self.pictures, self.elapsed_s = (
            counters["step"],
            counters["pictures"],
            counters["elapsed_s"],
        )
        self.log(f"resumed at step {self.step}, {self.elapsed_s / 60:.1f} min")


def _interrupt(*_signal: object) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m livecut.training.train", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--config", default="livecut-s", help="name of a configuration, or a .toml file")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the data folder")
    parser.add_argument("--out", type=Path, help="the run's folder (default: runs/NAME)")
    parser.add_argument("--cache", type=Path, help="where decoded pictures are kept (default: OUT/cache)")
    parser.add_argument("--minutes", type=float, help="wall-clock budget of the whole run")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in OUT")
    options = parser.parse_args(arguments)
    try:
        config = load_config(options.config)
        if options.minutes is not None:
            config = dataclasses.replace(config, run=dataclasses.replace(config.run, minutes=options.minutes))
        out = options.out or Path("runs") / config.name
        if not options.resume and (out / "checkpoint.pt").exists():
            raise ValueError(
                f"{out} holds a run already: add --resume to go on with it, or choose another --out"
            )
        trainer = Trainer(config, options.data, out, options.cache or out / "cache")
        if options.resume:
            trainer.resume()
        signal.signal(signal.SIGTERM, _interrupt)
        signal.signal(signal.SIGINT, _interrupt)
        trainer.run()
    except (ValueError, OSError, TrainingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        trainer.save()
        trainer.log("interrupted; saved, go on with --resume")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
