"""The example models, built, on real input."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from errors import InvalidInput
from models.catalog import Catalog
from models.loading import LoadedModel, load
from models.running import Call
from tests.models import ocr_pages
from tests.models.coursing import LoadedPipeline
from tests.services.fixtures import unavailable

pytestmark = pytest.mark.repository
DATA = Path(__file__).resolve().parents[2] / "examples" / "data"
PAGES: dict[str, bytes] = ocr_pages.pages()
EXPECTED: dict[str, list[dict[str, Any]]] = json.loads(ocr_pages.EXPECTED.read_text())
INVOICE = [
    "Northwater Hydro Services Ltd",
    "14 Weir Lane, Millbrook MB7 2QT",
    "Invoice number",
    "NW-2024-0817",
    "INVOICE",
    "Alder Valley Power Cooperative",
    "Bearing oil ISO VG 46, 20 litres",
    "Qty",
    "1,480.00",
    "Total EUR",
    "4,133.76",
    "Please pay within 30 days to IBAN GB29 NWBK 6016 1331 9268 19.",
    "Questions? accounts@northwater.example or +44 20 7946 0123",
]


Loaded = LoadedModel | LoadedPipeline


def catalog(name: str) -> Catalog:
    repository = Path(os.environ.get("PENSTOCK_MODELS", "repository"))
    if not (repository / name).is_dir() and not os.environ.get("CI"):
        unavailable(f"no {name} in {repository}: `make models` builds it")
    return Catalog.load(repository)


def model(name: str) -> LoadedModel:
    loaded = load(catalog(name).get(name), "cpu")
    loaded.warm_up()
    return loaded


def outputs(found: Loaded, **inputs: Any) -> dict[str, Any]:
    (outcome,) = found.run([Call(inputs)])
    assert isinstance(outcome, dict), outcome
    return outcome


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def ocr() -> LoadedPipeline:
    found = catalog("ocr_read")
    loaded = LoadedPipeline(found, found.get("ocr"))
    loaded.warm_up()
    return loaded


def same_page(read: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Letter by letter; numbers as near as another processor's arithmetic allows."""
    assert [line["text"] for line in read] == [line["text"] for line in expected]
    for one, other in zip(read, expected, strict=True):
        assert one["confidence"] == pytest.approx(other["confidence"], abs=0.01)
        assert np.allclose(one["box"], other["box"], atol=0.5)


@pytest.mark.parametrize("name", PAGES)
def test_ocr_reads_a_page_as_the_single_model_did(ocr: LoadedPipeline, name: str) -> None:
    (lines,) = outputs(ocr, image=[PAGES[name]])["lines"]
    same_page(lines, EXPECTED[name])


def test_page_has_the_same_text_alone_and_among_others(ocr: LoadedPipeline) -> None:
    for (name, expected), outcome in zip(
        EXPECTED.items(), ocr.run([Call({"image": [PAGES[name]]}) for name in EXPECTED]), strict=True
    ):
        assert isinstance(outcome, dict), name
        same_page(outcome["lines"][0], expected)


def test_ocr_reads_the_invoice_without_a_fault(ocr: LoadedPipeline) -> None:
    (lines,) = outputs(ocr, image=[(DATA / "invoice.png").read_bytes()])["lines"]
    read = [line["text"] for line in lines]
    assert len(read) == 40
    assert [text for text in INVOICE if text not in read] == []
    assert read[0] == INVOICE[0]
    assert all(line["confidence"] > 0.9 for line in lines)
    (left, top), (right, _), (_, bottom), _ = lines[0]["box"]
    assert 50 < left < 70 < 500 < right < 560
    assert 50 < top < 75 < 90 < bottom < 110


def test_ocr_reads_a_page_that_stands_on_its_head(ocr: LoadedPipeline) -> None:
    page = Image.open(DATA / "invoice.png").rotate(180)
    (lines,) = outputs(ocr, image=[png(page)])["lines"]
    assert "Northwater Hydro Services Ltd" in [line["text"] for line in lines]


