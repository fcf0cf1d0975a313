"""Which steps lead to a target."""

from __future__ import annotations

from ..engine.errors import UsageError
from .steps import Step
from .steps_export import Export
from .steps_onnx import onnx_step


def plan(export: Export) -> list[Step]:
    """The steps to ``export.options.target``, in order; the last ones make what was asked for.

    What a step needs and is not here, packages and pictures, is missed now and not after minutes of work.

    Raises
    ------
    UsageError
        If INT8 is wanted without pictures to calibrate on.
    DeviceUnavailable
        If a package is not installed.
    """
    options, steps = export.options, [onnx_step(export)]
    if options.target == "onnx":
        return steps
    from .steps_graph import fp16_step, int8_step

    if options.needs == "fp16" and options.target in ("fp16", "tensorrt"):
        steps.append(fp16_step(export))
    if options.needs == "int8":
        if not export.calibrate:
            raise UsageError(
                "INT8 is calibrated on pictures of what will be cut out: give a folder, --calibrate FOLDER "
                "(some hundred pictures from the camera itself are best)"
            )
        steps.append(int8_step(export))
    if options.target in ("openvino", "tensorrt"):
        from .steps_engines import openvino_step, tensorrt_step

        source = steps[-1]
        if options.target == "openvino":
            steps.append(openvino_step(export, source))
        else:
            steps += [tensorrt_step(export, source, device) for device in options.devices or (None,)]
    return steps
