"""The weights of a bundle as weights to train: what ships is folded, and training needs it unfolded."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..engine.errors import ModelError
from ..engine.manifest import Manifest
from ..engine.registry import available_models, load_manifest
from .checkpoint import CheckpointError, load_checkpoint
from .config import CHECKPOINT
from .model.blocks import ConvBlock
from .predictors import averaged_network

Weights = dict[str, torch.Tensor]
Moments = tuple[torch.Tensor, torch.Tensor]
"""Mean and mean square by channel."""
WRAPPED = "network."  # what ``exported`` puts before the names of a network with state


def bundle_at(start: Path) -> Path | None:
    """The bundle that ``start`` is, or names as ``--model`` does; None for anything else."""
    if (start / "manifest.json").is_file():
        return start
    return None if start.exists() else available_models().get(str(start))


def bundle_weights(folder: Path) -> tuple[Weights, Manifest]:
    """The weights of a bundle's float32 ONNX by the network's own names, folded, and its manifest.

    Raises
    ------
    ModelError, ManifestError
        If the manifest is not valid, the file is not the one it names, or its weights are not float32.
    """
    import onnx

    manifest = load_manifest(folder)
    weights = {
        value.name.removeprefix(WRAPPED): torch.from_numpy(np.array(onnx.numpy_helper.to_array(value)))
        for value in onnx.load(manifest.model_path).graph.initializer
        if value.dims
    }
    if any(value.dtype == torch.float16 for value in weights.values()):
        raise ModelError(f"{manifest.model_path}: in FP16; train from the bundle's float32 file")
    return weights, manifest


@dataclass(frozen=True)
class Start:
    """The weights that a training can begin with: a run's averaged ones, or a bundle's.

    Attributes
    ----------
    path : Path
        The bundle as it was asked for, or the run's checkpoint.
    weights : dict
        By the network's own names; those of a bundle are folded.
    is_bundle : bool
    origin : str
        Which they are, in the words of a log.
    earlier : list of dict
        The runs that led to them, oldest first: name, steps, pictures, seconds.
    ledger : dict or None
        What they were made from; empty for a run from nothing, None where a bundle does not say.
    """

    path: Path
    weights: Weights
    is_bundle: bool
    origin: str
    earlier: list[dict[str, Any]]
    ledger: dict[str, Any] | None

    def folded(self) -> Weights:
        """The weights as a bundle has them, by the network's own names."""
        if self.is_bundle:
            return self.weights
        network, _ = averaged_network(self.path)
        folded: nn.Module = network.folded()  # type: ignore[operator]
        return dict(folded.state_dict())

    def halfway_to(self, other: Start) -> Weights:
        """The mean of these weights and of ``other``'s, folded, by the network's own names.

        Raises
        ------
        CheckpointError
            If the two are not of one network.
        """
        ours, theirs = self.folded(), other.folded()
        shared = agreeing(ours, theirs)
        if not shared or any(name in theirs for name in ours if name not in shared):
            raise CheckpointError(
                f"{other.path}: of another network than {self.path}: {len(shared)} of {len(ours)} tensors "
                "agree; give what that run went on from"
            )
        # What a bundle has none of, as the side outputs of training, stays.
        return {**ours, **{name: (value + theirs[name]) / 2 for name, value in shared.items()}}


def read_start(path: Path) -> Start:
    """What ``path`` is: a run's folder, a checkpoint, a bundle's folder, or the name of a model.

    Raises
    ------
    CheckpointError, ModelError, ManifestError
        If it cannot be read.
    """
    if (bundle := bundle_at(path)) is not None:
        weights, manifest = bundle_weights(bundle)
        # The version, because the bundle of that name may be another one by the time a card says this.
        place = bundle.resolve()
        origin = f"{place.parent.name}/{place.name}, version {manifest.version}"
        runs = [dict(run) for run in manifest.extra.get("trained", [])]
        return Start(path, weights, True, origin, runs, ledger_of(manifest))
    path = path / CHECKPOINT if path.is_dir() else path
    state = load_checkpoint(path)
    origin = f"{path.parent.name}/{path.name}, step {state['counters']['step']}"
    runs = [*state.get("earlier", []), {"name": state["config"]["name"], **state["counters"]}]
    return Start(path, state["average"], False, origin, runs, state.get("ledger", {}))


