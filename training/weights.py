"""Trained weights as they are handed on: safetensors, which hold no code, or a checkpoint of a run."""

from __future__ import annotations

import json
import os
import pickletools
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..engine.errors import ModelError
from ..export.weights import Source, module_source
from .checkpoint import FORMAT
from .config import SIZES_WH
from .model.build import build_network

VERSION = "0"
"""Of a model that nobody has released."""
KIND = "livecut-weights"
"""``kind`` in the metadata of a safetensors file of ours."""


def save_weights(path: Path, weights: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> None:
    """Write ``weights`` as safetensors, whole or not at all.

    Parameters
    ----------
    path : Path
        Ends in ``.safetensors``.
    weights : mapping of str to tensor
        A network's ``state_dict``: the averaged one is what ships.
    config : mapping
        The run's configuration, with ``name``, ``method`` and ``network``; plain JSON values.
    """
    from safetensors.torch import save_file

    partial = path.with_suffix(".part")
    plain = {name: value.detach().contiguous().cpu() for name, value in weights.items()}
    save_file(plain, partial, metadata={"kind": KIND, "format": str(FORMAT), "config": json.dumps(config)})
    os.replace(partial, path)


def open_checkpoint(path: Path) -> Source:
    """A checkpoint or safetensors file of livecut's own networks as the source of an export.

    Raises
    ------
    ModelError
        If the file is damaged, holds code, is of another network, or of none of ours.
    """
    weights, config = read_weights(path)
    return module_source(*build(weights, config, path), path=path)


def read_weights(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The averaged weights of a file, and the configuration of the run. Raises ModelError."""
    with open(path, "rb") as stream:
        is_safetensors = stream.read(9)[8:] == b"{"
    return _read_safetensors(path) if is_safetensors else _read_checkpoint(path)


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise ModelError(f"{path}: safetensors is not installed: pip install livecut[export]") from None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not readable as safetensors: {error}; copy it again") from None
    if metadata.get("kind") != KIND:
        raise ModelError(
            f"{path}: weights of another network than livecut's, and weights alone say not which: export "
            "them to ONNX with the program they are from, or give the module to livecut.export.module_source"
        )
    try:
        return weights, json.loads(metadata["config"])
    except (KeyError, ValueError) as error:
        raise ModelError(f"{path}: its configuration is missing or damaged ({error})") from None


def _read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles of another protocol than torch's own
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds, for code in a pickle and for a damaged file
        if code := code_in(path):
            raise ModelError(
                f"{path}: holds Python code ({code}) that would run when it is loaded; livecut loads "
                "tensors only: save a state_dict or safetensors, or export ONNX where you trust the file"
            ) from None
        raise ModelError(f"{path}: a damaged checkpoint ({type(error).__name__}); copy it again") from None
    if isinstance(state, dict) and state.get("format") == FORMAT and {"average", "config"} <= set(state):
        return state["average"], state["config"]
    raise ModelError(
        f"{path}: weights of another network than livecut's, and weights alone say not which: export them to "
        "ONNX with the program they are from, or give the module to livecut.export.module_source"
    )


def code_in(path: Path) -> str | None:
    """The first thing a pickle would import that tensors do not need, such as ``posix.system``; or None.

    Nothing is unpickled: the instructions are only listed.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                data = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
        else:
            data = path.read_bytes()
        words: list[str] = []
        for operation, argument, _ in pickletools.genops(data):
            if operation.name in ("SHORT_BINUNICODE", "BINUNICODE", "UNICODE"):
                words.append(str(argument))
            elif operation.name in ("GLOBAL", "INST", "STACK_GLOBAL"):
                found = argument.split(" ") if argument else words[-2:]
                if len(found) == 2 and found[0].split(".")[0] not in ("torch", "collections", "numpy"):
                    return ".".join(found)
    except (ValueError, OSError, StopIteration, zipfile.BadZipFile):
        pass  # damaged: the caller says so
    return None


def build(
    weights: Mapping[str, torch.Tensor], config: Mapping[str, Any], path: Path
) -> tuple[nn.Module, dict[str, Any]]:
    """The network of ``config`` with ``weights``, ready for export, and its manifest. Raises ModelError."""
    from .export_checkpoint import build_manifest

    try:
        network = build_network(config.get("method", "matting"), config["network"])
        network.load_state_dict(weights)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: its configuration is not of this livecut: {error}") from None
    except RuntimeError as error:  # torch lists every key; the first says enough
        line = " ".join(str(error).split())[:160]
        raise ModelError(f"{path}: weights of another network than its configuration says: {line}") from None
    sizes_wh = [(width, height) for width, height in config.get("input_sizes", SIZES_WH)]
    return build_manifest(network, config["name"], VERSION, {}, sizes_wh)
