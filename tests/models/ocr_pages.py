"""Pictures that the example `ocr` reads in tests: as drawn, as a scanner or a camera would give them, and odd ones.

What is read in each stands in `ocr_pages.json`, taken down from the one model that `ocr` was before it became a
pipeline.
"""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

INVOICE = Path(__file__).resolve().parents[2] / "examples" / "data" / "invoice.png"
EXPECTED = Path(__file__).with_suffix(".json")
LETTER = """\
The gate at the upper reservoir was opened on 3 March at 06:40 and closed again at 17:15 the same day.
During that time the level fell by 12.4 cm, which agrees with the meter of unit 3 to within two percent.
We ask you to have the seals of gates 4, 5 and 7 looked at before the spring flood; the last inspection
dates from October (report NW/2023-118). Parts are in store: 8 x seal DN 800, 2 x bearing 6312-2RS.
Yours faithfully, R. Okonkwo-Lindqvist"""


def pages() -> dict[str, bytes]:
    """Picture files by name."""
    invoice = Image.open(INVOICE).convert("RGB")
    return {
        "drawn": png(invoice),
        "on its head": png(invoice.rotate(180)),
        "scanned": jpeg(scanned(invoice, angle=1.3, blur=0.6, noise=12)),
        "photographed": jpeg(scanned(invoice.resize((720, 880)), angle=-4, blur=0.8, noise=20)),
        "letter": png(letter()),
        "labels": png(labels()),
        "receipt": png(receipt()),
    }


def scanned(page: Image.Image, *, angle: float, blur: float, noise: float) -> Image.Image:
    """Askew, out of focus, on grey paper with grain."""
    turned = page.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor="white")
    pixels = np.asarray(turned.filter(ImageFilter.GaussianBlur(blur)), dtype=np.float64)
    shade = np.linspace(0.78, 0.96, pixels.shape[1])[None, :, None]
    grain = np.random.default_rng(7).normal(0, noise, pixels.shape[:2])[:, :, None]
    return Image.fromarray((pixels * shade + grain).clip(0, 255).astype(np.uint8))


def letter() -> Image.Image:
    """Long lines, set small to large."""
    page = Image.new("RGB", (1500, 560), "white")
    draw = ImageDraw.Draw(page)
    for row, line in enumerate(LETTER.splitlines()):
        draw.text((40, 40 + 100 * row), line, (30, 30, 60), ImageFont.load_default(20 + 2 * row))
    return page


def labels() -> Image.Image:
    """Short words in many sizes and directions, light on dark and dark on light."""
    page = Image.new("RGB", (1000, 700), (24, 60, 92))
    words = (("VALVE", 60, 0), ("No. 42", 30, 180), ("Danger", 44, 90), ("IN", 26, 0), ("17.5 bar", 36, 8),
             ("Made in Norway", 28, 270), ("OUT", 50, 180), ("pH 7.4", 24, -6), ("x", 40, 0))  # fmt: skip
    for number, (word, size, angle) in enumerate(words):
        paper, ink = ((24, 60, 92), "white") if number % 2 else ("#f4e8c8", "#401010")
        label = Image.new("RGB", (260, 90), paper)
        ImageDraw.Draw(label).text((130, 45), word, ink, ImageFont.load_default(size), anchor="mm")
        turned = label.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=paper)
        page.paste(turned, (20 + number % 3 * 330, 20 + number // 3 * 230 - max(0, turned.height - 220) // 2))
    return page


def receipt() -> Image.Image:
    """A narrow strip with many short lines."""
    page = Image.new("L", (300, 1400), 245)
    draw = ImageDraw.Draw(page)
    for row in range(44):
        y = 20 + 31 * row
        draw.text((15, y), ("Tea", "Bread, rye 500 g", "Apples", "Cheese 24m")[row % 4], 40, ImageFont.load_default(17))
        draw.text((285, y), f"{(row * 37 % 91) + 0.05 * (row % 20):.2f}", 40, ImageFont.load_default(17), anchor="ra")
    return page


def png(picture: Image.Image) -> bytes:
    return saved(lambda file: picture.save(file, "PNG"))


def jpeg(picture: Image.Image) -> bytes:
    return saved(lambda file: picture.save(file, "JPEG", quality=60))


def saved(save: Callable[[io.BytesIO], None]) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()
