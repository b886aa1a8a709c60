"""What the real transformers computes with an export, beside what our model computes."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from model import load_model

NEW = 200  # tokens


def compare(checkpoint: Path, exported: Path) -> None:
    """Logits within 1e-4 of each other, and the same next 200 tokens where always the likeliest is taken."""
    model, theirs = load_model(checkpoint), AutoModelForCausalLM.from_pretrained(exported).eval()
    ids = torch.randint(0, model.config.vocab_size, (1, 200), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        ours, their = model(ids), theirs(ids).logits
        assert (ours - their).abs().max() < 1e-4
        assert torch.equal(ours.argmax(-1), their.argmax(-1))
        prompt = ids[:, :20]
        told = theirs.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=NEW,
            min_new_tokens=NEW,
            eos_token_id=None,
        )
        assert model(told)[0, -NEW - 1 : -1].argmax(-1).tolist() == told[0, -NEW:].tolist()
