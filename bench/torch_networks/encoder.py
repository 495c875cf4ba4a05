"""A sentence encoder of the shape of all-MiniLM-L6: six layers of 384, twelve heads, mean of the tokens."""

import torch
from torch import nn

VOCABULARY, LENGTH, WIDTH, HEADS, LAYERS = 30522, 512, 384, 12, 6


class Layer(nn.Module):
    """Attention and a feed-forward network, each with a way around it."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.Linear(WIDTH, 3 * WIDTH)
        self.gathered = nn.Linear(WIDTH, WIDTH)
        self.forward_in, self.forward_out = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.before, self.after = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = self.attention(x).unflatten(-1, (3, HEADS, WIDTH // HEADS)).permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(heads[0], heads[1], heads[2])
        x = self.before(x + self.gathered(seen.transpose(1, 2).flatten(2)))
        made: torch.Tensor = self.after(x + self.forward_out(nn.functional.gelu(self.forward_in(x))))
        return made


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.layers = nn.Sequential(*(Layer() for _ in range(LAYERS)))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.words(tokens) + self.places.weight[: tokens.shape[1]]
        return nn.functional.normalize(self.layers(x).mean(1), dim=-1)
