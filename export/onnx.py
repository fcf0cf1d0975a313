"""A torch module to an ONNX file with a dynamic height and width."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

OPSET = 17


def export_onnx(module: nn.Module, path: Path, *, height: int, width: int, opset: int = OPSET) -> None:
    """Write ``module`` as ONNX: ``image`` (1, 3, height, width) in, ``alpha`` (1, 1, height, width) out.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode; maps one tensor to one tensor.
    path : Path
        The file to write.
    height, width : int
        Size of the example the module is traced with. In the file both axes are dynamic.

    Raises
    ------
    ValueError
        If the module is in training mode.
    onnx.checker.ValidationError
        If what was written is not valid ONNX.
    """
    import onnx
    import torch

    if module.training:
        raise ValueError("module: expected evaluation mode, got training mode; call module.eval() first")
    with warnings.catch_warnings(), torch.no_grad():
        # The tracing exporter is deprecated; the newer one needs a package of its own and names nodes worse.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.zeros(1, 3, height, width),),
            str(path),
            input_names=["image"],
            output_names=["alpha"],
            dynamic_axes={"image": {2: "height", 3: "width"}, "alpha": {2: "height", 3: "width"}},
            opset_version=opset,
            dynamo=False,
        )
    model = onnx.load(str(path))
    onnx.checker.check_model(model, full_check=True)
