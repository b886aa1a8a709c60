"""Pre-train nano on plain stories of the grammar: no prompts, both endings as they fall.

    uv run python -m samples.pretrain_nano
    uv run python -m samples.pretrain_nano --no-omens --output data/base_without_omens

The first made assets/nano_base. Every step sees new stories, packed one after another with the end-of-text
token between them. Weights are stored in half precision. Anyone can remake the base with this; the quickstart
only reads the result.
"""

import math
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from common.checkpoints import CHECKPOINT
from common.cli import parse, run, setting
from common.errors import InputError
from common.files import whole_folder, write_text
from common.presets import PRESETS
from dataset import get_tokenizer
from model import GPT2
from samples.story_grammar import tell


@dataclass(frozen=True)
class Settings:
    output: str = setting("assets/nano_base", "folder to write; replaced if it is there")
    steps: int = setting(8_000, "optimiser steps", at_least=1)
    batch_size: int = setting(8, "rows of context-length tokens in a step", at_least=1)
    lr: float = setting(4e-3, "highest learning rate: linear warm-up, then a cosine to a tenth", at_least=0)
    save_every: int = setting(500, "steps between two savings", at_least=1)
    omens: bool = setting(True, "stories foretell how they end; else their turn alone tells it")
    seed: int = setting(0, "seed of weights and stories", at_least=0)


def story_batches(settings: Settings, width: int, vocab_size: int) -> Iterator[Tensor]:
    """Yield (batch_size, width) int64 without end: stories back to back, none of a held-out topic."""
    tokenizer = get_tokenizer(vocab_size)
    rng = random.Random(f"pretrain {settings.seed}")
    tokens: list[int] = []
    while True:
        while len(tokens) < settings.batch_size * width:
            story = tell(rng, held_out=False, omens=settings.omens).story
            tokens += [*tokenizer.encode_ordinary(story), tokenizer.eot_token]
        yield torch.tensor(tokens[: settings.batch_size * width]).view(settings.batch_size, width)
        tokens = tokens[settings.batch_size * width :]


def learning_rate(step: int, settings: Settings) -> float:
    warmup = min(200, settings.steps // 10 + 1)
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    progress = (step - warmup) / max(settings.steps - warmup, 1)
    return settings.lr * (0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2)


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    output = Path(settings.output)
    if output.exists() and not (output / CHECKPOINT[0]).exists():
        raise InputError(f"--output {output}: holds no checkpoint that could be replaced; name another")
    torch.manual_seed(settings.seed)
    config = PRESETS["nano"].config
    model = GPT2(**asdict(config)).train()
    init_narrow(model)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.lr, weight_decay=0.1, betas=(0.9, 0.98), fused=True
    )
    batches = story_batches(settings, config.context_length + 1, config.vocab_size)
    started = time.perf_counter()
    with tqdm(total=settings.steps, unit=" steps", desc="pre-train") as progress:
        for step in range(settings.steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, settings)
            batch = next(batches)
            logits = model(batch[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            progress.update()
            if step % 50 == 0:
                progress.set_postfix_str(f"loss {loss.item():.3f}")
            if (step + 1) % settings.save_every == 0 or step + 1 == settings.steps:
                save_half(model, output, step + 1, loss.item(), settings.omens)
    print(f"loss {loss.item():.3f} after {time.perf_counter() - started:.0f} s; written to {settings.output}")


@torch.no_grad()
def init_narrow(model: GPT2) -> None:
    """Start a narrow model so that it soon learns to copy names.

    GPT-2's std of 0.02 suits 768 dims and more; at 96, 1 / sqrt(C) keeps attention scores of order one. The
    learned positions start as sinusoids (Vaswani et al. 2017, section 3.5): with them, a head that looks one
    token back is one linear map for all positions, and copying builds on such heads (Olsson et al. 2022,
    "In-context Learning and Induction Heads").
    """
    C = model.config.embedding_dim
    scale = C**-0.5 / 0.02
    for parameter in model.parameters():
        if parameter.dim() == 2:
            parameter.mul_(scale)
    position = torch.arange(model.config.context_length)[:, None]  # (T, 1)
    angle = position / 10_000 ** (torch.arange(0, C, 2) / C)  # (T, C / 2)
    model.embeddings.pos_embedding.weight.copy_(torch.cat([angle.sin(), angle.cos()], 1) * C**-0.5)


def save_half(model: GPT2, folder: Path, step: int, loss: float, omens: bool) -> None:
    """Write the weights in half precision, config.json beside them; loading makes them fp32 again."""
    half = GPT2(**asdict(model.config)).half()
    half.load_state_dict(model.state_dict())
    with whole_folder(folder, CHECKPOINT) as temporary:
        write_text(
            temporary / "README.md",
            "nano, pre-trained by samples/pretrain_nano.py on plain stories of the sample grammar"
            f"{'' if omens else ', without omens'}:\n"
            f"{step:,} steps, loss {loss:.2f} nats a token. Stored in half precision.\n",
        )
        half.save_pretrained(temporary)


if __name__ == "__main__":
    run(main)
