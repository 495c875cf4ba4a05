"""A network of the shape of ResNet-18 (He et al., https://arxiv.org/abs/1512.03385), batch normalisation folded away.

It takes pictures as bytes, and normalises them itself.
"""

import torch
from torch import nn

#: Channels and stride of each stage's first block; every stage has two.
STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))


class Block(nn.Module):
    """Two convolutions and the way around them."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, 1)
        self.second = nn.Conv2d(after, after, 3, 1, 1)
        self.around = nn.Identity() if before == after else nn.Conv2d(before, after, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.second(torch.relu(self.first(x)))
        return torch.relu(inner + self.around(x))


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 7, 2, 3)
        blocks, before = [], 64
        for channels, stride in STAGES:
            blocks += [Block(before, channels, stride), Block(channels, channels, 1)]
            before = channels
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(before, 1000)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = (image.permute(0, 3, 1, 2).to(self.head.weight.dtype) - 120) / 58
        x = nn.functional.max_pool2d(torch.relu(self.stem(x)), 3, 2, 1)
        made: torch.Tensor = self.head(self.blocks(x).mean((2, 3)))
        return made
