"""A model made ready to tell stories on a CPU: the same numbers sooner. Training and saving end here.

    model = for_inference(load_model("checkpoints/sft_30M_model/best"))

To tell a token is to read every weight once, so two things count. Products run in oneDNN, with weights laid
out for it; torch's own for float32 are MKL's, which on an AMD processor take two to four times as long. And
one story's next token needs a few logits out of 50,257: int8 weights tell which, a quarter of the bytes.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from int8 import Int8Linear, to_int8
from model import GPT2, Block, KVCache, split_heads


def product(x: Tensor, weight: Tensor, bias: Tensor, then: str = "none") -> Tensor:
    """A linear layer and, if `then` is "gelu", the GELU behind it."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "none")


def product_plus(x: Tensor, weight: Tensor, bias: Tensor, stream: Tensor) -> Tensor:
    """A linear layer, and the residual stream that it adds to."""
    return torch.ops.mkldnn._linear_pointwise.binary(x, stream, weight, bias, "add")


def pack(linear: nn.Linear) -> tuple[Tensor, Tensor]:
    """Its weight, laid out for `product`, and its bias."""
    return torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None), linear.bias.detach()


class PackedBlock(nn.Module):
    """Takes the place of a float32 block, in fewer and larger steps."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.num_heads = block.mha.num_heads
        self.layer_norm1, self.layer_norm2 = block.layer_norm1, block.layer_norm2
        up: Any = block.feed_forward.layers[0]
        down: Any = block.feed_forward.layers[2]
        self.qkv, self.out_proj = pack(block.mha.qkv), pack(block.mha.out_proj)
        self.up, self.down = pack(up), pack(down)

    def forward(
        self, x: Tensor, cache: KVCache | None = None, layer: int = 0, mask: Tensor | None = None
    ) -> Tensor:
        q, k, v = split_heads(product(self.layer_norm1(x), *self.qkv), self.num_heads)
        is_causal = mask is None and x.shape[1] > 1
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal)
        x = product_plus(attended.transpose(1, 2).flatten(2), *self.out_proj, x)
        wide = product(self.layer_norm2(x), *self.up, then="gelu")
        return product_plus(wide, *self.down, x)


class OutputLayer(nn.Module):
    """Takes the place of a float32 output layer: (..., C) -> (..., V), or the largest logits alone."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.packed, self.bias = pack(linear)  # for all logits
        self.weight = linear.weight.detach()  # (V, C), for single ones: packed, rows cannot be picked
        self.rough = Int8Linear(linear)
        known = self.rough.weight * self.rough.scale[:, None]
        self.errors = torch.stack([(self.weight - known).norm(dim=-1), known.norm(dim=-1)])  # (2, V)

    def forward(self, x: Tensor) -> Tensor:
        return product(x, self.packed, self.bias)

    def largest(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k largest logits of x (1, C), descending, and their tokens, both (1, k): those of `forward`.

        With x' and W' rounded to int8, by the triangle and the Cauchy-Schwarz inequality
            |W[n] x - W'[n] x'| <= |W[n] - W'[n]| |x| + |W'[n]| |x - x'|,
        so no token can be among the k largest whose logit is at most less than k others are at least. What is
        left, some hundreds, is computed in float32.
        """
        whole, scale = to_int8(x)
        lengths = torch.cat([x.norm(dim=-1), (x - whole * scale).norm(dim=-1)])  # (2,)
        bound = (lengths * 1.001) @ self.errors  # (V,); a thousandth for the rounding of all these sums
        rough = self.rough(x)[0]
        block = max(len(rough) // (16 * k), 1)  # the largest of k blocks are k logits, and sooner found
        least = (rough - bound)[: len(rough) // block * block].view(-1, block).amax(-1).topk(k).values[-1]
        tokens = (rough + bound >= least).nonzero().squeeze(-1)
        values, places = torch.addmv(self.bias[tokens], self.weight[tokens], x[0]).topk(k)
        return values[None], tokens[places][None]


def for_inference(model: GPT2) -> GPT2:
    """Change `model` in place and return it, as it is where nothing is to be gained: on a GPU, in int8."""
    weight = model.output_layer.weight
    if (
        model.device.type != "cpu"
        or weight.dtype != torch.float32
        or not torch.backends.mkldnn.is_available()
    ):
        return model
    model.output_layer = OutputLayer(model.output_layer)  # type: ignore[assignment]
    blocks: Any = model.blocks
    model.blocks = nn.ModuleList(map(PackedBlock, blocks))
    return model
