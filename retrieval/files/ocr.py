"""Text in pictures, by a model that the extra ``ocr`` brings inside its wheel: nothing is fetched, ever."""

from __future__ import annotations

import hashlib
import io
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from retrieval.files.columns import Spot, blocks
from retrieval.files.layout import Line, markdown
from retrieval.files.text import Content, FileError, plain, table

INSTALL = "pip install 'domain-assistant[ocr]'"
LONGEST = 2_000  # pixels of a page's longer side; the model reads no more
PIXELS = 80_000_000  # of a picture, A3 at 600 dots an inch; a small file may unpack to far more
PAGES = 500  # of a picture
DOUBTFUL = 0.9  # below it a person should look at the line; the model's own probability
CELL = 6  # words of a table's cell on average; columns of running text have more
MODELS = {  # of rapidocr 3.10.0, by step
    "Det": ("PP-OCRv6_det_small.onnx", "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f"),
    "Cls": ("ch_ppocr_mobile_v2.0_cls_mobile.onnx", "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c"),
    "Rec": ("PP-OCRv6_rec_small.onnx", "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884"),
}
_lock = threading.Lock()  # one page at a time takes all cores already


@dataclass(frozen=True, slots=True)
class Run:
    """Words that stand together; measured from the upper left corner."""

    text: str
    sure: float  # [0, 1]
    left: float
    top: float
    right: float
    bottom: float

    @property
    def middle(self) -> float:
        """Its height on the page."""
        return (self.top + self.bottom) / 2


@dataclass(frozen=True, slots=True)
class Scan:
    """What was read on one page."""

    lines: list[Line]  # top to bottom; lengths in heights of the page's usual line
    doubtful: tuple[str, ...]  # texts that a person should compare with the picture


def available() -> bool:
    """Whether pictures can be read here."""
    return find_spec("rapidocr") is not None and find_spec("onnxruntime") is not None


def picture(raw: bytes) -> Content:
    """A picture of text; one of several pages, as TIFF may be, has a form feed between them.

    Raises:
        FileError: it is damaged or too big, nothing is written on it, or the extra is missing.
    """
    if not available():
        raise FileError(f"it is a picture, and text in pictures is read after: {INSTALL}")
    try:
        scans = [scan(page) for page in _pages(raw)]
    except UnidentifiedImageError as error:
        raise FileError("it is no picture that can be read") from error
    except (Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise FileError(f"it is no picture that can be read ({error})") from error
    if not any(one.lines for one in scans):
        raise FileError("there is no text in it")
    numbered = dict(enumerate(scans, start=1))
    return Content("", markdown([one.lines for one in scans]), notes=(note("it", numbered),))


def scan(page: Image.Image) -> Scan:
    """Read one page.

    Raises:
        FileError: a model's file is missing or was changed.
    """
    small = ImageOps.contain(page, (LONGEST, LONGEST)) if max(page.size) > LONGEST else page
    with _lock:
        found = _engine()(np.asarray(small)[:, :, ::-1])  # blue first
    if found.txts is None or found.boxes is None:
        return Scan([], ())
    runs = [
        Run(plain(text), float(sure), *corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())
        for corners, text, sure in zip(_straightened(found.boxes), found.txts, found.scores, strict=True)
    ]
    return Scan(list(lines(runs)), tuple(run.text for run in runs if run.sure < DOUBTFUL))


def _straightened(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners of runs, [n, 4, 2], from the upper left one clockwise, turned so that the longer runs lie level."""
    along = corners[:, 1] - corners[:, 0]
    longer = along[along[:, 0] >= np.median(along[:, 0])]
    angle = np.median(np.arctan2(longer[:, 1], longer[:, 0]))
    level: NDArray[np.float64] = corners @ [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return level


def note(what: str, scans: dict[int, Scan]) -> str:
    """What a person should know of ``what`` was read from pictures, by page."""
    doubtful = [text for one in scans.values() for text in one.doubtful]
    shown = ", ".join(f"“{text}”" for text in doubtful[:3]) + (" …" if len(doubtful) > 3 else "")
    return f"{what} was read from a picture" + (f"; {len(doubtful)} lines are doubtful: {shown}" if doubtful else "")


def lines(runs: Sequence[Run]) -> Iterator[Line]:
    """Runs as lines from top to bottom, one column after the other."""
    if not runs:
        return
    unit = median(run.bottom - run.top for run in runs)
    runs = [replace(run, top=run.top / unit, bottom=run.bottom / unit) for run in runs]
    for part in blocks([Spot(run.left, run.top, run.right, run.bottom, len(run.text.split())) for run in runs]):
        yield from _block([runs[at] for at in part])


def _block(runs: Sequence[Run]) -> Iterator[Line]:
    """Lines of what is read together; three rows and more of short runs beside each other are a table."""
    rows = [sorted(row, key=lambda run: run.left) for row in _rows(runs)]
    for cells, group in groupby(rows, key=len):
        block = list(group)
        if cells > 1 and len(block) > 2 and _words(block) <= CELL * cells * len(block):
            yield Line(_table(block), 0.0, False, block[0][0].top, block[-1][0].bottom)
        else:
            yield from (_line(row) for row in block)


def _table(rows: Sequence[Sequence[Run]]) -> str:
    if len(rows[0]) == 2:  # as often a form, whose first row names nothing
        return "\n".join(f"- {name.text.rstrip(':')}: {value.text}" for name, value in rows)
    return table([[run.text for run in row] for row in rows])


def _rows(runs: Sequence[Run]) -> Iterator[list[Run]]:
    """Runs that stand beside each other."""
    row: list[Run] = []
    for run in sorted(runs, key=lambda run: run.middle):
        if row and run.middle > row[0].bottom:
            yield row
            row = []
        row.append(run)
    yield row


def _words(rows: Sequence[Sequence[Run]]) -> int:
    return sum(len(run.text.split()) for row in rows for run in row)


def _line(row: Sequence[Run]) -> Line:
    """Heights differ with a line's letters, so what is near the usual one counts as that."""
    top, bottom = row[0].top, max(run.bottom for run in row)
    return Line(" ".join(run.text for run in row), max(1.0, round(2 * (bottom - top)) / 2), False, top, bottom)


def _pages(raw: bytes) -> Iterator[Image.Image]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is ours
        with Image.open(io.BytesIO(raw)) as image:
            for number, frame in enumerate(ImageSequence.Iterator(image), start=1):
                if number > PAGES or frame.width * frame.height > PIXELS:
                    raise FileError(
                        f"page {number:,} has {frame.width:,} x {frame.height:,} pixels; "
                        f"at most {PAGES:,} pages of {PIXELS:,} pixels are read"
                    )
                upright = ImageOps.exif_transpose(frame).convert("RGBA")
                yield Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright).convert("RGB")


@cache
def _engine() -> Any:
    """The model; its files are named, so that none is looked for elsewhere."""
    from rapidocr import RapidOCR  # late: an extra, and a second to import

    params: dict[str, object] = {"Global.log_level": "error"}
    spec = find_spec("rapidocr")
    for step, (name, sha256) in MODELS.items():
        path = Path(str(spec.origin if spec else "")).parent / "models" / name
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
        if digest != sha256:
            raise FileError(f"{path}: sha256 is {digest[:16]}, expected {sha256[:16]}; install again: {INSTALL}")
        params[f"{step}.model_path"] = str(path)
    return RapidOCR(params=params)
