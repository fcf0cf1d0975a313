"""Pictures of every common kind come in as upright RGB with alpha apart, and go out whole or not at all."""

import errno
import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from livecut.engine import picture_files
from livecut.engine.errors import PictureError, SinkError, UsageError
from livecut.engine.pictures import (
    encode_picture,
    format_of,
    picture_from_pil,
    read_picture,
    write_atomically,
    write_picture,
)

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXIF_TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.fixture
def pixels(rng):
    return rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)


@pytest.fixture
def rgba(rng):
    return rng.integers(0, 256, (5, 7, 4), dtype=np.uint8)


def saved(image, format="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def reopened(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("orientation", EXIF_TURNS)
def test_exif_orientation_is_applied(pixels, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = read_picture(saved(Image.fromarray(pixels), exif=exif.tobytes()))
    assert np.array_equal(picture.image, EXIF_TURNS[orientation](pixels))
    assert picture.image.flags.c_contiguous


def test_exif_orientation_is_what_pillow_makes_of_it(pixels):
    from PIL import ImageOps

    for orientation in EXIF_TURNS:
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = saved(Image.fromarray(pixels), exif=exif.tobytes())
        assert np.array_equal(read_picture(data).image, np.asarray(ImageOps.exif_transpose(reopened(data))))


def test_orientation_and_position_are_not_written_back_but_the_rest_of_exif_is(pixels):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x8298] = "the shop"
    exif.get_ifd(0x8769)[0x829A] = 0.01
    exif.get_ifd(0x8825)[1] = "N"
    picture = read_picture(saved(Image.fromarray(pixels), exif=exif.tobytes()))
    back = reopened(encode_picture(picture.image, like=picture)).getexif()
    assert back[0x8298] == "the shop"
    assert 0x829A in back.get_ifd(0x8769)
    assert 0x0112 not in back
    assert not back.get_ifd(0x8825)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_profile_and_resolution_are_written_back(pixels, format):
    picture = read_picture(saved(Image.fromarray(pixels), icc_profile=SRGB, dpi=(300, 200)))
    back = reopened(encode_picture(picture.image, format=format, like=picture))
    assert back.info["icc_profile"] == SRGB
    if format != "WEBP":  # which has no place for it
        assert [round(float(v)) for v in back.info["dpi"]] == [300, 200]


def test_resolution_turns_with_the_picture(pixels):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = read_picture(saved(Image.fromarray(pixels), dpi=(300, 200), exif=exif.tobytes()))
    assert [round(v) for v in picture.dpi] == [200, 300]


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_straight_rgba_survives_exactly_also_where_alpha_is_zero(rgba, format):
    rgba[0, :, 3] = 0
    assert np.array_equal(np.asarray(reopened(encode_picture(rgba, format=format))), rgba)


def test_alpha_is_apart_and_colour_is_not_multiplied_by_it(rgba):
    rgba[0, 0] = (254, 10, 20, 128)
    picture = read_picture(saved(Image.fromarray(rgba)))
    assert np.array_equal(picture.image, rgba[:, :, :3])
    assert np.array_equal(picture.alpha, rgba[:, :, 3])


def test_opaque_alpha_is_none(rgba):
    rgba[:, :, 3] = 255
    assert read_picture(saved(Image.fromarray(rgba))).alpha is None


def test_grey_and_one_bit_are_widened(pixels):
    grey = Image.fromarray(pixels[:, :, 0])
    assert np.array_equal(read_picture(saved(grey)).image, np.repeat(pixels[:, :, :1], 3, axis=2))
    one_bit = read_picture(saved(grey.convert("1", dither=Image.Dither.NONE)))
    assert set(np.unique(one_bit.image)) <= {0, 255}


def test_grey_with_alpha(rgba):
    picture = read_picture(saved(Image.fromarray(rgba).convert("LA")))
    assert np.array_equal(picture.alpha, rgba[:, :, 3])
    assert np.array_equal(picture.image[:, :, 0], picture.image[:, :, 2])


def test_palette_and_palette_with_transparency(pixels):
    palette = Image.fromarray(pixels).quantize(16)
    expected = np.asarray(palette.convert("RGB"))
    assert np.array_equal(read_picture(saved(palette)).image, expected)
    clear = read_picture(saved(palette, transparency=3))
    assert np.array_equal(clear.alpha == 0, np.asarray(palette) == 3)
    assert np.array_equal(clear.image[clear.alpha == 255], expected[clear.alpha == 255])


def test_colour_key_transparency_of_an_rgb_png(pixels):
    key = tuple(int(v) for v in pixels[0, 0])
    picture = read_picture(saved(Image.fromarray(pixels), transparency=key))
    assert picture.alpha[0, 0] == 0


def test_cmyk_without_a_profile_is_converted():
    picture = read_picture(saved(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "TIFF"))
    assert picture.image[0, 0].tolist() == [255, 0, 0]
    assert picture.mode == "CMYK"


def test_a_profile_of_another_colour_space_is_not_written_onto_rgb(pixels):
    picture = read_picture(saved(Image.fromarray(pixels).convert("CMYK"), "TIFF", icc_profile=SRGB))
    assert picture.icc_profile is None


def test_lab_is_converted():
    picture = read_picture(saved(Image.new("LAB", (4, 4), (255, 128, 128)), "TIFF"))
    assert picture.image.min() >= 250


def test_16_bit_grey_keeps_its_range():
    grey = np.array([[0, 256, 32768, 65535]], np.uint16)
    picture = read_picture(saved(Image.fromarray(grey)))
    assert picture.image[0, :, 0].tolist() == [0, 1, 128, 255]
    assert np.array_equal(picture.deep[:, :, 1], grey)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bit_colour_is_read_and_written_back_as_16_bit_png(rng, suffix):
    deep = rng.integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    data = cv2.imencode(suffix, deep[:, :, ::-1])[1].tobytes()
    picture = read_picture(data)
    assert np.array_equal(picture.deep, deep)
    assert np.abs(picture.image * 257.0 - deep).max() <= 129
    alpha = rng.integers(0, 256, (5, 7, 1), dtype=np.uint8)
    written = encode_picture(np.dstack([picture.image, alpha]), like=picture)
    back = cv2.imdecode(np.frombuffer(written, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(back[:, :, 2::-1], deep)
    assert np.array_equal(back[:, :, 3], alpha[:, :, 0].astype(np.uint16) * 257)


def test_16_bit_png_keeps_profile_resolution_and_exif(rng):
    from dataclasses import replace

    exif = Image.Exif()
    exif[0x8298] = "the shop"
    deep = rng.integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    picture = read_picture(cv2.imencode(".png", deep)[1].tobytes())
    picture = replace(picture, icc_profile=SRGB, dpi=(300.0, 300.0), exif=exif.tobytes())
    back = reopened(encode_picture(picture.image, like=picture))
    assert back.info["icc_profile"] == SRGB
    assert round(back.info["dpi"][0]) == 300
    assert back.getexif()[0x8298] == "the shop"


def test_16_bit_alpha_is_read(rng):
    deep = rng.integers(0, 65536, (5, 7, 4), dtype=np.uint16)
    picture = read_picture(cv2.imencode(".png", deep)[1].tobytes())
    assert np.abs(picture.alpha * 257.0 - deep[:, :, 3]).max() <= 129


def test_an_animation_gives_its_first_frame_and_says_how_many_there_are(pixels):
    frames = [Image.fromarray(pixels), Image.fromarray(255 - pixels)]
    picture = read_picture(saved(frames[0], "PNG", save_all=True, append_images=frames[1:]))
    assert picture.frames == 2
    assert np.array_equal(picture.image, pixels)


def test_one_pixel(tmp_path):
    write_picture(tmp_path / "one.png", np.full((1, 1, 4), 7, np.uint8))
    picture = read_picture(tmp_path / "one.png")
    assert (picture.size_wh, picture.image.tolist(), picture.alpha.tolist()) == ((1, 1), [[[7, 7, 7]]], [[7]])


def test_content_decides_not_the_name(tmp_path, pixels):
    (tmp_path / "really.png").write_bytes(saved(Image.fromarray(pixels), "BMP"))
    picture = read_picture(tmp_path / "really.png")
    assert picture.format == "BMP"
    assert np.array_equal(picture.image, pixels)


def test_pictures_are_also_read_from_bytes_files_and_pillow(pixels):
    data = saved(Image.fromarray(pixels))
    for picture in (
        read_picture(data),
        read_picture(io.BytesIO(data)),
        picture_from_pil(Image.fromarray(pixels)),
    ):
        assert np.array_equal(picture.image, pixels)


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"])
def test_a_truncated_file_is_refused_by_name(tmp_path, rng, format):
    noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = saved(noise, format)
    for length in (len(data) // 2, 40, 9):
        (tmp_path / "half").write_bytes(data[:length])
        with pytest.raises(PictureError) as error:
            read_picture(tmp_path / "half")
        assert "half: " in one_line(error)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.png").touch()
    with pytest.raises(PictureError, match=r"empty\.png: the file is empty"):
        read_picture(tmp_path / "empty.png")


def test_text_named_png_is_refused_with_what_it_begins_with(tmp_path):
    (tmp_path / "notes.png").write_text("dear diary, today")
    with pytest.raises(
        PictureError, match=r"notes\.png: not a picture that can be read; it begins with 'dear diary, '"
    ):
        read_picture(tmp_path / "notes.png")


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(PictureError, match="is a directory, expected a picture"):
        read_picture(tmp_path)


def test_a_file_that_is_gone_is_refused(tmp_path):
    with pytest.raises(PictureError, match=r"gone\.png: no such file"):
        read_picture(tmp_path / "gone.png")


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no /dev/zero")
def test_a_device_is_refused():
    with pytest.raises(PictureError, match="is a device"):
        read_picture("/dev/zero")


def bomb(width, height):
    def chunk(kind, payload):
        return (
            struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def test_a_decompression_bomb_is_refused_before_decoding_with_the_way_out():
    with pytest.raises(PictureError) as error:
        read_picture(bomb(30000, 30000), name="bomb.png")
    assert one_line(error) == (
        "bomb.png: 30000x30000 is 900 megapixels, above the limit of 100; "
        "set LIVECUT_MAX_PIXELS=900000000 to allow it"
    )


def test_the_limit_is_set_by_environment_or_argument(pixels, monkeypatch):
    data = saved(Image.fromarray(pixels))
    monkeypatch.setenv("LIVECUT_MAX_PIXELS", "34")
    with pytest.raises(PictureError, match="7x5"):
        read_picture(data)
    assert read_picture(data, limit=35).size_wh == (7, 5)
    monkeypatch.setenv("LIVECUT_MAX_PIXELS", "many")
    with pytest.raises(PictureError, match="LIVECUT_MAX_PIXELS: expected a number"):
        read_picture(data)


def test_pillows_own_limit_is_left_as_it_was():
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(PictureError):
        read_picture(bomb(30000, 30000))
    assert before == Image.MAX_IMAGE_PIXELS


def test_floating_point_samples_are_refused():
    with pytest.raises(PictureError, match="floating point"):
        read_picture(saved(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"))


def test_jpeg_refuses_alpha(rgba):
    with pytest.raises(UsageError, match="JPEG has no transparency"):
        encode_picture(rgba, format="JPEG")


def test_an_unknown_suffix_is_named():
    with pytest.raises(UsageError, match=r"out\.xyz: expected a name ending in \.png"):
        format_of("out.xyz")


def test_too_large_for_the_format_names_the_file(tmp_path):
    with pytest.raises(SinkError, match=r"wide\.webp: cannot be encoded as WEBP"):
        write_picture(tmp_path / "wide.webp", np.zeros((1, 20000, 3), np.uint8))


def test_an_unwritable_place_is_named(tmp_path):
    with pytest.raises(SinkError, match=r"out\.png: cannot be written: No such file or directory"):
        write_picture(tmp_path / "missing" / "out.png", np.zeros((1, 1, 3), np.uint8))


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "out.png").write_bytes(b"old")

    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(picture_files.os, "replace", full)
    with pytest.raises(SinkError, match="No space left on device") as error:
        write_atomically(tmp_path / "out.png", b"new")
    assert error.value.errno == errno.ENOSPC
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("out.png", b"old")]
