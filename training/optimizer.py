"""AdamW as finetune.py uses it: which weights decay, clipping, and, in float16, the scale of the loss.

    optimizer = Optimizer(model, compute)
    optimizer.scaled(loss).backward()
    norm = optimizer.step(rate=5e-5)     # of the gradient

Nothing here waits for a GPU.
"""

from typing import Any

import torch
from torch import Tensor, nn

from common.device import Compute
from common.errors import InputError


class Optimizer:
    """Weights of linear layers decay; biases, norms and embeddings do not.

    Small gradients would be 0 in float16, so the loss is scaled up, by torch's GradScaler: a step whose
    gradients are not finite then is skipped, and the scale halved. In bfloat16 and float32 it does nothing.
    """

    def __init__(
        self, model: nn.Module, compute: Compute, weight_decay: float = 0.1, grad_clip: float = 0.0
    ) -> None:
        linear = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
        parameters = list(model.parameters())
        self.adamw = torch.optim.AdamW(
            [
                {"params": [p for p in parameters if id(p) in linear], "weight_decay": weight_decay},
                {"params": [p for p in parameters if id(p) not in linear], "weight_decay": 0.0},
            ],
            fused=True,
        )
        self.scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.dtype == torch.float16)
        self.parameters, self.grad_clip = parameters, grad_clip
        self.zero_grad = self.adamw.zero_grad

    @property
    def may_skip(self) -> bool:
        """Whether a step whose gradient is not finite changes nothing."""
        return self.scaler.is_enabled()

    def scaled(self, loss: Tensor) -> Tensor:
        """What to call `backward` of."""
        return self.scaler.scale(loss)

    def step(self, rate: float) -> Tensor:
        """Change the weights by their gradients, clipped to a norm of `grad_clip` unless that is 0, at the
        learning rate `rate`. Returns the norm of the gradient before, float32, on its device."""
        for group in self.adamw.param_groups:
            group["lr"] = rate
        self.scaler.unscale_(self.adamw)
        norm = nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        if self.grad_clip:
            nn.utils.clip_grads_with_norm_(self.parameters, self.grad_clip, norm)
        self.scaler.step(self.adamw)
        self.scaler.update()
        return norm

    def state_dict(self) -> dict[str, Any]:
        return {"optimizer": self.adamw.state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take its two entries out of `state`. Raises InputError if other weights decayed there."""
        saved, scaler = state.pop("optimizer"), state.pop("scaler", None)
        groups, saved_groups = (
            [len(group["params"]) for group in each["param_groups"]]
            for each in (self.adamw.state_dict(), saved)
        )
        if groups != saved_groups:
            raise InputError(
                "--resume: the run was saved by an older version, in which all weights decayed; go on with "
                "that version, or start anew with --overwrite"
            )
        self.adamw.load_state_dict(saved)
        if scaler and self.may_skip:  # saved on a device that computes in float16, too
            self.scaler.load_state_dict(scaler)
