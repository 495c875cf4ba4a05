"""What the steps found of each line, put together."""

from typing import Any

from models.manifest import Manifest


class Handler:
    def __init__(self, manifest: Manifest) -> None:
        self.least_confidence = float(manifest.options["least_confidence"])

    def postprocess(self, results: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
        pages = zip(results["boxes"], results["texts"], results["confidences"], strict=True)
        return {"lines": [self.lines(*page) for page in pages]}

    def lines(self, boxes: Any, texts: Any, confidences: Any) -> list[dict[str, Any]]:
        return [
            {
                "text": text,
                "confidence": round(float(confidence), 4),
                "box": [[round(x, 1), round(y, 1)] for x, y in box],
            }
            for box, text, confidence in zip(boxes, texts, confidences, strict=True)
            if text and confidence >= self.least_confidence
        ]