def ledger_of(manifest: Manifest) -> dict[str, Any] | None:
    """What a bundle says it was made from; None where it does not: what is made of it must not ship."""
    if manifest.ledger is None:
        return None
    try:
        ledger: dict[str, Any] = json.loads((manifest.folder / manifest.ledger).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return ledger


def agreeing(weights: Weights, own: Weights) -> Weights:
    """Those of ``weights`` whose name and shape are in ``own``, too."""
    return {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}


@torch.no_grad()
def unfolded(network: nn.Module, weights: Weights, pictures: Iterable[tuple[torch.Tensor, ...]]) -> Weights:
    """``weights`` as a state of ``network``, which then computes what the folded network did.

    A folded convolution holds its normalisation. To train further it is wanted back: ``pictures`` say what
    mean and variance each convolution gives, the normalisation takes them for its own and undoes them.
    Convolutions get the length that fresh ones have, filter by filter, so that an optimiser's step turns
    them as far as it turns fresh ones.

    Parameters
    ----------
    network : nn.Module
        A fresh network with normalisation; only read. Weights that are not in ``weights`` are left out.
    weights : dict
        By name, as ``bundle_weights`` gives them.
    pictures : iterable of tuples
        Batches of the network's inputs, float32 (N, 3, H, W) in -1..1: some tens of pictures.
    """
    device = next(network.parameters()).device
    state = agreeing(weights, network.state_dict())
    blocks = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, ConvBlock) and f"{name}.conv.bias" in weights and f"{name}.conv.weight" in state
    }
    if not blocks:
        return state
    shown = _identities(network, state, weights, blocks)
    moments: dict[str, list[Moments]] = {name: [] for name in blocks}
    hooks = [_watch(shown.get_submodule(f"{name}.conv"), moments[name]) for name in blocks]
    for inputs in pictures:
        shown(*(x.to(device) for x in inputs))
    for hook in hooks:
        hook.remove()
    for name, module in blocks.items():
        mean, variance = _pooled(moments[name])
        norm, weight = module.norm, weights[f"{name}.conv.weight"]
        assert isinstance(norm, nn.BatchNorm2d)
        factor = _lengths(module.conv.weight).cpu() / _lengths(weight).clamp(min=1e-3)
        variance = variance * factor**2
        state[f"{name}.conv.weight"] = weight * factor[:, None, None, None]
        state[f"{name}.norm.running_mean"] = mean * factor
        state[f"{name}.norm.running_var"] = variance
        state[f"{name}.norm.weight"] = (variance + norm.eps).sqrt() / factor
        state[f"{name}.norm.bias"] = weights[f"{name}.conv.bias"] + mean
    return state


def _identities(network: nn.Module, state: Weights, weights: Weights, blocks: Iterable[str]) -> nn.Module:
    """A copy of ``network`` with ``state``, whose normalisations only add the folded biases."""
    shown = copy.deepcopy(network).eval()
    shown.load_state_dict(state, strict=False)
    for name in blocks:
        norm = shown.get_submodule(f"{name}.norm")
        assert isinstance(norm, nn.BatchNorm2d)
        norm.running_mean.zero_()  # type: ignore[union-attr]
        norm.running_var.fill_(1 - norm.eps)  # type: ignore[union-attr]
        norm.weight.fill_(1.0)
        norm.bias.copy_(weights[f"{name}.conv.bias"])
    return shown


def _watch(convolution: nn.Module, into: list[Moments]) -> Any:
    """Keep mean and mean square, by channel, of every output of ``convolution``."""

    def keep(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        output = output.float()
        into.append((output.mean((0, 2, 3)).cpu(), output.square().mean((0, 2, 3)).cpu()))

    return convolution.register_forward_hook(keep)


def _pooled(moments: list[Moments]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance over all batches."""
    means, squares = (torch.stack(values).double().mean(0) for values in zip(*moments, strict=True))
    return means.float(), (squares - means.square()).clamp(min=0.0).float()


def _lengths(weight: torch.Tensor) -> torch.Tensor:
    """Of each filter."""
    return weight.flatten(1).norm(dim=1)
