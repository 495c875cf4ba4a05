"""The BERT encoder (Devlin et al., https://arxiv.org/abs/1810.04805) with mean pooling, as far as inference needs it.

Parameters bear the names of the published state dict of all-MiniLM-L6-v2, which loads as it is.
"""

import math

import torch
from torch import nn

VOCABULARY = 30522
POSITIONS = 512
WIDTH = 384
HEADS = 12
LAYERS = 6
INNER = 1536
#: Of every layer normalisation, as in the published configuration.
EPSILON = 1e-12


class Embeddings(nn.Module):
    """Token ids int64 [n, t] -> [n, t, WIDTH]."""

    position_ids: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(VOCABULARY, WIDTH)
        self.position_embeddings = nn.Embedding(POSITIONS, WIDTH)
        self.token_type_embeddings = nn.Embedding(2, WIDTH)
        self.LayerNorm = nn.LayerNorm(WIDTH, eps=EPSILON)
        self.register_buffer("position_ids", torch.arange(POSITIONS)[None])

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        # A single sentence has token type 0 throughout.
        fixed = self.position_embeddings.weight[: ids.shape[1]] + self.token_type_embeddings.weight[0]
        normal: torch.Tensor = self.LayerNorm(self.word_embeddings.weight[ids] + fixed)
        return normal


class Attention(nn.Module):
    """Multi-head self-attention with its residual."""

    def __init__(self) -> None:
        super().__init__()
        names = ("query", "key", "value")
        self.self = nn.ModuleDict({name: nn.Linear(WIDTH, WIDTH) for name in names})
        self.output = Residual(WIDTH)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        query, key, value = (self.heads(self.self[name](x)) for name in ("query", "key", "value"))
        scores = query @ key.transpose(2, 3) / math.sqrt(WIDTH // HEADS) + bias
        mixed = (scores.softmax(dim=3) @ value).transpose(1, 2)
        joined: torch.Tensor = self.output(mixed.reshape(x.shape[0], x.shape[1], WIDTH), x)
        return joined

    @staticmethod
    def heads(x: torch.Tensor) -> torch.Tensor:
        return x.reshape(x.shape[0], x.shape[1], HEADS, WIDTH // HEADS).transpose(1, 2)


class Residual(nn.Module):
    """A linear layer, the residual, and a layer normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, WIDTH)
        self.LayerNorm = nn.LayerNorm(WIDTH, eps=EPSILON)

    def forward(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        normal: torch.Tensor = self.LayerNorm(self.dense(x) + residual)
        return normal


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(WIDTH, INNER)})
        self.output = Residual(INNER)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        x = self.attention(x, bias)
        layer: torch.Tensor = self.output(nn.functional.gelu(self.intermediate["dense"](x)), x)
        return layer


class SentenceEncoder(nn.Module):
    """Ids and mask int64 [n, t] -> embeddings float32 [n, WIDTH] of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = Embeddings()
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer() for _ in range(LAYERS))})

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        mask = attention_mask.to(torch.float32)
        bias = (1 - mask)[:, None, None, :] * torch.finfo(torch.float32).min
        x = self.embeddings(input_ids)
        for layer in self.encoder["layer"].children():
            x = layer(x, bias)
        mean = (x * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        return nn.functional.normalize(mean, dim=1)