def test_ocr_reads_tilted_and_downward_text(ocr: LoadedPipeline) -> None:
    page = Image.new("RGB", (600, 200), "white")
    ImageDraw.Draw(page).text((40, 80), "Water gate seven", "black", ImageFont.load_default(40))
    for angle in (8, 90, 270):
        turned = page.rotate(angle, expand=True, fillcolor="white", resample=Image.Resampling.BICUBIC)
        (lines,) = outputs(ocr, image=[png(turned)])["lines"]
        assert [line["text"] for line in lines] == ["Water gate seven"], angle


def test_blank_page_has_no_lines_and_a_broken_one_fails_alone(ocr: LoadedPipeline) -> None:
    blank = png(Image.new("L", (300, 200), 255))
    good, bad, also_good = ocr.run([Call({"image": [data]}) for data in (blank, blank[:60], blank)])
    assert good == also_good == {"lines": [[]]}
    assert type(bad) is InvalidInput


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 2), (5000, 300)])
def test_ocr_takes_any_shape_of_picture(ocr: LoadedPipeline, size: tuple[int, int]) -> None:
    assert outputs(ocr, image=[png(Image.new("L", size, 90))])["lines"] == [[]]


@pytest.fixture(scope="module")
def minilm() -> LoadedModel:
    return model("minilm")


def test_minilm_puts_like_sentences_near_each_other(minilm: LoadedModel) -> None:
    sentences = (DATA / "sentences.txt").read_text().splitlines()
    vectors = outputs(minilm, text=sentences)["embedding"]
    assert vectors.shape == (len(sentences), 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    nearest = (vectors @ vectors.T - 2 * np.eye(len(sentences))).argmax(axis=1)
    assert nearest[:6].tolist() == [1, 0, 3, 2, 5, 4]


def test_minilm_embeds_a_sentence_alike_alone_and_in_company(minilm: LoadedModel) -> None:
    texts = [
        "Short.",
        "A longer sentence about the water level of the upper reservoir.",
        "",
        "word " * 1000,
        b"\xc3\xbc",
    ]
    together = minilm.run([Call({"text": [text]}) for text in texts])
    for text, outcome in zip(texts, together, strict=True):
        alone = outputs(minilm, text=[text])["embedding"]
        assert np.allclose(alone, outcome["embedding"], atol=1e-5)  # type: ignore[index]


def test_minilm_agrees_with_published_similarities(minilm: LoadedModel) -> None:
    """The example of the model's own card gives 0.6660, by sentence-transformers."""
    vectors = outputs(
        minilm, text=["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    )
    a, b, c = vectors["embedding"]
    assert a @ b == pytest.approx(0.6660, abs=1e-3)
    assert a @ c == pytest.approx(0.1046, abs=1e-3)


def test_minilm_refuses_bytes_that_are_no_text(minilm: LoadedModel) -> None:
    bad, good = minilm.run([Call({"text": [b"\xff\xfe"]}), Call({"text": ["fine"]})])
    assert type(bad) is InvalidInput
    assert isinstance(good, dict)


@pytest.fixture(scope="module")
def digits() -> LoadedModel:
    return model("digits")


def test_digits_reads_the_sample_dark_on_light_and_light_on_dark(digits: LoadedModel) -> None:
    sample = Image.open(DATA / "digit.png")
    made = outputs(digits, image=[png(sample), png(Image.eval(sample, lambda value: 255 - value))])
    assert made["label"].tolist() == [7, 7]
    assert np.allclose(made["probabilities"].sum(axis=1), 1, atol=1e-5)
    assert made["probabilities"][:, 7].min() > 0.9


def test_broken_digit_fails_alone(digits: LoadedModel) -> None:
    sample = (DATA / "digit.png").read_bytes()
    outcomes = digits.run([Call({"image": [data]}) for data in (sample, sample[:100], sample)])
    assert [type(outcome) for outcome in outcomes] == [dict, InvalidInput, dict]


def test_echo_returns_what_it_gets() -> None:
    x = np.arange(32, dtype=np.float32).reshape(2, 16)
    assert np.array_equal(outputs(model("echo"), x=x)["y"], x)
