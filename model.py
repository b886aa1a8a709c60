"""GPT-2 and its KV cache.

    model = load_model("checkpoints/sft_30M_model/best")      # a folder, a .pt or .safetensors file, a Hub id
    logits = model(input_ids)                                 # (B, T) -> (B, T, V)

Shapes: B batch, T tokens, C embedding_dim, H num_heads, D = C / H head dim, V vocab_size, L num_layers.

State dicts and files are in the published layout (see Attention), so what is trained here loads there; int8
weights make a model with int8 layers (common/int8.py). This file neither trains nor samples.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from torch import Tensor, nn

from common.checkpoints import locate
from common.endings import ENDINGS_FILE, Taught, read_taught, write_taught
from common.int8 import Int8Linear
from common.layers import Dropout, Embedding, Linear
from common.layout import clean
from common.presets import ModelConfig
from common.weights import load_weights, read_weights


class KVCache:
    """Keys and values of the tokens read so far, so that each new token costs one position.

    Room for `max_length` tokens of B rows, (L, B, H, max_length, D), is taken once. Prompts of different
    lengths end together: the first `padding` (B,) int64 tokens of each row stand for nothing.
    """

    def __init__(
        self, model: "GPT2", batch_size: int, max_length: int, padding: Tensor | None = None
    ) -> None:
        c = model.config
        shape = (c.num_layers, batch_size, c.num_heads, max_length, c.embedding_dim // c.num_heads)
        like = model.layer_norm.weight
        self.keys = torch.empty(shape, dtype=like.dtype, device=like.device)
        self.values = torch.empty_like(self.keys)
        self.padding = padding if padding is not None and padding.any() else None  # without is faster
        self.length = 0  # tokens held, padding counted

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Take in a layer's k and v (B, H, T, D) of the next T tokens -> all that it holds, (B, H, S, D)."""
        keys, values, T = self.keys[layer], self.values[layer], k.shape[2]
        keys.narrow(2, self.length, T).copy_(k)
        values.narrow(2, self.length, T).copy_(v)
        return keys.narrow(2, 0, self.length + T), values.narrow(2, 0, self.length + T)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone. rows[i] >= i, so that no row is overwritten before it is copied."""
        for place, row in enumerate(rows):
            if place != row:
                for held in (self.keys, self.values):
                    held[:, place, :, : self.length] = held[:, row, :, : self.length]
        self.keys, self.values = self.keys[:, : len(rows)], self.values[:, : len(rows)]
        if self.padding is not None:
            self.padding = self.padding[rows]
            self.padding = self.padding if self.padding.any() else None

    def positions(self, T: int) -> tuple[Tensor, Tensor | None]:
        """The positions of the next T tokens, (T,) or (B, T), and which of all S tokens each may see, (B,
        1, T, S) bool; None means all up to itself."""
        places = torch.arange(self.length + T, device=self.keys.device)  # (S,)
        here = places[self.length :]  # (T,)
        if self.padding is None:
            return here, None
        padding = self.padding[:, None]  # (B, 1)
        seen = (places <= here[:, None]) & (places >= padding[:, :, None])  # (B, T, S)
        seen |= places == here[:, None]  # padding sees itself: a softmax needs something
        return (here - padding).clamp(min=0), seen[:, None]


def split_heads(qkv: Tensor, num_heads: int) -> tuple[Tensor, ...]:
    """(B, T, 3 C) -> q, k and v, each (B, H, T, D)."""
    B, T, _ = qkv.shape
    return qkv.view(B, T, 3, num_heads, -1).permute(2, 0, 3, 1, 4).unbind()


def attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, cache: KVCache | None = None, dropout: float = 0.0
) -> Tensor:
    """q (B, H, T, D), k and v (B, H, S, D) -> (B, H, T, D). Without a mask each token sees those up to
    itself, and the one token (T = 1) behind what a cache holds sees all."""
    is_causal = mask is None and (cache is None or not cache.length)  # no question of T: one graph for all
    return F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal)


class Attention(nn.Module):
    """Causal multi-head self-attention, with q, k and v as one projection in memory.

    The published modules have a small q, k and v projection for each head, heads.{h}.{q,k,v}, and so have
    this module's state dicts: two hooks cut `qkv` into them, and join them when a state dict is loaded.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.dropout = Dropout(config.dropout_rate)
        self.qkv = Linear(config.embedding_dim, 3 * config.embedding_dim)
        self.out_proj = Linear(config.embedding_dim, config.embedding_dim)
        self.register_state_dict_post_hook(cut_into_heads)
        self.register_load_state_dict_pre_hook(join_heads)

    def forward(
        self, x: Tensor, cache: KVCache | None = None, layer: int = 0, mask: Tensor | None = None
    ) -> Tensor:
        q, k, v = split_heads(self.qkv(x), self.num_heads)
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        if self.training and self.dropout.p and x.device.type == "cpu":
            x = self._attend_with_dropout(q, k, v)
        else:
            x = attend(q, k, v, mask, cache, self.dropout.p if self.training else 0.0)
        return self.out_proj(x.transpose(1, 2).flatten(2))  # (B, T, C)

    def _attend_with_dropout(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """All (B, H, T, D). On a CPU torch has no fast attention with dropout."""
        future = torch.full((q.shape[2], k.shape[2]), -torch.inf).triu(1)  # (T, T)
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + future  # (B, H, T, T)
        return self.dropout(torch.softmax(scores, -1)) @ v


def projections(attention: Attention, prefix: str, kind: str) -> list[str]:
    """The published names of the rows of `qkv`'s tensor `kind` ("weight", "bias", "scale"), in order."""
    return [f"{prefix}heads.{h}.{name}.{kind}" for name in "qkv" for h in range(attention.num_heads)]


def cut_into_heads(attention: Attention, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """In a state dict that was just made, replace `qkv`'s tensors by views of their rows."""
    for kind in attention.qkv.state_dict():
        names = projections(attention, prefix, kind)
        state.update(zip(names, state.pop(f"{prefix}qkv.{kind}").chunk(len(names)), strict=True))


def join_heads(attention: Attention, state: dict[str, Tensor], prefix: str, *others: Any) -> None:
    """The way back, before a state dict is loaded. One with `qkv` is left as it is: older runs saved that."""
    _, _, missing, *_ = others
    for kind in attention.qkv.state_dict():
        names, joined = projections(attention, prefix, kind), f"{prefix}qkv.{kind}"
        if all(name in state for name in names):
            state[joined] = torch.cat([state.pop(name) for name in names])
        elif joined not in state:
            missing += [name for name in names if name not in state]


class FeedForward(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Linear(config.embedding_dim, 4 * config.embedding_dim),
            nn.GELU(),  # exact (erf)
            Linear(4 * config.embedding_dim, config.embedding_dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Block(nn.Module):
    """Pre-norm: what attention and feed-forward add to the residual stream is dropped out, the stream not."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.embedding_dim)
        self.mha = Attention(config)
        self.layer_norm2 = nn.LayerNorm(config.embedding_dim)
        self.feed_forward = FeedForward(config)
        self.dropout = Dropout(config.dropout_rate)

    def forward(
        self, x: Tensor, cache: KVCache | None = None, layer: int = 0, mask: Tensor | None = None
    ) -> Tensor:
        x = x + self.dropout(self.mha(self.layer_norm1(x), cache, layer, mask))
        return x + self.dropout(self.feed_forward(self.layer_norm2(x)))


class Embeddings(nn.Module):
    """Token plus learned position embedding."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.token_embedding = Embedding(config.vocab_size, config.embedding_dim)
        self.pos_embedding = Embedding(config.context_length, config.embedding_dim)
        self.dropout = Dropout(config.dropout_rate)

    def forward(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        return self.dropout(self.token_embedding(input_ids) + self.pos_embedding(positions))  # (B, T, C)


class GPT2(nn.Module, PyTorchModelHubMixin, library_name="pytorch", pipeline_tag="text-generation"):
    """GPT-2 with learned positions and an output layer of its own (not tied, with a bias).

    `from_pretrained`, `save_pretrained` and `push_to_hub` work as on the Hub; files are in the published
    layout, and loading is strict.

    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners".
    """

    def __init__(
        self,
        dropout_rate: float = 0.1,
        vocab_size: int = 50257,
        context_length: int = 512,
        embedding_dim: int = 384,
        num_layers: int = 6,
        num_heads: int = 6,
    ) -> None:
        if embedding_dim % num_heads:
            raise ValueError(f"embedding_dim {embedding_dim} is not a multiple of num_heads {num_heads}")
        self._build(
            ModelConfig(dropout_rate, vocab_size, context_length, embedding_dim, num_layers, num_heads)
        )
        self._init_weights()

    @classmethod
    def _without_weights(cls, config: ModelConfig) -> "GPT2":
        """Shapes alone, for weights to be put into."""
        model = cls.__new__(cls, **asdict(config))  # where PyTorchModelHubMixin notes the config
        with torch.device("meta"):
            model._build(config)
        return model

    def _build(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.taught = Taught()  # goes with the weights from file to file
        self.embeddings = Embeddings(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.layer_norm = nn.LayerNorm(config.embedding_dim)
        self.output_layer = Linear(config.embedding_dim, config.vocab_size)

    def _init_weights(self) -> None:
        """N(0, 0.02); what adds to the residual stream is scaled by 1/sqrt(2 L): GPT-2 paper, 2.3."""
        for name, parameter in self.named_parameters():
            if parameter.dim() == 1:
                nn.init.zeros_(parameter) if name.endswith("bias") else nn.init.ones_(parameter)
            else:
                residual = name.endswith(("out_proj.weight", "layers.2.weight"))
                nn.init.normal_(parameter, std=0.02 / (2 * len(self.blocks)) ** 0.5 if residual else 0.02)

    @property
    def is_int8(self) -> bool:
        return isinstance(self.output_layer, Int8Linear)

    @property
    def device(self) -> torch.device:
        return self.layer_norm.weight.device

    def hidden(self, input_ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """(B, T) int64 -> (B, T, C), all but the output layer, for callers that need few positions' logits.

        With a cache, `input_ids` are the tokens that follow those it holds: a prompt into an empty cache,
        then one at a time. Raises IndexError past the context length.
        """
        start = cache.length if cache is not None else 0
        T = input_ids.shape[1]
        if start + T > self.config.context_length:
            raise IndexError(f"{start + T} tokens, but the context length is {self.config.context_length}")
        if start and T > 1:
            raise ValueError("a cache that holds tokens takes one new token at a time")
        if cache is not None:
            positions, mask = cache.positions(T)
        else:
            positions, mask = torch.arange(T, device=input_ids.device), None
        x = self.embeddings(input_ids, positions)  # (B, T, C)
        for layer, block in enumerate(self.blocks):
            x = block(x, cache, layer, mask)
        if cache is not None:
            cache.length += T
        return self.layer_norm(x)

    def forward(self, input_ids: Tensor) -> Tensor:
        """(B, T) int64 -> logits (B, T, V)."""
        return self.output_layer(self.hidden(input_ids))

    def _save_pretrained(self, save_directory: Path) -> None:
        # save_file would make the file readable by its owner alone.
        content = safetensors.torch.save(self.state_dict(), metadata={"format": "pt"})
        (save_directory / "model.safetensors").write_bytes(content)
        write_taught(save_directory, self.taught)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **how: Any) -> "GPT2":  # type: ignore[override]
        if not Path(model_id).is_dir():
            where = {name: how[name] for name in ("revision", "cache_dir", "force_download", "token")}
            with suppress(EntryNotFoundError):
                hf_hub_download(model_id, ENDINGS_FILE, local_files_only=how["local_files_only"], **where)
        return super()._from_pretrained(model_id=model_id, **how)

    @classmethod
    def _load_as_safetensor(cls, model, model_file, map_location, strict):  # type: ignore[no-untyped-def]
        load_weights(model, clean(safetensors.torch.load_file(model_file), model_file), model_file)
        model.taught = read_taught(Path(model_file).parent)
        return model.to(map_location).eval()


def load_model(path: str | Path, device: str | torch.device = "cpu") -> GPT2:
    """A checkpoint in any published form, as a GPT2 in eval mode, float32 or int8 as it is, on `device`.

    `path` is a .pt file (a bare state dict, or a dict with `model_state_dict`), a .safetensors file, a folder
    that holds either, or a Hub id `namespace/name[@revision]`. Raises CheckpointError.
    """
    file = locate(str(path))
    state, config = read_weights(file)
    model = GPT2._without_weights(config)
    load_weights(model, state, str(file))
    model.taught = read_taught(file.parent)
    return model.to(device).eval()
