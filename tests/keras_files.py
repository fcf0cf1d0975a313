"""Keras files as Keras 2 and 3 write them, made with h5py alone, and what TensorFlow makes of a layer."""

import io
import json
import zipfile

import numpy as np

from livecut.export.keras_file import snake_case

# -- layouts. A layer is (class, settings with a name, weights by name, names of the layers before).


def config_of(layers, *, inputs=("in",), outputs=None, sequential=False, keras3=False):
    """``class_name`` and ``config``, the calls in Keras 2's or 3's way."""

    def calls(before):
        if not before or sequential:
            return []
        if keras3:
            tensors = [
                {"class_name": "__keras_tensor__", "config": {"keras_history": [n, 0, 0]}} for n in before
            ]
            return [{"args": [tensors if len(tensors) > 1 else tensors[0]], "kwargs": {}}]
        return [[[source, 0, 0, {}] for source in before]]

    described = [
        {"class_name": kind, "config": settings, "name": settings["name"], "inbound_nodes": calls(before)}
        for kind, settings, _, before in layers
    ]
    if sequential:
        return {"class_name": "Sequential", "config": {"name": "model", "layers": described}}
    ends = {
        "input_layers": [[name, 0, 0] for name in inputs],
        "output_layers": [[name, 0, 0] for name in outputs or [layers[-1][1]["name"]]],
    }
    if keras3:  # a single one stands without the outer list
        ends = {key: value[0] if len(value) == 1 else value for key, value in ends.items()}
    kind = "Functional" if keras3 else "Model"
    return {"class_name": kind, "config": {"name": "model", "layers": described, **ends}}


def _write_named(group, layers):
    group.attrs["layer_names"] = [settings["name"].encode() for _, settings, _, _ in layers]
    group.attrs["backend"], group.attrs["keras_version"] = b"tensorflow", b"2.11.0"
    for _, settings, arrays, _ in layers:
        layer = group.create_group(settings["name"])
        names = [f"{settings['name']}/{name}:0" for name in arrays]
        layer.attrs["weight_names"] = [name.encode() for name in names]
        for name, array in zip(names, arrays.values(), strict=True):
            layer[name] = np.asarray(array, np.float32)


def _write_numbered(file, layers):
    """As Keras 3: a group for each class with a number, the weights called 0, 1, ..."""
    seen = {}
    root = file.create_group("layers")
    for kind, _, arrays, _ in layers:
        base = snake_case(kind)
        seen[base] = seen.get(base, -1) + 1
        variables = root.create_group(f"{base}_{seen[base]}" if seen[base] else base).create_group("vars")
        for index, array in enumerate(arrays.values()):
            variables[str(index)] = np.asarray(array, np.float32)


def write(path, layers, **how):
    """A whole model as Keras 2's ``model.save("x.h5")`` writes it."""
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config_of(layers, **how)).encode()
        file.attrs["keras_version"] = b"2.11.0"
        _write_named(file.create_group("model_weights"), layers)
    return path


def write_weights(path, layers):
    """Keras 2's ``model.save_weights("x.h5")``."""
    import h5py

    with h5py.File(path, "w") as file:
        _write_named(file, layers)
    return path


def write_weights3(path, layers):
    """Keras 3's ``model.save_weights("x.weights.h5")``."""
    import h5py

    with h5py.File(path, "w") as file:
        _write_numbered(file, layers)
    return path


def write_archive(path, layers, **how):
    """Keras 3's ``model.save("x.keras")``."""
    import h5py

    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        _write_numbered(file, layers)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.4.1"}))
        archive.writestr("config.json", json.dumps(config_of(layers, keras3=True, **how)))
        archive.writestr("model.weights.h5", data.getvalue())
    return path


def start(size=(16, 16), channels=3, name="in"):
    return ("InputLayer", {"name": name, "batch_input_shape": [None, size[1], size[0], channels]}, {}, ())


def window(name, **settings):
    """Settings of a layer with a window, Keras's defaults filled in."""
    base = {"name": name, "data_format": "channels_last", "padding": "same", "strides": [1, 1]}
    base |= {"dilation_rate": [1, 1], "activation": "linear", "use_bias": True}
    return {**base, **settings}


