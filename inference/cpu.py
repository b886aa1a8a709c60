"""A model made ready to tell stories on a CPU: the same numbers sooner. Training and saving end here.

    model = for_inference(load_model("checkpoints/sft_30M_model/best"))

Every token takes reading every weight once, so two things count. Products run in oneDNN, with weights laid
out for it; torch's own for float32 are MKL's, which on an AMD processor take two to four times as long. And
the next token of one story needs a few logits out of 50,257: int8 weights, a quarter of the bytes, tell which
few.
"""

from typing import Any

import torch
from torch import Tensor, nn

from common.int8 import Int8Linear, has_int8_products, to_int8
from model import GPT2, Block, KVCache, attend, split_heads

ROUNDING = 1e-5  # of float32 sums, by the lengths of what is multiplied; a hundred times what was seen


def onednn_linear(x: Tensor, weight: Tensor, bias: Tensor, then: str = "none") -> Tensor:
    """A linear layer and, if `then` is "gelu", the GELU behind it."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "none")


def onednn_linear_add(x: Tensor, weight: Tensor, bias: Tensor, stream: Tensor) -> Tensor:
    """A linear layer, and the residual stream that it adds to."""
    return torch.ops.mkldnn._linear_pointwise.binary(x, stream, weight, bias, "add")


def pack(linear: nn.Linear) -> tuple[Tensor, Tensor]:
    """Its weight, laid out for `onednn_linear`, and its bias."""
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
        q, k, v = split_heads(onednn_linear(self.layer_norm1(x), *self.qkv), self.num_heads)
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        x = onednn_linear_add(attend(q, k, v, mask, cache).transpose(1, 2).flatten(2), *self.out_proj, x)
        wide = onednn_linear(self.layer_norm2(x), *self.up, then="gelu")
        return onednn_linear_add(wide, *self.down, x)


class OutputLayer(nn.Module):
    """Takes the place of a float32 output layer: (..., C) -> (..., V), or the largest logits alone."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.packed, self.bias = pack(linear)  # for all logits
        self.weight = linear.weight.detach()  # (V, C), for single logits: a packed weight has no rows to pick
        self.int8 = Int8Linear(linear)  # for bounds on all; with it, 2.25 times the layer's memory
        dequantized = self.int8.dequantized()
        lengths = dequantized.norm(dim=-1)
        self.errors = torch.stack([(self.weight - dequantized).norm(dim=-1) + ROUNDING * lengths, lengths])
        self.rounding = ROUNDING * self.bias.abs()

    def forward(self, x: Tensor) -> Tensor:
        return onednn_linear(x, self.packed, self.bias)

    def bounds(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The least and the most that each logit of x (1, C) can be, both (V,).

        With x' and W' rounded to int8, by the triangle and the Cauchy-Schwarz inequality
            |W[n] x - W'[n] x'| <= |W[n] - W'[n]| |x| + |W'[n]| |x - x'|
        """
        whole, scale = to_int8(x)
        lengths = torch.cat([x.norm(dim=-1), (x - whole * scale).norm(dim=-1)])  # (2,)
        logits, bound = self.int8.multiply(whole, scale)[0], lengths @ self.errors + self.rounding
        return logits - bound, logits + bound

    def largest(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k largest logits of x (1, C), descending, and their tokens, both (1, k): those of `forward` but
        for rounding.

        A token is left out if the upper bound on its logit is below the lower bounds of k others. The logits
        of the rest, some hundreds of 50,257, are computed in float32.
        """
        V = len(self.weight)
        if 16 * k <= V and has_int8_products():
            least, most = self.bounds(x)
            block = V // (16 * k)  # k blocks' largest are k logits, and found sooner than the k largest
            enough = least[: V // block * block].view(-1, block).amax(-1).topk(k).values[-1]
            tokens = (most >= enough).nonzero().squeeze(-1)
            if len(tokens) <= V // 8:
                values, places = torch.addmv(self.bias[tokens], self.weight[tokens], x[0]).topk(k)
                return values[None], tokens[places][None]
        values, tokens = self(x).topk(k)
        return values, tokens


def for_inference(model: GPT2) -> GPT2:
    """Change `model` in place and return it: float32 on a CPU becomes faster, int8 becomes float32 where a
    processor has no use for it, all else stays as it is."""
    on_cpu = model.device.type == "cpu"
    if model.is_int8 and not (on_cpu and has_int8_products()):
        _dequantize(model)
    weight = model.output_layer.weight
    if not on_cpu or weight.dtype != torch.float32 or not torch.backends.mkldnn.is_available():
        return model
    if not isinstance(model.output_layer, OutputLayer):
        model.output_layer = OutputLayer(model.output_layer)  # type: ignore[assignment]
        blocks: Any = model.blocks
        model.blocks = nn.ModuleList(map(PackedBlock, blocks))
        model.register_state_dict_pre_hook(_refuse_to_save)
    return model


def _dequantize(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, Int8Linear):
            linear = nn.Linear(1, 1)
            linear.weight, linear.bias = nn.Parameter(child.dequantized()), nn.Parameter(child.bias)
            setattr(module, name, linear)
        else:
            _dequantize(child)


def _refuse_to_save(*_: object) -> None:
    raise RuntimeError("a model that was made ready for inference cannot be saved; load it anew")
