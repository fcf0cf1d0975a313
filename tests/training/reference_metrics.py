"""Prints what other people's metrics say of the cases in ``metric_cases.py``.

The figures in ``test_training_metrics_reference.py`` came from this. Both packages pin versions of NumPy and
OpenCV that livecut does not use, so they are only unpacked, and of MMagic only three functions are loaded:

    pip download --no-deps pysodmetrics==1.6.2 mmagic==1.2.0
    python tests/training/reference_metrics.py pysodmetrics-1.6.2-*.whl mmagic-1.2.0-*.whl

Needs numpy, scipy, scikit-image and opencv.
"""

import re
import sys
import types
import warnings
import zipfile
from unittest import mock

import numpy as np
from metric_cases import cases


def mmagic_metric(wheel, file, name, extra):
    """The class ``name`` of an MMagic metric, cut free of its framework."""
    source = zipfile.ZipFile(wheel).read(f"mmagic/evaluation/metrics/{file}").decode()
    source = re.sub(r"^(from (mm|\.|torch)|import torch).*\n", "", source, flags=re.MULTILINE)
    source = source.replace("@METRICS.register_module()", "").replace("BaseSampleWiseMetric", "Base")

    class Base:
        def __init__(self):
            self.results = []

    scope = {"Base": Base, "List": list, "Sequence": list, "average": None, "DataLoader": object}
    scope |= {"nn": types.SimpleNamespace(Module=object), "_fetch_data_and_check": lambda case: case, **extra}
    exec(compile(source, file, "exec"), scope)
    return scope[name]


def main():
    pysod, mmagic = sys.argv[1:]
    sys.path.insert(0, pysod)
    for name in (
        "sklearn",
        "sklearn.neighbors",
        "sklearn.preprocessing",
        "sklearn.cluster",
        "sklearn.metrics",
    ):
        sys.modules.setdefault(name, mock.MagicMock())
    warnings.simplefilter("ignore")
    import py_sod_metrics

    functions = {}
    exec(zipfile.ZipFile(mmagic).read("mmagic/evaluation/functional/gaussian_funcs.py"), functions)
    grad = mmagic_metric(mmagic, "gradient_error.py", "GradientError", functions)
    conn = mmagic_metric(mmagic, "connectivity_error.py", "ConnectivityError", {})
    every = py_sod_metrics.Fmeasure()
    for predicted, alpha in cases():
        truth = alpha >= 0.5
        error, structure = py_sod_metrics.MAE(), py_sod_metrics.Smeasure()
        for metric in (error, structure, every):
            metric.step(predicted, truth, normalize=False)
        figures = [error.get_results()["mae"], structure.get_results()["sm"], every.changeable_fms[-1].max()]
        for metric, key in ((grad(), "grad_err"), (conn(), "conn_err")):
            metric.process(None, [(predicted, alpha, np.full(alpha.shape, 128))])
            figures.append(metric.results[0][key])
        print("    (" + ", ".join(f"{float(figure):.9f}" for figure in figures) + "),")
    print(f"max F of the mean curve: {every.get_results()['fm']['curve'].max():.9f}")


if __name__ == "__main__":
    main()