def generator(rng, *, norm_first=False, channels=(64, 128, 256), key_shape=(3, 3), size=256):
    """The article's generator: 3x3 convolutions, LeakyReLU 0.2, batch normalisation, tanh."""
    layers, before, width = [start((size, size))], "in", 3
    for index, count in enumerate(channels):
        spread = 1 / np.sqrt(9 * width)
        kernel = rng.normal(0, spread, (*key_shape, width, count))
        weights = {"kernel": kernel, "bias": rng.normal(0, 0.1, count)}
        name = f"conv2d_{index}" if index else "conv2d"
        layers.append(
            ("Conv2D", window(name, kernel_size=list(key_shape), filters=count), weights, (before,))
        )
        leaky = ("LeakyReLU", {"name": f"leaky_re_lu_{index}", "alpha": 0.2}, {})
        statistics = {
            "gamma": rng.uniform(0.5, 1.5, count),
            "beta": rng.normal(0, 0.1, count),
            "moving_mean": rng.normal(0, 0.1, count),
            "moving_variance": rng.uniform(0.5, 1.5, count),
        }
        norm = ("BatchNormalization", {"name": f"batch_normalization_{index}", "epsilon": 1e-3}, statistics)
        for part in (norm, leaky) if norm_first else (leaky, norm):
            layers.append((*part, (layers[-1][1]["name"],)))
        before, width = layers[-1][1]["name"], count
    weights = {"kernel": rng.normal(0, 0.05, (*key_shape, width, 3)), "bias": np.zeros(3)}
    last = window("conv2d_9", kernel_size=list(key_shape), filters=3, activation="tanh")
    return [*layers, ("Conv2D", last, weights, (before,))]


def generator_of(torch_generator, *, epsilon=None):
    """The layers of a generator that livecut trained with PyTorch.

    Keras takes 1e-3 for ``epsilon``, the number that batch normalisation adds to the variance, where nothing
    says otherwise: with it given, the variances make up for the difference.
    """

    def array(tensor):
        return tensor.detach().cpu().numpy()

    def convolution(name, module, activation, before):
        weights = {"kernel": array(module.weight).transpose(2, 3, 1, 0), "bias": array(module.bias)}
        settings = window(name, kernel_size=[3, 3], filters=module.out_channels, activation=activation)
        return ("Conv2D", settings, weights, (before,))

    layers = [start((256, 256))]
    for index, module in enumerate([*torch_generator.features, torch_generator.paint]):
        kind, name, before = type(module).__name__, f"layer_{index}", layers[-1][1]["name"]
        if kind == "Conv2d":
            last = module is torch_generator.paint
            layers.append(convolution(name, module, "tanh" if last else "linear", before))
        elif kind == "LeakyReLU":
            layers.append(("LeakyReLU", {"name": name, "alpha": module.negative_slope}, {}, (before,)))
        else:
            taken = module.eps if epsilon is None else epsilon
            statistics = {
                "gamma": array(module.weight),
                "beta": array(module.bias),
                "moving_mean": array(module.running_mean),
                "moving_variance": array(module.running_var) + (module.eps - taken),
            }
            settings = {"name": name, "epsilon": taken}
            layers.append(("BatchNormalization", settings, statistics, (before,)))
    return layers


# -- TensorFlow's arithmetic on (h, w, c), in loops


def conv(x, kernel, *, stride=1, rate=1, padding="same", depthwise=False):
    """As tf.nn.conv2d and depthwise_conv2d: "same" pads the odd pixel at the end."""
    kh, kw = ((side - 1) * rate + 1 for side in kernel.shape[:2])
    if padding == "same":
        total = [
            max((-(-n // stride) - 1) * stride + k - n, 0) for n, k in zip(x.shape, (kh, kw), strict=False)
        ]
        x = np.pad(x, [(t // 2, t - t // 2) for t in total] + [(0, 0)])
    rows, columns = (x.shape[0] - kh) // stride + 1, (x.shape[1] - kw) // stride + 1
    out = []
    for row in range(rows):
        for column in range(columns):
            part = x[row * stride : row * stride + kh : rate, column * stride : column * stride + kw : rate]
            subscripts = "hwc,hwcm->cm" if depthwise else "hwi,hwio->o"
            out.append(np.einsum(subscripts, part, kernel).ravel())
    return np.array(out).reshape(rows, columns, -1)


def conv_transpose(x, kernel, *, stride, padding="same"):
    """As tf.nn.conv2d_transpose: the gradient of ``conv``, by its definition."""
    kh, kw, outputs, _ = kernel.shape
    h, w = x.shape[:2]
    full = np.zeros((h * stride + max(kh - stride, 0), w * stride + max(kw - stride, 0), outputs))
    for row in range(h):
        for column in range(w):
            spread = np.einsum("hwoi,i->hwo", kernel, x[row, column])
            full[row * stride : row * stride + kh, column * stride : column * stride + kw] += spread
    if padding != "same":
        return full
    top, left = max(kh - stride, 0) // 2, max(kw - stride, 0) // 2
    return full[top : top + h * stride, left : left + w * stride]
