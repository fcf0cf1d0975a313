"""A step of training livecut-s on a CPU: depthwise gradients put together here, beside PyTorch's own."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from typing import Any

from .measure import interleave
from .options import Options
from .results import Goal, Row, checked

TITLE = "a training step of livecut-s in bfloat16, 16 pictures of 256x256, forward and backward"
PICTURES, SIDE_PX = 16, 256
THREADS = 2
ALIKE = 0.03  # bfloat16 rounds by 1/256, at every one of some fifty layers


def run(options: Options) -> list[Row]:
    """Time a step with ``DepthwiseConv2d`` beside the same with ``nn.Conv2d`` in its place."""
    if importlib.util.find_spec("torch") is None:
        print("  left out: PyTorch is not installed (pip install livecut[train])")
        return []
    import torch

    from livecut.training.config import load_config
    from livecut.training.device import has_bfloat16, prepare
    from livecut.training.model.build import build_network
    from livecut.training.optimiser import freeze
    from livecut.training.train import channels_last

    if not has_bfloat16(torch.device("cpu")):
        print("  left out: this processor has no bfloat16, so training runs in float32")
        return []
    config = load_config("livecut-s")
    prepare(torch.device("cpu"), THREADS)
    torch.manual_seed(0)
    network = channels_last(build_network(config.method, config.network)).train()
    freeze(network, config.learns)
    plain = _with_plain_convolutions(copy.deepcopy(network))
    step, plain_step = _step(config, network), _step(config, plain)
    step(), plain_step()
    check = checked("difference of the gradients, over their length", _difference(network, plain), ALIKE)
    contenders = {"livecut": step, "nn.Conv2d": plain_step}
    measurement = interleave(contenders, rounds=options.loop_rounds)
    conditions = {
        "pictures": PICTURES,
        "size": f"{SIDE_PX}x{SIDE_PX}",
        "threads": THREADS,
        "torch": torch.__version__,
    }
    goals = [
        Goal("faster than with PyTorch's own depthwise gradients", measurement.ratio("nn.Conv2d", "livecut"))
    ]
    return [Row.of("train-step", TITLE, measurement, conditions=conditions, goals=goals, checks=[check])]


def _step(config: Any, network: Any) -> Callable[[], None]:
    """Forward and backward on pictures at random; the weights stay, so that every step is the same."""
    import torch

    from livecut.training.objectives import Step, make_objective

    objective = make_objective(config, torch.device("cpu"))
    made = torch.Generator().manual_seed(0)
    image = torch.rand(PICTURES, 3, SIDE_PX, SIDE_PX, generator=made) * 2 - 1
    alpha = (torch.rand(PICTURES, 1, SIDE_PX // 16, SIDE_PX // 16, generator=made) > 0.5).float()
    alpha = alpha.repeat_interleave(16, 2).repeat_interleave(16, 3)
    believed = torch.ones(PICTURES)

    def step() -> None:
        network.zero_grad(set_to_none=True)
        loss, _ = objective(network, Step(image, alpha, believed, believed))
        loss.backward()

    return step


def _with_plain_convolutions(network: Any) -> Any:
    from torch import nn

    from livecut.training.model.depthwise import DepthwiseConv2d

    for module in network.modules():
        if isinstance(module, DepthwiseConv2d):
            module.__class__ = nn.Conv2d
    return network


def _difference(one: Any, other: Any) -> float:
    import torch

    pairs = zip(one.parameters(), other.parameters(), strict=True)
    pairs = [(a.grad.flatten(), b.grad.flatten()) for a, b in pairs if b.grad is not None]
    a, b = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    return float((a - b).norm() / b.norm())
