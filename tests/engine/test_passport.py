"""Passports: what is written is what is read, and every way in which an artefact is not what it was."""

import json

import pytest

from livecut.engine.atomic import replacing, sha256_of
from livecut.engine.errors import ModelError, PassportError
from livecut.engine.passport import Passport

PROFILE = {"image": {"min": [1, 3, 32, 32], "opt": [1, 3, 288, 512], "max": [1, 3, 512, 512]}}


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"a network")
    return path


@pytest.fixture
def artefact(tmp_path):
    path = tmp_path / "model.plan"
    path.write_bytes(bytes(range(256)) * 8)
    return path


def issue(artefact, source, **changes):
    values = {
        "target": "tensorrt",
        "library": "tensorrt_rtx",
        "library_version": "1.7.1.116",
        "driver": "580.65.06",
        "compute_capability": "8.6",
        "precision_asked": "fp16",
        "precision_found": "fp16",
        "precision_evidence": "parsed network",
        "shapes": PROFILE,
        "layers": {"fp16": 120, "fp32": 1},
        "kept_higher": ["/head/Sigmoid"],
        "parity": {"max_abs": 0.001},
        "build_seconds": 0.15,
        "command": "livecut export",
        **changes,
    }
    return Passport.issue(artefact, source, **values)


def test_a_passport_is_read_as_it_was_written(artefact, source):
    passport = issue(artefact, source, extra={"workspace_bytes": 1 << 30, "tuple": (1, 2)})
    path = passport.write(artefact)
    assert path.name == "model.plan.passport.json"
    assert Passport.read(artefact) == Passport.read(path) == passport
    assert passport.sha256 == sha256_of(artefact)
    assert passport.source_sha256 == sha256_of(source)
    assert passport.size_bytes == 2048
    assert passport.check(artefact, source) == []


def test_what_is_here_and_as_it_was_made_is_usable(artefact, source):
    here = {
        "library": "tensorrt_rtx",
        "library_version": "1.7.1.116",
        "driver": "580.65.06",
        "compute_capability": "8.6",
        "precision": "fp16",
        "shapes": {"image": (1, 3, 288, 512)},
    }
    assert issue(artefact, source).differences(**here) == []


@pytest.mark.parametrize(
    ("here", "problem"),
    [
        ({"library": "tensorrt"}, "made by tensorrt_rtx, here is tensorrt"),
        (
            {"library": "tensorrt_rtx", "library_version": "1.8.0"},
            "made by tensorrt_rtx 1.7.1.116, here is 1.8.0",
        ),
        ({"driver": "590.1"}, "made under NVIDIA driver 580.65.06, here is 590.1"),
        ({"compute_capability": "12.0"}, "made for compute capability 8.6, here is 12.0"),
        ({"precision": "int8"}, "built at fp16, wanted is int8"),
        (
            {"shapes": {"image": (1, 3, 544, 512)}},
            "image: takes 1x3x32x32 to 1x3x512x512, wanted is 1x3x544x512",
        ),
        ({"shapes": {"image": (3, 64, 64)}}, "image: takes 1x3x32x32 to 1x3x512x512, wanted is 3x64x64"),
        ({"shapes": {"state": (1,)}}, "state: takes nothing of that name, wanted is 1"),
    ],
)
def test_each_thing_that_is_another_here_is_said_in_a_line(artefact, source, here, problem):
    assert issue(artefact, source).differences(**here) == [problem]


def test_fixed_shapes_must_be_equal(artefact, source):
    passport = issue(artefact, source, shapes={"image": (1, 3, 32, 64)})
    assert passport.differences(shapes={"image": (1, 3, 32, 64)}) == []
    assert passport.differences(shapes={"image": (1, 3, 64, 32)}) == [
        "image: takes 1x3x32x64, wanted is 1x3x64x32"
    ]


def test_an_engine_for_several_gpus_is_for_each_of_them(artefact, source):
    passport = issue(artefact, source, compute_capability="8.6,8.9, 12.0", driver=None)
    assert passport.compute_capabilities == ("8.6", "8.9", "12.0")
    assert passport.differences(compute_capability="12.0", driver="any") == []
    assert passport.differences(compute_capability="7.5") != []


