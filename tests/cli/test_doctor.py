"""``livecut doctor``, ``model``, ``--help`` and ``--version``: what is said, and how quickly."""

import json
import subprocess
import sys

import pytest

import livecut as package


def test_doctor_says_one_line_each(livecut):
    result = livecut("doctor")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    names = [line[3:20].strip() for line in lines]
    wanted = [
        "livecut",
        "processor",
        "cores",
        "openvino",
        "gpu",
        "libvpx-vp9",
        "display",
        "cameras",
        "would run",
    ]
    assert [name for name in names if name in wanted] == wanted
    assert all(line[:2] in ("ok", "--", "!!") for line in lines)
    assert "model livecut-s" in names
    assert "\x1b" not in result.stdout


def test_doctor_for_machines(livecut):
    findings = json.loads(livecut("doctor", "--json", "--backend", "null").stdout)["findings"]
    assert findings[-1]["name"] == "would run"
    assert findings[-1]["data"]["name"] == "null"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--require-gpu"], "--require-gpu"),
        (["--model", "nonesuch"], "no model 'nonesuch'"),
        (["--precision", "fp16"], "precision"),
    ],
)
def test_doctor_exits_with_4_where_asked_for_what_is_not_there(livecut, arguments, text):
    result = livecut("doctor", "-q", *arguments)
    assert result.exit_code == 4
    assert text in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_doctor_finds_a_damaged_model(livecut, tmp_path, monkeypatch):
    import shutil

    from livecut.engine.registry import SHIPPED

    monkeypatch.setenv("LIVECUT_HOME", str(tmp_path))
    bundle = tmp_path / "models" / "mine"
    shutil.copytree(SHIPPED / "livecut-s", bundle)
    with open(bundle / "model.onnx", "ab") as file:
        file.write(b"!")
    line = next(line for line in livecut("doctor").stdout.splitlines() if "model mine" in line)
    assert line.startswith("!! ")
    assert "sha256" in line
    assert livecut("model", "info", "mine").exit_code == 4


def test_models_are_listed_and_described(livecut):
    assert "livecut-s" in livecut("model", "list").stdout
    described = json.loads(livecut("model", "info", "livecut-s", "--json").stdout)
    assert described["licence"] == "Apache-2.0"
    assert [384, 224] in described["sizes_wh"]


def test_version_and_help(livecut):
    assert livecut("--version").stdout == f"livecut {package.__version__}\n"
    text = livecut("--help").stdout
    for verb in ("cut", "stream", "demo", "bench", "doctor", "model"):
        assert f"\n  {verb} " in text
    assert "130 and 143" in " ".join(text.split())


def test_help_imports_nothing_heavy():
    """What takes long to import would be paid by every command, also by the shell's completion of it."""
    code = (
        "import sys\n"
        "from livecut.cli.main import app\n"
        "heavy = 'numpy av cv2 PIL openvino onnxruntime onnx rich.console torch psutil'.split()\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, cwd="/")
    assert done.stdout == "[]\n", done.stderr


def test_cutting_a_picture_imports_no_video_and_no_terminal(photograph, tmp_path):
    code = (
        "import sys\n"
        "from livecut.cli.main import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code, end\n"
        "heavy = 'av cv2 onnxruntime onnx rich.console torch psutil PIL.ImageCms'.split()\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    arguments = ["cut", str(photograph), str(tmp_path / "out.png"), "-q"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=50, cwd=tmp_path
    )
    assert done.stdout == "[]\n", done.stderr
