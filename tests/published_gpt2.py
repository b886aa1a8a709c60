"""The published model's layout, as plainly as possible: an oracle for model.py that shares nothing with it.

Every head is a module with its own small q, k and v; attention is a softmax over a masked matrix; nothing is
cached. Its state dict has exactly the keys of a published checkpoint, mask buffers included.
"""

import math

import torch
from torch import Tensor, nn


class Head(nn.Module):
    mask: Tensor

    def __init__(self, context_length: int, embedding_dim: int, head_dim: int) -> None:
        super().__init__()
        self.q = nn.Linear(embedding_dim, head_dim)
        self.k = nn.Linear(embedding_dim, head_dim)
        self.v = nn.Linear(embedding_dim, head_dim)
        self.register_buffer("mask", torch.tril(torch.ones(context_length, context_length)))

    def forward(self, x: Tensor) -> Tensor:
        T = x.shape[1]
        scores = self.q(x) @ self.k(x).transpose(1, 2) / math.sqrt(self.q.out_features)
        scores = scores.masked_fill(self.mask[:T, :T] == 0, -math.inf)
        return torch.softmax(scores, dim=-1) @ self.v(x)


class MultiHeadAttention(nn.Module):
    def __init__(self, context_length: int, embedding_dim: int, num_heads: int) -> None:
        super().__init__()
        head_dim = embedding_dim // num_heads
        self.heads = nn.ModuleList(Head(context_length, embedding_dim, head_dim) for _ in range(num_heads))
        self.out_proj = nn.Linear(embedding_dim, embedding_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.out_proj(torch.cat([head(x) for head in self.heads], dim=-1))


class ExactGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


class FeedForward(nn.Module):
    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(embedding_dim, 4 * embedding_dim),
            ExactGELU(),
            nn.Linear(4 * embedding_dim, embedding_dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Block(nn.Module):
    def __init__(self, context_length: int, embedding_dim: int, num_heads: int) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(embedding_dim)
        self.mha = MultiHeadAttention(context_length, embedding_dim, num_heads)
        self.layer_norm2 = nn.LayerNorm(embedding_dim)
        self.feed_forward = FeedForward(embedding_dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mha(self.layer_norm1(x))
        return x + self.feed_forward(self.layer_norm2(x))


class Embeddings(nn.Module):
    def __init__(self, vocab_size: int, context_length: int, embedding_dim: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, embedding_dim)
        self.pos_embedding = nn.Embedding(context_length, embedding_dim)


class PublishedGPT2(nn.Module):
    def __init__(
        self,
        dropout_rate: float,
        vocab_size: int,
        context_length: int,
        embedding_dim: int,
        num_layers: int,
        num_heads: int,
    ) -> None:
        super().__init__()
        self.embeddings = Embeddings(vocab_size, context_length, embedding_dim)
        self.blocks = nn.ModuleList(
            Block(context_length, embedding_dim, num_heads) for _ in range(num_layers)
        )
        self.layer_norm = nn.LayerNorm(embedding_dim)
        self.output_layer = nn.Linear(embedding_dim, vocab_size)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embeddings.token_embedding(ids) + self.embeddings.pos_embedding.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.output_layer(self.layer_norm(x))

    @torch.no_grad()
    def greedy(self, ids: Tensor, count: int, context_length: int) -> Tensor:
        """(B, T) -> (B, count): the likeliest next token, the whole sequence again for every one."""
        start = ids.shape[1]
        for _ in range(count):
            ids = torch.cat([ids, self(ids[:, -context_length:])[:, -1].argmax(-1, keepdim=True)], dim=1)
        return ids[:, start:]
