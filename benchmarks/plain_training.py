"""The training step one would write first, for benchmarks/training.py to compare with.

A random batch, padded to its longest example; logits at every position; the mean over the batch.
"""

import torch
import torch.nn.functional as F

from common.device import Compute
from dataset import IGNORE_INDEX, InstructionDataset, custom_collate_fn
from model import GPT2


def step(
    model: GPT2,
    optimizer: torch.optim.Optimizer,
    examples: InstructionDataset,
    indices: list[int],
    compute: Compute,
) -> None:
    batch = custom_collate_fn([examples[i] for i in indices])
    inputs, labels = batch["input_ids"].to(compute.device), batch["labels"].to(compute.device)
    with compute.autocast():
        logits = model(inputs)
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE_INDEX)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
