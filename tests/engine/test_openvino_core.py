"""One OpenVINO for the process: a signal after a session has gone must not end it."""

import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("openvino")

from livecut.engine.openvino_core import openvino_core


def test_there_is_one_core():
    assert openvino_core() is openvino_core()


def test_a_signal_after_a_session_was_closed_on_another_thread_is_handled(tiny_model):
    code = f"""
        import faulthandler, gc, os, signal, threading
        faulthandler.enable()
        from livecut import Session
        import numpy as np
        heard = []
        signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
        sessions = [Session({str(tiny_model)!r}, threads=1)]
        sessions[0].matte(np.zeros((32, 64, 3), np.uint8))
        def end():
            sessions.pop().close()
            gc.collect()
        thread = threading.Thread(target=end)
        thread.start()
        thread.join()
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        print(len(heard))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