def test_another_source_is_seen(artefact, source):
    passport = issue(artefact, source)
    source.write_bytes(b"another network")
    (problem,) = passport.check(artefact, source)
    assert problem.startswith("made from another model.onnx: sha256 ")
    assert passport.differences(source_sha256="0" * 64)[0].endswith("the one here has 000000000000...")
    source.unlink()
    assert passport.check(artefact, source) == [f"{source}: cannot be read: No such file or directory"]


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda path: path.write_bytes(b""), "model.plan: empty"),
        (
            lambda path: path.write_bytes(path.read_bytes()[:1000]),
            "model.plan: cut short: 1000 of 2048 bytes",
        ),
        (lambda path: path.unlink(), "model.plan: missing"),
        (lambda path: (path.unlink(), path.mkdir()), "model.plan: cannot be read: Is a directory"),
    ],
)
def test_damage_is_named(artefact, source, damage, problem):
    passport = issue(artefact, source)
    damage(artefact)
    assert passport.check(artefact) == [problem]


def test_every_flipped_bit_is_caught_before_the_bytes_are_given_out(artefact, source, rng):
    passport = issue(artefact, source)
    whole = artefact.read_bytes()
    assert passport.verified_bytes(artefact) == whole
    for bit in rng.choice(len(whole) * 8, 50, replace=False).tolist():
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << (bit % 8)
        artefact.write_bytes(flipped)
        assert passport.check(artefact)[0].startswith("model.plan: damaged or replaced: sha256 ")
        with pytest.raises(PassportError, match="damaged or replaced"):
            passport.verified_bytes(artefact)


def test_bytes_that_cannot_be_read_are_an_error(artefact, source):
    passport = issue(artefact, source)
    artefact.unlink()
    with pytest.raises(PassportError, match="cannot be read: No such file"):
        passport.verified_bytes(artefact)


def test_parts_of_an_artefact_are_checked_with_it(artefact, source, tmp_path):
    weights = tmp_path / "model.bin"
    weights.write_bytes(b"weights")
    passport = issue(artefact, source, parts=[weights])
    assert passport.check(artefact) == []
    weights.write_bytes(b"other weights")
    assert passport.check(artefact)[0].startswith("model.bin: damaged or replaced")
    weights.unlink()
    assert passport.check(artefact) == ["model.bin: missing"]


# -- passports that are not


def test_a_missing_passport_says_the_way_out(artefact):
    with pytest.raises(PassportError, match=r"model.plan: has no passport .*livecut export") as caught:
        Passport.read(artefact)
    assert caught.value.exit_code == 4
    assert isinstance(caught.value, (ModelError, ValueError))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "not readable as JSON"),
        (b"\xff\xfe", "not readable as JSON"),
        (b"[]", "expected an object, got list"),
        (b"{}", "format None; this livecut reads format 1"),
        (b'{"format": 2}', "format 2; this livecut reads format 1. Export again"),
        (b'{"format": 1}', "damaged: its own hash does not match"),
    ],
)
def test_what_is_no_passport_is_refused(artefact, contents, message):
    Passport.path_for(artefact).write_bytes(contents)
    with pytest.raises(PassportError, match=message):
        Passport.read(artefact)


def test_a_changed_passport_is_not_believed(artefact, source):
    path = issue(artefact, source).write(artefact)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"precision_found": "fp16"', '"precision_found": "int8"'), encoding="utf-8")
    with pytest.raises(PassportError, match="damaged: its own hash"):
        Passport.read(artefact)
    path.write_text(json.dumps(json.loads(text)), encoding="utf-8")  # the layout of the file does not matter
    assert Passport.read(artefact).precision_found == "fp16"


@pytest.mark.parametrize(
    ("key", "value"),
    [("shapes", []), ("sha256", 1), ("build_seconds", "1"), ("size_bytes", True), ("driver", 5)],
)
def test_fields_have_their_types(artefact, source, key, value):
    from livecut.engine import passport as module

    data = {name: v for name, v in issue(artefact, source).to_json().items() if name != module.SEAL}
    data[key] = value
    with pytest.raises(PassportError, match=f"model.json: {key}: got"):
        Passport.from_json({**data, module.SEAL: module._seal(data)}, "model.json")
    del data[key]
    with pytest.raises(PassportError, match=f"{key} is missing"):
        Passport.from_json({**data, module.SEAL: module._seal(data)}, "model.json")


def test_targets_are_known_by_name(artefact, source):
    with pytest.raises(PassportError, match="target: expected one of onnx, fp16, int8, openvino, tensorrt"):
        issue(artefact, source, target="coreml")


# -- whole or not at all


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "folder" / "file.txt"
    with replacing(path) as fresh:
        fresh.write_text("old", encoding="utf-8")
    assert path.stat().st_mode & 0o777 == 0o644

    def fail():
        with replacing(path) as fresh:
            fresh.write_text("half of the n", encoding="utf-8")
            raise RuntimeError("no room")

    with pytest.raises(RuntimeError, match="no room"):
        fail()
    assert path.read_text(encoding="utf-8") == "old"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]
