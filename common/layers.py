"""torch's layers, sooner: without weights that are drawn and never used, with a faster dropout on a CPU."""

import torch
from torch import Tensor, nn


class Linear(nn.Linear):
    def reset_parameters(self) -> None:
        """Nothing: GPT2 draws all weights itself, or none where a file brings them."""


class Embedding(nn.Embedding):
    def reset_parameters(self) -> None:
        """Nothing, as above."""


class Dropout(nn.Dropout):
    """torch's, at a third of the cost on a CPU: 16 random bits decide on a number, where torch draws 32 one
    by one, so the rate is kept to 1/65536."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        on_cpu = x.device.type == "cpu" and not torch.compiler.is_compiling()
        if not (on_cpu and 0 < self.p < 1):
            return super().forward(x)
        four_each = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = four_each.view(torch.int16)[: x.numel()].view(x.shape)
        return (x * (1 / (1 - self.p))).masked_fill(bits < round(self.p * 2**16) - 2**15, 0)
