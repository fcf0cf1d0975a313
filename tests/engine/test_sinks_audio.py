import av
import media
import numpy as np
import pytest
from cutouts import write


@pytest.mark.parametrize(
    ("audio", "name", "kept"),
    [
        ("aac", "out.mp4", "aac"),
        ("pcm_s16le", "out.mp4", "aac"),
        ("aac", "out.webm", "opus"),
        ("aac", "out.mkv", "aac"),
    ],
)
def test_sound_of_a_file_source_goes_along(tmp_path, audio, name, kept):
    clip = media.write_clip(tmp_path / "in.mkv", frames=25, audio=audio)
    format = "I420" if name.endswith((".mp4", ".webm")) else "BGRA"
    write(tmp_path / name, format, frames=25, audio=str(clip))
    with av.open(str(tmp_path / name)) as container:
        sound = container.streams.audio[0]
        assert sound.codec_context.name == kept
        samples = list(container.decode(sound))
    seconds = sum(frame.samples for frame in samples) / 48000
    assert seconds == pytest.approx(1.0, abs=0.08)
    loudest = max(np.abs(frame.to_ndarray().astype(float)).max() for frame in samples)
    assert loudest > 0.2 if loudest <= 1.5 else loudest > 0.2 * 32767


def test_sound_that_is_copied_is_the_same_bytes(tmp_path):
    clip = media.write_clip(tmp_path / "in.mp4", frames=25, audio="aac")
    write(tmp_path / "out.mp4", "I420", frames=25, audio=str(clip))

    def packets(path):
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(audio=0) if packet.size]

    copied, original = packets(tmp_path / "out.mp4"), packets(clip)
    assert len(copied) >= len(original) - 2
    assert copied == original[: len(copied)]


def test_sound_ends_with_a_stream_that_was_stopped_early(tmp_path):
    clip = media.write_clip(tmp_path / "in.mp4", frames=75, audio="aac")
    write(tmp_path / "out.mp4", "I420", frames=25, audio=str(clip))
    with av.open(str(tmp_path / "out.mp4")) as container:
        seconds = sum(frame.samples for frame in container.decode(audio=0)) / 48000
    assert seconds == pytest.approx(1.0, abs=0.08)


def test_sound_keeps_its_distance_to_the_picture(tmp_path):
    clip = media.write_clip(tmp_path / "in.mkv", frames=25, audio="aac", audio_start=0.4)
    write(tmp_path / "out.mp4", "I420", frames=25, audio=str(clip))
    with av.open(str(tmp_path / "out.mp4")) as container:
        first = next(container.decode(audio=0))
        assert float(first.pts * first.time_base) == pytest.approx(0.4, abs=0.05)


def test_sound_can_be_left_out(tmp_path):
    clip = media.write_clip(tmp_path / "in.mp4", audio="aac")
    write(tmp_path / "out.mp4", "I420", audio=str(clip), keep_audio=False)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio


def test_sound_file_that_has_vanished_is_left_out_with_a_warning(tmp_path, caplog):
    write(tmp_path / "out.mp4", "I420", audio=str(tmp_path / "gone.mp4"))
    assert "its sound cannot be read and is left out" in caplog.text
    assert len(media.decode(tmp_path / "out.mp4")[0]) == 6
