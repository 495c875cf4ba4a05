"""Train the network on scikit-learn's digits, and save it as a `torch.export` archive with any batch size."""

import json
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from errors import OperatorError
from models.wheels import Wheels

SEED = 7
EPOCHS = 25
BATCH = 64
#: The build fails at or below this share of right answers on held-out digits.
LEAST_ACCURACY = 0.97


class Digits(nn.Module):
    """float32 [n, 1, 8, 8] -> int64 [n] and float32 [n, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 4 * 4, 10))

    def logits(self, pixels: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.features(pixels / 16))
        return found

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        probabilities = self.logits(pixels).softmax(dim=1)
        return probabilities.argmax(dim=1), probabilities


def build(folder: Path, wheels: Wheels) -> str:
    """Fill the version's folder; returns the accuracy as text. Raises OperatorError where it is too low."""
    torch.manual_seed(SEED)
    images, labels = load_digits(return_X_y=True)
    pixels = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8)
    parts = train_test_split(pixels, torch.tensor(labels), test_size=0.25, random_state=SEED, stratify=labels)
    train_pixels, test_pixels, train_labels, test_labels = parts
    network = Digits()
    train(network, train_pixels, train_labels)
    network.eval()
    accuracy = (network(test_pixels)[0] == test_labels).float().mean().item()
    if accuracy <= LEAST_ACCURACY:
        raise OperatorError(f"only {accuracy:.2%} of the held-out digits are right; {LEAST_ACCURACY:.0%} are asked for")
    rows = torch.export.Dim("rows", min=1, max=4096)
    program = torch.export.export(network, (test_pixels[:2],), dynamic_shapes=({0: rows},))
    torch.export.save(program, folder / "model.pt2")
    figures = {"accuracy": round(accuracy, 4), "held_out": len(test_labels), "trained_on": len(train_labels)}
    (folder / "metrics.json").write_text(json.dumps(figures) + "\n")
    return f"accuracy {accuracy:.2%} on {len(test_labels)} held-out digits"


def train(network: Digits, pixels: torch.Tensor, labels: torch.Tensor) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for chosen in torch.split(torch.randperm(len(labels)), BATCH):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network.logits(pixels[chosen]), labels[chosen])
            torch.autograd.backward(loss)
            optimizer.step()
        schedule.step()
