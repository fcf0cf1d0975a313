"""An evaluation as one HTML page that needs nothing else: figures, the worst pictures, every picture."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import cv2
import numpy as np

from . import sheets
from .evaluate import HIGHER_IS_BETTER, Evaluation, Result, Summary, shown, title

TILE_PX = 240
QUALITY = 82
STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 84rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.5rem 0 .5rem; }
p { margin: .3rem 0; } .quiet { opacity: .7; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; white-space: nowrap; }
tr { border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
th { font-weight: 600; background: var(--soft); }
figure { margin: 0 0 1.6rem; }
figcaption { margin-bottom: .3rem; }
.tiles { display: grid; grid-template-columns: repeat(5, minmax(0, 1fr)); gap: 6px; }
.tiles div { font-size: .75rem; opacity: .9; }
.tiles img { width: 100%; display: block; background: #888; }
"""
MEANINGS = (
    "MAE and MSE are of alpha in 0..1; SAD, Grad and Conn are in thousands a picture; dtSSD is times 100. "
    "IoU and boundary F cut alpha at a half, boundary F with a tolerance of 0.8 % of the diagonal. Max F (of "
    "the mean curve, beta squared 0.3) and S-measure compare with the true alpha cut at a half."
)


def write_page(evaluation: Evaluation) -> str:
    """The page of one evaluation, as HTML."""
    model = evaluation.model
    told = [str(model[key]) for key in ("version", "through", "runs_on") if model.get(key)]
    facts = " &middot; ".join(map(escape, told))
    parts = [
        f"<h1>{escape(str(model.get('name', 'model')))}</h1>",
        f'<p class="quiet">{facts}</p><p>on {escape(evaluation.data)}</p>',
        f"<h2>Figures</h2>{_table(evaluation.summary, 'data')}<p class='quiet'>{MEANINGS}</p>",
    ]
    if evaluation.skipped:
        lines = "".join(f"<li>{escape(line)}</li>" for line in evaluation.skipped)
        parts.append(f"<h2>Left out: {len(evaluation.skipped)}</h2><ul>{lines}</ul>")
    if evaluation.worst:
        figures = "".join(_figure(place, result) for place, result in enumerate(evaluation.worst, 1))
        parts.append(f"<h2>The worst {len(evaluation.worst)}</h2>{figures}")
    if evaluation.clips:
        parts.append(f"<h2>Clips</h2>{_list(evaluation.clips)}")
    ordered = sorted(evaluation.pictures, key=lambda picture: picture.get("iou", 1.0))
    parts.append(f"<h2>Every picture, the worst first</h2>{_list(ordered)}")
    return _page(f"livecut eval: {model.get('name', 'model')}", parts)


def write_comparison(evaluations: Sequence[Evaluation], rows: Summary, links: Sequence[str]) -> str:
    """A page that sets several models side by side and links to the page of each."""
    named = "".join(
        f'<li><a href="{escape(link, quote=True)}">{escape(name)}</a></li>'
        for name, link in zip(rows, links, strict=True)
    )
    parts = [
        "<h1>Comparison</h1>",
        f"<p>on {escape(evaluations[0].data)}</p>",
        f"<h2>Figures</h2>{_table(rows, 'model')}<p class='quiet'>{MEANINGS}</p>",
        f"<h2>Each of them</h2><ul>{named}</ul>",
    ]
    return _page("livecut eval: comparison", parts)


def _page(title: str, parts: Sequence[str]) -> str:
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )


def _table(rows: Summary, corner: str) -> str:
    names = list(dict.fromkeys(name for values in rows.values() for name in values))
    head = "".join(f"<th>{escape(title(name))}{_arrow(name)}</th>" for name in names)
    body = "".join(
        f"<tr><td>{escape(row)}</td>"
        + "".join(f"<td>{shown(name, values[name]) if name in values else ''}</td>" for name in names)
        + "</tr>"
        for row, values in rows.items()
    )
    return f'<div class="wide"><table><tr><th>{corner}</th>{head}</tr>{body}</table></div>'


def _arrow(name: str) -> str:
    if name in ("pictures", "gmac", "mparams", "frames"):
        return ""
    return " &uarr;" if name in HIGHER_IS_BETTER else " &darr;"


def _list(entries: Sequence[Mapping[str, Any]]) -> str:
    named = {}
    for entry in entries:
        numbers = {key: value for key, value in entry.items() if key not in ("name", "folder")}
        named[f"{entry['folder']}/{entry['name']}"] = numbers
    return _table(named, "name")


def _figure(place: int, result: Result) -> str:
    values = ", ".join(f"{title(name)} {shown(name, value)}" for name, value in result.values.items())
    caption = f"{place}. {escape(result.folder)}/{escape(result.name)} <span class='quiet'>{values}</span>"
    error = np.abs(result.predicted - result.alpha)
    tiles = (
        ("picture", result.image),
        ("true alpha", sheets.grey(result.alpha)),
        ("alpha", sheets.grey(result.predicted)),
        ("difference", sheets.grey(error)),
        ("cut-out", sheets.over(result.image, result.predicted)),
    )
    cells = "".join(
        f'<div><img alt="{what}" src="data:image/jpeg;base64,{_jpeg(pixels)}">{what}</div>'
        for what, pixels in tiles
    )
    return f'<figure><figcaption>{caption}</figcaption><div class="tiles">{cells}</div></figure>'


def _jpeg(pixels: np.ndarray) -> str:
    scale = TILE_PX / max(pixels.shape[:2])
    if scale < 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return base64.b64encode(encoded.tobytes()).decode("ascii")
