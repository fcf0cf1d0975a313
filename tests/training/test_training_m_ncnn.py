"""The second encoder of livecut-m: its shapes, and what is read from ncnn's files."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F

from livecut.training.model import ncnn_weights
from livecut.training.model.shufflenet import CHANNELS, Shuffle, ShuffleNet

REAL = Path(__file__).parents[3] / "shared/data/weights/nanodet_m_coco_ncnn_fp16/nanodet_m.param"
MEANS_BY_NCNN = [0.1044742, 0.0753568, 0.0372411]
"""Mean sizes of the features 492, 623 and 690 of the file, as ncnn 1.0.20261020 computes them in float32."""
GRAPH = """7767517
4 4
Input                    image    0 1 image
Convolution              dense    1 1 image a 0=2 1=3 3=2 4=1 5=1 6=54 9=2 -23310=1,1.000000e-01
Pooling                  pool     1 1 a b 0=0 1=3 2=2 3=1 5=1
ConvolutionDepthWise     own      1 1 b c 0=2 1=1 11=3 6=6 7=2
"""


@pytest.fixture
def numbers(rng):
    dense = rng.normal(size=(2, 3, 3, 3)).astype(np.float16)
    return dense, rng.normal(size=2).astype(np.float32), rng.normal(size=(2, 1, 3, 1)).astype(np.float32)


@pytest.fixture
def files(tmp_path, numbers):
    """A small .param with its .bin: one convolution in float16 with bias, one in float32 without."""
    dense, bias, own = numbers
    path = tmp_path / "net.param"
    path.write_text(GRAPH)
    half, full = ncnn_weights.HALF.to_bytes(4, "little"), bytes(4)
    path.with_suffix(".bin").write_bytes(half + dense.tobytes() + bias.tobytes() + full + own.tobytes())
    return path


def test_weights_are_read_in_order_whatever_their_type(files, numbers):
    (dense, bias), (own, nothing) = ncnn_weights.convolutions(files)
    assert (dense == numbers[0].astype(np.float32)).all()
    assert (bias == numbers[1]).all()
    assert (own == numbers[2]).all()
    assert not nothing.any()


def test_float16_weights_are_padded_to_four_bytes(tmp_path):
    path = tmp_path / "odd.param"
    path.write_text("7767517\n1 1\nConvolution one 1 1 a b 0=3 1=1 5=1 6=3\n")
    weight, bias = np.array([1, 2, 3], "<f2"), np.array([4, 5, 6], "<f4")
    half = ncnn_weights.HALF.to_bytes(4, "little")
    path.with_suffix(".bin").write_bytes(half + weight.tobytes() + bytes(2) + bias.tobytes())
    ((got, got_bias),) = ncnn_weights.convolutions(path)
    assert got.ravel().tolist() == [1, 2, 3]
    assert got_bias.tolist() == [4, 5, 6]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda text, data: ("PK" + text, data), r"net\.param: expected ncnn's \.param text"),
        (lambda text, data: (text, data[:-1]), r"net\.bin: own: cut short"),
        (lambda text, data: (text, data + bytes(4)), r"net\.bin: \d+ bytes, expected \d+"),
        (
            lambda text, data: (text, b"abcd" + data[4:]),
            r"net\.bin: dense: expected float32 or float16.*mark",
        ),
        (lambda text, data: (text.replace("Pooling", "LSTM"), data), r"net\.param: pool is of kind LSTM"),
        (lambda text, data: (text.replace(" 6=54", ""), data), r"net\.bin: dense: '6'"),
    ],
)
def test_damaged_and_foreign_files_are_named(files, change, expected):
    text, data = change(files.read_text(), files.with_suffix(".bin").read_bytes())
    files.write_text(text)
    files.with_suffix(".bin").write_bytes(data)
    with pytest.raises(ValueError, match=expected):
        ncnn_weights.convolutions(files)


def test_weights_of_another_network_are_refused(files, tmp_path):
    with pytest.raises(ValueError, match="2 convolutions, the encoder needs 55"):
        ncnn_weights.load_shufflenet(ShuffleNet(), files)


def test_a_picture_as_livecut_feeds_it_gives_what_the_files_own_input_would(rng):
    weight, bias = rng.normal(size=(4, 3, 3, 3)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    rgb = rng.uniform(0, 255, (1, 3, 20, 24)).astype(np.float32)
    mean, std = (np.reshape(v, (1, 3, 1, 1)) for v in (ncnn_weights.MEAN_BGR, ncnn_weights.STD_BGR))
    theirs = torch.from_numpy(((rgb[:, ::-1] - mean) / std).astype(np.float32))
    expected = F.conv2d(theirs, torch.from_numpy(weight), torch.from_numpy(bias))
    folded, offset = ncnn_weights._for_our_input(weight, bias)
    got = F.conv2d(torch.from_numpy(rgb / 127.5 - 1), torch.from_numpy(folded), torch.from_numpy(offset))
    assert got.allclose(expected, atol=1e-4)


def test_features_lie_at_an_eighth_a_sixteenth_and_a_thirty_second():
    with torch.no_grad():
        features = ShuffleNet()(torch.zeros(1, 3, 64, 96))
    assert [tuple(feature.shape[1:]) for feature in features] == [
        (CHANNELS[0], 8, 12),
        (CHANNELS[1], 4, 6),
        (CHANNELS[2], 2, 3),
    ]


def test_a_shuffle_is_that_of_two_groups():
    x = torch.randn(1, 8, 2, 3)
    assert Shuffle(8)(x).equal(F.channel_shuffle(x, 2))


@pytest.mark.skipif(not REAL.is_file(), reason=f"{REAL.name} is not in ../shared/data")
def test_the_detectors_file_gives_the_features_that_ncnn_computes():
    """On one picture as the file wants it; ``ncnn_weights`` compares every value, where ncnn is installed."""
    encoder = ShuffleNet().eval()
    ncnn_weights._fill(encoder, ncnn_weights.convolutions(REAL), REAL)
    y, x = np.mgrid[0:64, 0:96].astype(np.float32)
    image = np.stack([np.sin(x / 5), np.cos(y / 7), np.sin((x + y) / 9)])[None]
    with torch.no_grad():
        means = [feature.abs().mean().item() for feature in encoder(torch.from_numpy(image))]
    assert means == pytest.approx(MEANS_BY_NCNN, rel=1e-4)
