"""How likely a model finds true stories, behind the prompt they belong to and behind the other ending's.

    pairs = encode_pairs(read_examples(data["validation"]), model.config)
    losses = score(model, pairs)
    margins = losses.other - losses.story          # nats; above 0 where the right ending wins
    likelihood_metrics(Topics([pair.topic for pair in pairs], seed=0), pairs, losses)["preference"]

Nothing is sampled, so the same weights give the same numbers.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from common.batching import split_by_length
from common.errors import InputError
from common.presets import ModelConfig
from dataset import Example, format_instruction, get_tokenizer, other_ending
from evaluation.metrics import Metrics, Topics, perplexity, preference
from model import GPT2

MOST_TOKENS = 4096  # that go through the model at once, padding counted
OVERHEAD = 64  # tokens whose work takes as long as one more micro-batch costs, as measured for training


class Pair(NamedTuple):
    """A true story and two prompts, one of which asks for its ending. All ids are 1-D int64."""

    topic: str
    ending: str
    asked: Tensor
    other: Tensor
    targets: Tensor  # as much of the story as fits behind either prompt and, if that is all, its end

    @property
    def prompts(self) -> tuple[Tensor, Tensor]:
        return self.asked, self.other


class Losses(NamedTuple):
    """Summed cross-entropies of N pairs, nats, all (N,) float64."""

    prompt: np.ndarray  # the prompt that asks for the story's ending, but for its first token
    story: np.ndarray  # the targets behind it
    other: np.ndarray  # the targets behind the other prompt


def encode_pairs(examples: Sequence[Example], config: ModelConfig) -> list[Pair]:
    """Raises InputError if a prompt leaves no room for a story."""
    encode = get_tokenizer(config.vocab_size).encode_ordinary
    eot = torch.tensor([config.vocab_size - 1])
    pairs = []
    for topic, ending, story in examples:
        prompts = (format_instruction(topic, each) for each in (ending, other_ending(ending)))
        asked, other, told = (torch.tensor(encode(text)) for text in (*prompts, story))
        room = config.context_length - max(len(asked), len(other))
        if room < 1:
            raise InputError(
                f"--data: a prompt of {len(asked)} tokens leaves no room for a story in the "
                f"{config.context_length} that the model reads; name other data or another --checkpoint"
            )
        targets = torch.cat([told, eot]) if len(told) <= room else told[:room]
        pairs.append(Pair(topic, ending, asked, other, targets))
    return pairs


@torch.inference_mode()
def score(model: GPT2, pairs: Sequence[Pair], strength: float = 1.0) -> Losses:
    """The losses of all pairs, in the model's own precision: margins are small differences.

    At a `strength` other than 1, stories are scored under guidance, as `inference.decoding.stream_tokens`
    draws tokens.
    """
    losses = torch.zeros(len(pairs), 3, dtype=torch.float64)
    lengths = [max(map(len, pair.prompts)) + len(pair.targets) - 1 for pair in pairs]
    for places in split_by_length(lengths, MOST_TOKENS // 2, OVERHEAD):
        group = [pairs[place] for place in places]
        rows = [torch.cat([prompt, pair.targets[:-1]]) for pair in group for prompt in pair.prompts]
        hidden = model.hidden(pad_sequence(rows, batch_first=True).to(model.device))  # (2 n, T, C)

        def loss(states: Tensor, targets: Tensor) -> Tensor:
            """(n, C) and (n,) -> summed cross-entropy."""
            return F.cross_entropy(model.output_layer(states), targets.to(model.device), reduction="sum")

        sums = []
        for pair, asked, other in zip(group, hidden[::2], hidden[1::2], strict=True):
            n = len(pair.targets)
            before = asked[: len(pair.asked) - 1]  # (prompt - 1, C)
            asked, other = asked[len(pair.asked) - 1 :][:n], other[len(pair.other) - 1 :][:n]  # (n, C)
            guided = torch.lerp(other, asked, strength)
            sums += [loss(before, pair.asked[1:]), loss(guided, pair.targets), loss(other, pair.targets)]
        losses[places] = torch.stack(sums).view(len(group), 3).cpu().double()
    return Losses(*losses.T.numpy())


def likelihood_metrics(topics: Topics, pairs: Sequence[Pair], losses: Losses) -> Metrics:
    """Loss and perplexity, a mean over tokens, and the preference, of pairs about `topics`."""
    sad = np.array([pair.ending == "sad" for pair in pairs])
    tokens = np.array([len(pair.targets) for pair in pairs])
    whole = topics.ratio(losses.prompt + losses.story, tokens + [len(pair.asked) - 1 for pair in pairs])
    story = topics.ratio(losses.story, tokens)
    happy, sad_story = (topics.ratio(losses.story * these, tokens * these) for these in (~sad, sad))
    return {
        "loss": whole,
        "loss, story alone": story,
        "perplexity": perplexity(whole),
        "perplexity, story alone": perplexity(story),
        "perplexity, happy stories": perplexity(happy),
        "perplexity, sad stories": perplexity(sad_story),
    } | preference(topics, losses.other - losses.story, sad)
