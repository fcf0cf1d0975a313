"""Small ONNX networks in a precision: what an exporter would give to TensorRT."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TYPES = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16}
ARRAYS = {"fp32": np.float32, "fp16": np.float16}


def write_network(path, precision="fp16", *, convolutions=4, kept=(), dynamic=True):
    """Write a chain of convolutions, ``image`` to ``alpha``; those numbered in ``kept`` stay fp32.

    With ``int8``, every convolution that is not kept reads through QuantizeLinear and DequantizeLinear.
    """
    rng = np.random.default_rng(5)
    nodes, weights, value, at = [], [], "image", "fp32"

    def cast(name, to):
        nodes.append(
            helper.make_node("Cast", [name], [f"{name}_{to}"], name=f"cast_{name}_{to}", to=TYPES[to])
        )
        return f"{name}_{to}"

    for index in range(convolutions):
        wanted = "fp16" if precision == "fp16" and index not in kept else "fp32"
        if wanted != at:
            value, at = cast(value, wanted), wanted
        inputs, outputs = (3, 4) if index == 0 else (4, 1) if index == convolutions - 1 else (4, 4)
        weight = rng.normal(0, 0.2, (outputs, inputs, 3, 3)).astype(ARRAYS[wanted])
        weights.append(numpy_helper.from_array(weight, f"weight_{index}"))
        weight_name = f"weight_{index}"
        if precision == "int8" and index not in kept:
            value = _quantised(nodes, weights, value, f"value_{index}", 0.02)
            weights[-3] = numpy_helper.from_array((weight / 0.01).astype(np.int8), f"weight_{index}")
            nodes.append(
                helper.make_node("DequantizeLinear", [f"weight_{index}", f"value_{index}_scale",
                                                      f"value_{index}_zero"], [f"weight_{index}_dq"],
                                 name=f"weight_dq_{index}")
            )  # fmt: skip
            weight_name = f"weight_{index}_dq"
        nodes.append(
            helper.make_node(
                "Conv", [value, weight_name], [f"conv_{index}"], name=f"conv_{index}", pads=[1] * 4
            )
        )
        nodes.append(helper.make_node("Sigmoid", [f"conv_{index}"], [f"act_{index}"], name=f"act_{index}"))
        value = f"act_{index}"
    if at != "fp32":
        value = cast(value, "fp32")
    nodes[-1].output[0] = "alpha"
    size = ("height", "width") if dynamic else (32, 64)
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, *size))],
        [helper.make_tensor_value_info("alpha", TensorProto.FLOAT, (1, 1, *size))],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    return path


def _quantised(nodes, weights, value, name, scale):
    weights += [
        numpy_helper.from_array(np.float32(scale), f"{name}_scale"),
        numpy_helper.from_array(np.int8(0), f"{name}_zero"),
    ]
    parameters = [f"{name}_scale", f"{name}_zero"]
    nodes.append(helper.make_node("QuantizeLinear", [value, *parameters], [f"{name}_q"], name=f"q_{name}"))
    nodes.append(
        helper.make_node("DequantizeLinear", [f"{name}_q", *parameters], [f"{name}_dq"], name=f"dq_{name}")
    )
    return f"{name}_dq"
