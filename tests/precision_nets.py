"""Small networks and pictures for the tests of FP16, INT8 and OpenVINO."""

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def tensor(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def picture(name="image", height="height", width="width"):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, height, width])


def plane(name):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, "height", "width"])


def model(nodes, weights, *, inputs=(), outputs=(), opset=17):
    graph = helper.make_graph(
        nodes, "net", list(inputs) or [picture()], list(outputs) or [plane("alpha")], weights
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made


def conv(name, source, target, weight, bias=None, **attributes):
    """A node and its weights; padded to keep the size, unless ``pads`` says otherwise."""
    weight = np.asarray(weight, np.float32)
    side = weight.shape[2]
    attributes = {"kernel_shape": [side, side], "pads": [side // 2] * 4, **attributes}
    names = [f"{name}.weight"] + ([f"{name}.bias"] if bias is not None else [])
    weights = [tensor(names[0], weight)]
    if bias is not None:
        weights.append(tensor(names[1], np.asarray(bias, np.float32)))
    return helper.make_node("Conv", [source, *names], [target], name=name, **attributes), weights


def cutter(seed=3, channels=8, spoilt=0.0):
    """Three convolutions, a residual sum, a resize there and back and a sigmoid: bright is subject.

    ``spoilt`` adds to the second convolution a channel of that size, which the third subtracts again: rounded
    to a byte it drowns everything else.
    """
    rng = np.random.default_rng(seed)
    first = rng.normal(0, 0.05, (channels, 3, 3, 3))
    first[0] = 1 / 27
    middle = rng.normal(0, 0.03, (channels, channels, 3, 3))
    middle[0, 0, 1, 1] += 1
    last = rng.normal(0, 0.02, (1, channels, 3, 3))
    last[0, 0] += 0.5
    shift = np.zeros(channels)
    if spoilt:
        middle[1], shift[1], last[0, 1] = 0, spoilt, 0
        last[0, 1, 1, 1] = 8 / spoilt
    nodes, weights = [], []
    for name, source, target, weight, bias in (
        ("first", "image", "a", first, np.zeros(channels)),
        ("middle", "ar", "b", middle, shift),
        ("last", "up", "logit", last, [-10.0 if spoilt else -2.0]),
    ):
        node, own = conv(name, source, target, weight, bias)
        nodes.append(node)
        weights += own
    weights += [
        tensor("half", np.float32([1, 1, 0.5, 0.5])),
        tensor("twice", np.float32([1, 1, 2, 2])),
        tensor("gain", np.float32(4)),
    ]
    linear = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    order = [
        nodes[0],
        helper.make_node("Relu", ["a"], ["ar"], name="relu"),
        nodes[1],
        helper.make_node("Add", ["b", "ar"], ["sum"], name="add"),
        helper.make_node("Resize", ["sum", "", "half"], ["down"], name="shrink", **linear),
        helper.make_node("Resize", ["down", "", "twice"], ["up"], name="enlarge", **linear),
        nodes[2],
        helper.make_node("Mul", ["logit", "gain"], ["steep"], name="steepen"),
        helper.make_node("Sigmoid", ["steep"], ["alpha"], name="sigmoid"),
    ]
    return model(order, weights)


def remembering(seed=5):
    """A convolution whose logit is mixed with the alpha of the frame before, which is its state."""
    rng = np.random.default_rng(seed)
    look, own = conv("look", "image", "logit", rng.normal(0.3, 0.1, (1, 3, 3, 3)), [0.0])
    recall, more = conv("recall", "memory", "recalled", [[[[2.0]]]])
    nodes = [
        look,
        recall,
        helper.make_node("Add", ["logit", "recalled"], ["mixed"], name="mix"),
        helper.make_node("Sigmoid", ["mixed"], ["alpha"], name="sigmoid"),
        helper.make_node("Identity", ["alpha"], ["memory_after"], name="keep"),
    ]
    return model(
        nodes,
        own + more,
        inputs=[picture(), plane("memory")],
        outputs=[plane("alpha"), plane("memory_after")],
    )


STATE = ({"input": "memory", "output": "memory_after", "shape": [1, 1, "height", "width"]},)


def saved(made, path):
    path.write_bytes(made.SerializeToString())
    return path


def inputs(count=3, height=32, width=48, seed=9):
    """Frames in -1..1 with something bright in them."""
    rng = np.random.default_rng(seed)
    frames = rng.uniform(-1, 0, (count, 1, 3, height, width)).astype(np.float32)
    for index, frame in enumerate(frames):
        frame[..., 8:24, 8 + index : 28 + index] += 0.9
    return [{"image": frame} for frame in frames]


def write_pictures(folder, count=24, masks=True, size_wh=(64, 48), prefix="p"):
    """A data set as ``images/`` and ``masks/``: a bright rectangle on dim, noisy ground, each elsewhere."""
    rng = np.random.default_rng(11)
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    width, height = size_wh
    for index in range(count):
        pixels = rng.integers(0, 90, (height, width, 3)).astype(np.uint8)
        x, y = rng.integers(4, width // 2), rng.integers(4, height // 2)
        pixels[y : y + height // 3, x : x + width // 3] += 150
        mask = np.zeros((height, width), np.uint8)
        mask[y : y + height // 3, x : x + width // 3] = 255
        cv2.imwrite(str(folder / "images" / f"{prefix}{index:03}.png"), pixels)
        if masks:
            cv2.imwrite(str(folder / "masks" / f"{prefix}{index:03}.png"), mask)
    return folder


def beside_plate(seed=7, channels=8):
    """Two convolutions look at a picture, a third at how its features differ from those of the plate."""
    rng = np.random.default_rng(seed)
    first = rng.normal(0, 0.05, (channels, 3, 3, 3))
    first[0] = 1 / 27
    last = rng.normal(0, 0.02, (1, channels, 3, 3))
    last[0, 0] += 1.2
    nodes, weights = [], []
    for name, source, target, weight, bias in (
        ("look", "image", "seen", first, np.zeros(channels)),
        ("judge", "change", "logit", last, [-3.0]),
    ):
        node, own = conv(name, source, target, weight, bias)
        nodes.append(node)
        weights += own
    weights += [tensor("nothing", np.zeros((1, 1, 1, 1), np.float32)), tensor("gain", np.float32(4))]
    weights.append(tensor("one", np.ones((1, 1, 1, 1), np.float32)))
    order = [
        nodes[0],
        helper.make_node("Sub", ["plate", "seen"], ["older"], name="older"),
        helper.make_node("Mul", ["older", "known"], ["kept"], name="keep"),
        helper.make_node("Add", ["seen", "kept"], ["plate_kept"], name="plate"),
        helper.make_node("Sub", ["seen", "plate_kept"], ["difference"], name="compare"),
        helper.make_node("Abs", ["difference"], ["change"], name="change"),
        nodes[1],
        helper.make_node("Mul", ["logit", "gain"], ["steep"], name="steepen"),
        helper.make_node("Sigmoid", ["steep"], ["alpha"], name="sigmoid"),
        helper.make_node("Mul", ["known", "nothing"], ["zero"], name="forget"),
        helper.make_node("Add", ["zero", "one"], ["known_kept"], name="know"),
    ]

    def features(name):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, "height", "width"])

    known = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 1, 1, 1]) for n in ("known", "known_kept")
    ]
    return model(
        order,
        weights,
        inputs=[picture(), features("plate"), known[0]],
        outputs=[plane("alpha"), features("plate_kept"), known[1]],
    )


def plate_state(channels=8):
    """The state of ``beside_plate``."""
    return (
        {"input": "plate", "output": "plate_kept", "shape": [1, channels, "height", "width"]},
        {"input": "known", "output": "known_kept", "shape": [1, 1, 1, 1]},
    )


def write_scenes(folder, count=24, masks=True, size_wh=(64, 48)):
    """Scenes as ``N_i.png``, its plate ``N_p.png`` (each place is another) and its alpha ``N_a.png``."""
    rng = np.random.default_rng(13)
    folder.mkdir(parents=True)
    width, height = size_wh
    for index in range(count):
        coarse = rng.integers(0, 200, (6, 8, 3)).astype(np.uint8)
        plate = cv2.resize(coarse, size_wh, interpolation=cv2.INTER_LINEAR)
        x, y = rng.integers(4, width // 2), rng.integers(4, height // 2)
        mask = np.zeros((height, width), np.uint8)
        mask[y : y + height // 3, x : x + width // 3] = 255
        image = np.where(mask[..., None] > 0, 255 - plate // 4, plate).astype(np.uint8)
        named = {"i": image, "p": plate, **({"a": mask} if masks else {})}
        for kind, pixels in named.items():
            cv2.imwrite(str(folder / f"{index:03}_{kind}.png"), pixels)
    return folder
