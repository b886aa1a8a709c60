from pathlib import Path

import pytest
import torch

import finetune
from common.endings import ENDINGS
from common.own_stories import Example
from dataset import format_instruction, get_tokenizer, load_data, read_examples, taught
from evaluation import likelihood
from evaluation.likelihood import ask_as_the_data, encode_trials, score
from model import GPT2
from tiny import tiny_model
from training.run_folder import read_metrics

THREE = ("funny", "happy", "sad")
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


@pytest.mark.parametrize("endings", [ENDINGS, THREE])
@pytest.mark.parametrize("most_tokens", [1, 4096])
def test_losses_are_those_of_each_story_alone(
    model: GPT2, most_tokens: int, endings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likelihood, "MOST_TOKENS", most_tokens)
    found = score(model, encode_trials(EXAMPLES, endings, model.config))
    for i, (topic, ending, response) in enumerate(EXAMPLES):
        of_each = {
            each: plain(model, format_instruction(topic, each, endings=endings), response) for each in endings
        }
        assert (found.prompt[i], found.asked[i]) == pytest.approx(of_each[ending], rel=1e-5)
        assert found.story[i] == pytest.approx([story for _, story in of_each.values()], rel=1e-5)
        assert found.story[i].std() > 1e-3


def test_without_endings_the_prompt_is_scored_as_it_is(model: GPT2) -> None:
    found = score(model, encode_trials([Example("Once upon", "", " a time.")], (), model.config))
    expected = pytest.approx(plain(model, "Once upon", " a time."), rel=1e-5)
    assert (found.prompt[0], found.asked[0]) == (found.prompt[0], *found.story[0]) == expected


@pytest.mark.parametrize("endings", [ENDINGS, THREE])
def test_guidance_is_scored_as_it_is_drawn_from(model: GPT2, endings: tuple[str, ...]) -> None:
    trials = encode_trials(EXAMPLES, endings, model.config)
    found = score(model, trials, strength=2.5)
    for i, trial in enumerate(trials):
        with torch.no_grad():
            logits = [
                model(torch.cat([prompt, trial.targets[:-1]])[None])[0, len(prompt) - 1 :]
                for prompt in trial.prompts
            ]
        asked = logits.pop(trial.own)
        other = sum(logits) / len(logits)
        log_p = torch.log_softmax(other + 2.5 * (asked - other), -1)
        nats = -log_p.gather(1, trial.targets[:, None]).sum().item()
        assert found.asked[i] == pytest.approx(nats, rel=1e-4)
    assert found.story == pytest.approx(score(model, trials).story)


def test_a_base_is_asked_as_the_data_is_and_a_model_of_other_endings_is_refused() -> None:
    model = tiny_model()
    ask_as_the_data(model, THREE)
    assert model.taught.endings == THREE
    assert model.taught.prompt is None
    model.taught = taught(THREE)
    ask_as_the_data(model, THREE)
    with pytest.raises(ValueError, match="the endings happy, sad; the model was taught funny, happy, sad"):
        ask_as_the_data(model, ENDINGS)


def test_a_story_that_was_cut_has_no_end_and_is_cut_alike_behind_both_prompts() -> None:
    model = tiny_model(context_length=40)
    examples = Example("a", "sad", "word " * 60), Example("a", "happy", "x")
    long, short = encode_trials(examples, ENDINGS, model.config)
    assert (
        len({len(prompt) for prompt in long.prompts}) == 2
    )  # of 512 tokens, the endings have different numbers
    assert max(map(len, long.prompts)) + len(long.targets) == 40
    assert 511 not in long.targets
    assert short.targets.tolist() == [*get_tokenizer(512).encode_ordinary("x"), 511]
    score(model, [long, short])


def test_mean_losses_are_those_of_finetunes_validation(checkpoint: str, data: str, model: GPT2) -> None:
    trials = encode_trials(read_examples(load_data(data)[0]["validation"]), ENDINGS, model.config)
    found = score(model, trials)
    targets = sum(len(trial.targets) for trial in trials)
    prompts = sum(len(trial.asked) - 1 for trial in trials)
    for loss_on, expected in (
        ("all", (found.prompt.sum() + found.asked.sum()) / (targets + prompts)),
        ("response", found.asked.sum() / targets),
    ):
        given = ["--checkpoint", checkpoint, "--data", data, "--output", loss_on, "--loss-on", loss_on]
        finetune.main([*given, "--max-steps", "1", "--lr", "0", "--stories", "0"])
        last = read_metrics(Path(loss_on))[-1]
        assert last["validation_loss"] == pytest.approx(expected, rel=1e-5)


def test_what_does_not_fit_gets_one_clear_line() -> None:
    config = tiny_model(context_length=40).config
    with pytest.raises(ValueError, match=r"--data: a prompt of .* the 40 that the model reads"):
        encode_trials([Example("word " * 30, "sad", "x")], ENDINGS, config)
