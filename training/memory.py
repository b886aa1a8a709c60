"""How much goes through a model at once, and whether it fits."""

import torch

from common.device import Compute
from model import GPT2


def affordable_tokens(compute: Compute, model: GPT2) -> int:
    """Tokens, padding counted, that may go through `model` at once in training.

    On a GPU, half of its free memory after gradients and AdamW's two moments (12 bytes a parameter), at 64
    bytes for every token, layer and dimension (128 in float32). What torch's allocator counts is some 40 in
    bfloat16, and 1.5 GB besides for logits and the like: of cards from 16 GB up, 10 to 55%. On a CPU, more
    was not faster.
    """
    if compute.device.type != "cuda":
        return 2048
    config = model.config
    free, _ = torch.cuda.mem_get_info(compute.device)
    free -= 12 * sum(p.numel() for p in model.parameters())
    a_token = (64 if compute.dtype != torch.float32 else 128) * config.num_layers * config.embedding_dim
    return min(max(free // 2 // a_token, config.context_length), 65536)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch found no memory, on whatever device."""
    words = "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED"
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )
