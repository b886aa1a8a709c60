"""How likely a model finds true stories, behind the prompt they belong to and behind the other endings'.

    endings = ("happy", "sad")
    trials = encode_trials(read_examples(data["validation"], endings), endings, model.config)
    losses = score(model, trials)
    losses.story                      # (N, endings) nats: the least is where the model thinks it belongs
    topics = Topics([trial.topic for trial in trials], seed=0)
    likelihood_metrics(topics, trials, losses, endings)["preference"]

Nothing is sampled, so the same weights give the same numbers.
"""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from common.batching import split_by_length
from common.errors import InputError, one_line
from common.own_stories import LONGEST, Example
from common.presets import ModelConfig
from dataset import check_prompt, format_instruction, get_tokenizer
from evaluation.metrics import Estimate, Metrics, Topics, perplexity, preference
from inference.decoding import guided
from model import GPT2
from preparation.records import END_OF_RECORD

PLAIN_LOSS, OVER_BASE = "loss, plain stories", "loss, plain stories, over the base's"  # figures' names
MOST_PLAIN = 1000  # stories that are read without a prompt
MOST_TOKENS = 4096  # that go through the model at once, padding counted
OVERHEAD = 64  # tokens whose work takes as long as one more micro-batch costs, as measured for training


class Trial(NamedTuple):
    """A true story and a prompt for each ending, of which it has one. All ids are 1-D int64."""

    topic: str
    own: int  # the number of its ending
    prompts: tuple[Tensor, ...]  # by ending; without endings the only one
    targets: Tensor  # as much of the story as fits behind any of them and, if that is all, its end

    @property
    def asked(self) -> Tensor:
        return self.prompts[self.own]


class Losses(NamedTuple):
    """Summed cross-entropies of N trials, nats, float64."""

    prompt: np.ndarray  # (N,) the prompt that asks for the story's ending, but for its first token
    asked: np.ndarray  # (N,) the targets behind it
    story: np.ndarray  # (N, endings) the targets behind each prompt, without guidance


def ask_as_the_data(model: GPT2, endings: tuple[str, ...]) -> None:
    """From here on, a model that says nothing of its endings, such as a base, is asked for those of the data.

    Raises InputError if it says that it was taught others, or another prompt.
    """
    check_prompt(model.taught)
    if model.taught.prompt is not None and model.taught.endings != endings:
        taught, found = (", ".join(each) or "none" for each in (model.taught.endings, endings))
        raise InputError(f"--data: has the endings {found}; the model was taught {taught}; name its own data")
    model.taught = model.taught._replace(endings=endings)


def encode_trials(examples: Sequence[Example], endings: Sequence[str], config: ModelConfig) -> list[Trial]:
    """Raises InputError if a prompt leaves no room for a story."""
    encode = get_tokenizer(config.vocab_size).encode_ordinary
    eot = torch.tensor([config.vocab_size - 1])
    trials = []
    for topic, ending, story in examples:
        texts = [format_instruction(topic, each, endings=endings) for each in endings or ("",)]
        prompts = tuple(torch.tensor(encode(text)) for text in texts)
        told = torch.tensor(encode(story))
        longest = max(map(len, prompts))
        room = config.context_length - longest
        if room < 1:
            raise InputError(
                f"--data: a prompt of {longest} tokens leaves no room for a story in the "
                f"{config.context_length} that the model reads; name other data or another --checkpoint"
            )
        targets = torch.cat([told, eot]) if len(told) <= room else told[:room]
        trials.append(Trial(topic, endings.index(ending) if endings else 0, prompts, targets))
    return trials


@torch.inference_mode()
def score(model: GPT2, trials: Sequence[Trial], strength: float = 1.0) -> Losses:
    """The losses of all trials, in the model's own precision: margins are small differences.

    At a `strength` other than 1, `asked` is scored under guidance, as `inference.decoding.stream_tokens`
    draws tokens.
    """
    E = len(trials[0].prompts)
    losses = torch.zeros(len(trials), 2 + E, dtype=torch.float64)
    lengths = [max(map(len, trial.prompts)) + len(trial.targets) - 1 for trial in trials]
    for places in split_by_length(lengths, MOST_TOKENS // E, OVERHEAD):
        group = [trials[place] for place in places]
        rows = [torch.cat([prompt, trial.targets[:-1]]) for trial in group for prompt in trial.prompts]
        hidden = model.hidden(pad_sequence(rows, batch_first=True).to(model.device))  # (E n, T, C)

        def loss(states: Tensor, targets: Tensor) -> Tensor:
            """(n, C) and (n,) -> summed cross-entropy."""
            return F.cross_entropy(model.output_layer(states), targets.to(model.device), reduction="sum")

        for place, trial, rows_of in zip(places, group, hidden.split(E), strict=True):
            n = len(trial.targets)
            before = rows_of[trial.own, : len(trial.asked) - 1]  # (prompt - 1, C)
            behind = [row[len(p) - 1 :][:n] for row, p in zip(rows_of, trial.prompts, strict=True)]  # (n, C)
            by_ending = [loss(states, trial.targets) for states in behind]
            asked = by_ending[trial.own]
            if strength != 1:
                own_first = [behind[trial.own], *(each for i, each in enumerate(behind) if i != trial.own)]
                asked = loss(guided(torch.stack(own_first, -2), strength), trial.targets)
            losses[place] = torch.stack([loss(before, trial.asked[1:]), asked, *by_ending]).cpu().double()
    prompt, asked, *story = losses.T.numpy()
    return Losses(prompt, asked, np.stack(story, 1))


@torch.inference_mode()
def text_losses(
    model: GPT2, texts: Sequence[str], complete: Sequence[bool] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Of N texts that stand behind no prompt: the summed cross-entropy of each, nats, and how many tokens it
    is of, both (N,) float64.

    That is every token but the first, which nothing stands before, as far as the context reaches, and the end
    of text, unless a text is not `complete` (N,) or fills the context.
    """
    tokenizer, context = get_tokenizer(model.config.vocab_size), model.config.context_length
    rows = []
    for text, ends in zip(texts, complete or [True] * len(texts), strict=True):
        ids = tokenizer.encode_ordinary(text) + [tokenizer.eot_token] * ends
        rows.append(torch.tensor(ids[: context + 1]))
    losses, tokens = np.zeros(len(rows)), np.array([len(row) - 1.0 for row in rows]).clip(min=0)
    some = np.flatnonzero(tokens).tolist()
    for group_of in split_by_length([len(rows[place]) - 1 for place in some], MOST_TOKENS, OVERHEAD):
        places = [some[number] for number in group_of]
        group = [rows[place] for place in places]
        hidden = model.hidden(pad_sequence([row[:-1] for row in group], batch_first=True).to(model.device))
        for place, row, states in zip(places, group, hidden, strict=True):
            logits = model.output_layer(states[: len(row) - 1])  # (n, V)
            losses[place] = F.cross_entropy(logits, row[1:].to(model.device), reduction="sum").item()
    return losses, tokens


def read_plain_stories(name: str) -> list[str]:
    """The first MOST_PLAIN stories of a text file, as TinyStories publishes them: <|endoftext|> behind each.
    Raises InputError."""
    stories: list[str] = []
    lines: list[str] = []
    try:
        with open(name, encoding="utf-8-sig") as file:
            for line in chain(file, [END_OF_RECORD]):
                if line.strip() != END_OF_RECORD:
                    lines.append(line[:LONGEST])
                    continue
                if story := "".join(lines).strip()[:LONGEST]:
                    stories.append(story)
                lines = []
                if len(stories) == MOST_PLAIN:
                    break
    except (OSError, ValueError) as error:
        raise InputError(f"--plain {name}: cannot be read ({one_line(error)})") from error
    if len(stories) < 2:
        raise InputError(f"--plain {name}: holds no two stories with a line {END_OF_RECORD} between them")
    return stories


def loss_over_base(
    topics: Topics, losses: tuple[np.ndarray, np.ndarray], base: tuple[np.ndarray, np.ndarray]
) -> Estimate:
    """How much more loss, nats a token, a model has on texts about `topics` than its base, from the
    `text_losses` of both; nan if they read other tokens."""
    if not np.array_equal(losses[1], base[1]):
        return Estimate(np.nan, np.nan, np.nan)
    return topics.ratio(losses[0] - base[0], losses[1])


def likelihood_metrics(
    topics: Topics, trials: Sequence[Trial], losses: Losses, endings: Sequence[str]
) -> Metrics:
    """Loss and perplexity, a mean over tokens, and where there are endings the preference, of trials about
    `topics`."""
    own = np.array([trial.own for trial in trials])
    tokens = np.array([len(trial.targets) for trial in trials])
    whole = topics.ratio(losses.prompt + losses.asked, tokens + [len(trial.asked) - 1 for trial in trials])
    story = topics.ratio(losses.asked, tokens)
    metrics = {
        "loss": whole,
        "loss, story alone": story,
        "perplexity": perplexity(whole),
        "perplexity, story alone": perplexity(story),
    }
    for number, ending in enumerate(endings):
        these = own == number
        metrics[f"perplexity, {ending} stories"] = perplexity(
            topics.ratio(losses.asked * these, tokens * these)
        )
    return metrics | (preference(topics, losses.story, own, endings) if endings else {})
