from pathlib import Path

import pytest
import torch

import finetune
from dataset import Example, format_instruction, get_tokenizer, load_data, other_ending, read_examples
from evaluation import likelihood
from evaluation.likelihood import encode_pairs, score
from model import GPT2
from tiny import tiny_model
from training.run_folder import read_metrics

EXAMPLES = (
    Example("a dog", "sad", "The dog went home."),
    Example("Mia and a red kite", "happy", 'Mia ran and ran. "Look!" she said. The kite flew over the hill.'),
    Example("a dog", "happy", "x"),
)


@torch.no_grad()
def plain(model: GPT2, instruction: str, response: str) -> tuple[float, float]:
    """Loss of the prompt and of the story with its end, each summed, from all logits of one row."""
    tokenizer = get_tokenizer(512)
    prompt, story = tokenizer.encode_ordinary(instruction), tokenizer.encode_ordinary(response)
    ids = torch.tensor([*prompt, *story, 511])
    losses = -torch.log_softmax(model(ids[None, :-1])[0], -1).gather(1, ids[1:, None])[:, 0]
    return losses[: len(prompt) - 1].sum().item(), losses[len(prompt) - 1 :].sum().item()


@pytest.mark.parametrize("most_tokens", [1, 4096])
def test_losses_are_those_of_each_story_alone(
    model: GPT2, most_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likelihood, "MOST_TOKENS", most_tokens)
    found = score(model, encode_pairs(EXAMPLES, model.config))
    for i, (topic, ending, response) in enumerate(EXAMPLES):
        prompt, story = plain(model, format_instruction(topic, ending), response)
        _, other = plain(model, format_instruction(topic, other_ending(ending)), response)
        expected = pytest.approx((prompt, story, other), rel=1e-5)
        assert (found.prompt[i], found.story[i], found.other[i]) == expected
        assert story != pytest.approx(other, abs=1e-3)


def test_guidance_is_scored_as_it_is_drawn_from(model: GPT2) -> None:
    pairs = encode_pairs(EXAMPLES, model.config)
    found = score(model, pairs, strength=2.5)
    for i, pair in enumerate(pairs):
        with torch.no_grad():
            asked, other = (
                model(torch.cat([prompt, pair.targets[:-1]])[None])[0, len(prompt) - 1 :]
                for prompt in pair.prompts
            )
        log_p = torch.log_softmax(other + 2.5 * (asked - other), -1)
        assert found.story[i] == pytest.approx(-log_p.gather(1, pair.targets[:, None]).sum().item(), rel=1e-4)
    assert score(model, pairs, strength=0.0).story == pytest.approx(score(model, pairs).other)


def test_a_story_that_was_cut_has_no_end_and_is_cut_alike_behind_both_prompts() -> None:
    model = tiny_model(context_length=40)
    long, short = encode_pairs((Example("a", "sad", "word " * 60), Example("a", "happy", "x")), model.config)
    assert len(long.asked) != len(long.other)  # of 512 tokens, the endings have different numbers
    assert max(map(len, long.prompts)) + len(long.targets) == 40
    assert 511 not in long.targets
    assert short.targets.tolist() == [*get_tokenizer(512).encode_ordinary("x"), 511]
    score(model, [long, short])


def test_mean_losses_are_those_of_finetunes_validation(checkpoint: str, data: str, model: GPT2) -> None:
    pairs = encode_pairs(read_examples(load_data(data)[0]["validation"]), model.config)
    found = score(model, pairs)
    targets = sum(len(pair.targets) for pair in pairs)
    prompts = sum(len(pair.asked) - 1 for pair in pairs)
    for loss_on, expected in (
        ("all", (found.prompt.sum() + found.story.sum()) / (targets + prompts)),
        ("response", found.story.sum() / targets),
    ):
        given = ["--checkpoint", checkpoint, "--data", data, "--output", loss_on, "--loss-on", loss_on]
        finetune.main([*given, "--max-steps", "1", "--lr", "0", "--stories", "0"])
        last = read_metrics(Path(loss_on))[-1]
        assert last["validation_loss"] == pytest.approx(expected, rel=1e-5)


def test_what_does_not_fit_gets_one_clear_line() -> None:
    config = tiny_model(context_length=40).config
    with pytest.raises(ValueError, match=r"--data: a prompt of .* the 40 that the model reads"):
        encode_pairs([Example("word " * 30, "sad", "x")], config)
