"""``python -m livecut`` is the command ``livecut``."""

from .cli.main import run

if __name__ == "__main__":
    run()
