"""Draw the sample inputs of this folder again: `python examples/data/render.py`.

The invoice is invented, and set in the typeface that Pillow carries (Aileron, CC0). The digit is
one of scikit-learn's (UCI Optical Recognition of Handwritten Digits, CC BY 4.0), of those that
`digits` was not trained on, enlarged. The tickets are a table to score: 200 sentences, each with an id and a place.
"""

import csv
import itertools
import random
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits

HERE = Path(__file__).parent
INK, GREY, PAPER = 20, 150, 255
ITEMS = (
    ("Turbine inspection, unit 3", "1", "1,480.00"),
    ("Penstock gate seal DN 800", "4", "312.50"),
    ("Bearing oil ISO VG 46, 20 litres", "6", "74.90"),
    ("Travel and accommodation", "1", "265.40"),
)
THINGS = (
    "The pump in the basement", "The sluice gate", "The second turbine", "The intake screen",
    "The pressure gauge at the weir", "The oil cooler", "The generator", "The control panel", "The main valve",
    "The crane in the hall", "The level sensor", "The drainage pump", "The transformer", "The penstock",
    "The door of the switch room", "The emergency light", "The fish ladder", "The air compressor", "The grease line",
    "The backup battery",
)  # fmt: skip
FOUND = (
    "does not start any more.", "makes a loud grinding noise.", "has been leaking since last night.",
    "shows a different value each time it is read.", "is much hotter than usual.", "was repaired and runs well again.",
    "needs to be inspected before the winter.", "stops after a few minutes.",
    "cannot be reached by the remote control.", "was replaced by the supplier under warranty.",
)  # fmt: skip
SITES = ("Millbrook", "Northwater", "Weir Lane", "Oldford")


def main() -> None:
    invoice().save(HERE / "invoice.png", optimize=True)
    digit().save(HERE / "digit.png", optimize=True)
    tickets(HERE / "tickets.csv")


def tickets(path: Path) -> None:
    """What was reported of a power station, in an order of its own."""
    chance = random.Random(7)  # nosec B311 # no secret
    said = list(itertools.product(THINGS, FOUND))
    chance.shuffle(said)
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["custom_id", "site", "text"])
        for number, (thing, found) in enumerate(said, 1):
            table.writerow([f"T-{number:04}", chance.choice(SITES), f"{thing} {found}"])


def invoice() -> Image.Image:
    """A page of 900 x 1100 pixels."""
    page = Image.new("L", (900, 1100), PAPER)
    draw = ImageDraw.Draw(page)

    def write(x: int, y: int, text: str, size: int = 22, anchor: str = "la") -> None:
        draw.text((x, y), text, INK, ImageFont.load_default(size), anchor=anchor)

    write(60, 60, "Northwater Hydro Services Ltd", 34)
    write(60, 108, "14 Weir Lane, Millbrook MB7 2QT")
    write(60, 190, "INVOICE", 48)
    for row, (label, value) in enumerate(
        (("Invoice number", "NW-2024-0817"), ("Date", "17 August 2024"), ("Due", "16 September 2024"))
    ):
        write(480, 190 + 34 * row, label)
        write(840, 190 + 34 * row, value, anchor="ra")
    write(60, 320, "Bill to", 20)
    write(60, 350, "Alder Valley Power Cooperative")
    write(60, 382, "Attn. Ms Ingrid Solberg")
    draw.line((60, 450, 840, 450), GREY, 2)
    for x, text, anchor in (
        (60, "Description", "la"),
        (560, "Qty", "ra"),
        (700, "Unit price", "ra"),
        (840, "Amount", "ra"),
    ):
        write(x, 465, text, anchor=anchor)
    draw.line((60, 505, 840, 505), GREY, 2)
    total = 0.0
    for row, (text, quantity, price) in enumerate(ITEMS):
        amount = int(quantity) * float(price.replace(",", ""))
        total += amount
        for x, cell, anchor in (
            (60, text, "la"),
            (560, quantity, "ra"),
            (700, price, "ra"),
            (840, f"{amount:,.2f}", "ra"),
        ):
            write(x, 525 + 48 * row, cell, anchor=anchor)
    draw.line((480, 735, 840, 735), GREY, 2)
    for row, (label, figure) in enumerate((("Subtotal", total), ("VAT 20%", total * 0.2), ("Total EUR", total * 1.2))):
        write(500, 755 + 42 * row, label, 22 + 4 * (row == 2))
        write(840, 755 + 42 * row, f"{figure:,.2f}", 22 + 4 * (row == 2), anchor="ra")
    write(60, 940, "Please pay within 30 days to IBAN GB29 NWBK 6016 1331 9268 19.", 20)
    write(60, 972, "Questions? accounts@northwater.example or +44 20 7946 0123", 20)
    return page


def digit() -> Image.Image:
    """A handwritten seven, dark on light, 160 x 160 pixels."""
    ink = load_digits().images[-12] / 16
    small = Image.fromarray((PAPER * (1 - ink)).astype(np.uint8))
    return small.resize((160, 160), Image.Resampling.BICUBIC)


if __name__ == "__main__":
    main()
