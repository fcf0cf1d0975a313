"""Keras models in HDF5 as Keras 2 writes them, made with h5py alone, and what TensorFlow makes of a layer."""

import json

import numpy as np


def write(path, layers, *, inputs=("in",), outputs=None, sequential=False):
    """``layers``: (class, settings with a name, weights by name, names of the layers before)."""
    import h5py

    described = [
        {
            "class_name": kind,
            "config": settings,
            "name": settings["name"],
            "inbound_nodes": [[[source, 0, 0, {}] for source in before]] if before else [],
        }
        for kind, settings, _, before in layers
    ]
    last = outputs or [layers[-1][1]["name"]]
    config = {
        "class_name": "Sequential" if sequential else "Model",
        "config": {
            "name": "model",
            "layers": described,
            "input_layers": [[name, 0, 0] for name in inputs],
            "output_layers": [[name, 0, 0] for name in last],
        },
    }
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        weights = file.create_group("model_weights")
        for _, settings, arrays, _ in layers:
            group = weights.create_group(settings["name"])
            names = [f"{settings['name']}/{name}:0" for name in arrays]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, array in zip(names, arrays.values(), strict=True):
                group[name] = np.asarray(array, np.float32)
    return path


def start(size=(16, 16), channels=3, name="in"):
    return ("InputLayer", {"name": name, "batch_input_shape": [None, size[1], size[0], channels]}, {}, ())


def window(name, **settings):
    """Settings of a layer with a window, Keras's defaults filled in."""
    base = {"name": name, "data_format": "channels_last", "padding": "same", "strides": [1, 1]}
    base |= {"dilation_rate": [1, 1], "activation": "linear", "use_bias": True}
    return {**base, **settings}


# -- TensorFlow's arithmetic on (h, w, c), in loops


def conv(x, kernel, *, stride=1, padding="same", depthwise=False):
    """As tf.nn.conv2d and depthwise_conv2d: "same" pads the odd pixel at the end."""
    kh, kw = kernel.shape[:2]
    if padding == "same":
        total = [
            max((-(-n // stride) - 1) * stride + k - n, 0) for n, k in zip(x.shape, (kh, kw), strict=False)
        ]
        x = np.pad(x, [(t // 2, t - t // 2) for t in total] + [(0, 0)])
    rows, columns = (x.shape[0] - kh) // stride + 1, (x.shape[1] - kw) // stride + 1
    out = []
    for row in range(rows):
        for column in range(columns):
            part = x[row * stride : row * stride + kh, column * stride : column * stride + kw]
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
