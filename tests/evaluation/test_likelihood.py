from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import finetune
from common.endings import ENDINGS
from common.errors import InputError
from common.own_stories import Example
from dataset import format_instruction, get_tokenizer, load_data, read_examples, taught
from evaluation import likelihood
from evaluation.likelihood import (
    MOST_PLAIN,
    ask_as_the_data,
    encode_trials,
    loss_over_base,
    read_plain_stories,
    score,
    text_losses,
)
from evaluation.metrics import Topics
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


def test_losses_of_texts_are_those_of_each_alone(model: GPT2) -> None:
    """Of every token but the first, and of the end of text, unless it was cut off or fills the context."""
    tokenizer, context = get_tokenizer(model.config.vocab_size), model.config.context_length
    texts = ["Once there was a dog.", "", "A", "a very long story " * 300, "Once there was a dog."]
    losses, tokens = text_losses(model, texts, [True, True, True, True, False])
    for text, ends, loss, count in zip(texts, [1, 1, 1, 1, 0], losses, tokens, strict=True):
        ids = [*tokenizer.encode_ordinary(text), *[tokenizer.eot_token] * ends][: context + 1]
        assert count == len(ids) - 1
        expected = 0.0
        if count:
            logits = model(torch.tensor([ids[:-1]]))[0]
            expected = float(F.cross_entropy(logits, torch.tensor(ids[1:]), reduction="sum"))
        assert loss == pytest.approx(expected, rel=1e-4)
    assert tokens[3] == context
    assert tokens[0] == tokens[4] + 1


def test_loss_over_the_base_is_a_mean_over_tokens() -> None:
    topics = Topics(["a", "b", "c"], seed=0)
    tokens = np.array([10.0, 30.0, 20.0])
    base = np.array([10.0, 60.0, 20.0])
    assert loss_over_base(topics, (base + 0.5 * tokens, tokens), (base, tokens)) == pytest.approx(
        (0.5, 0.5, 0.5)
    )
    found = loss_over_base(topics, (base + np.array([10, 0, 0]), tokens), (base, tokens))
    assert found.value == pytest.approx(10 / 60)
    assert found.low < 10 / 60 < found.high
    assert loss_over_base(topics, (base, tokens), (base, tokens)) == (0, 0, 0)
    assert np.isnan(loss_over_base(topics, (base, tokens), (base, tokens + 1)).value)


def test_plain_stories_are_what_stands_between_ends_of_text(tmp_path: Path) -> None:
    file = tmp_path / "plain.txt"
    text = "One.\n\nTwo.\n<|endoftext|>\n\n<|endoftext|>\nThree.\n  <|endoftext|>  \nFour."
    for written in (text, text.replace("\n", "\r\n"), "\ufeff" + text):
        file.write_bytes(written.encode())
        assert read_plain_stories(str(file)) == ["One.\n\nTwo.", "Three.", "Four."]
    file.write_text("A story.\n<|endoftext|>\n" * 1500)
    assert len(read_plain_stories(str(file))) == MOST_PLAIN


@pytest.mark.parametrize("held", [b"", b"One story alone.\n<|endoftext|>\n", b"\xff\xfe\n", None])
def test_a_file_without_plain_stories_is_named(tmp_path: Path, held: bytes | None) -> None:
    file = tmp_path / "plain.txt"
    if held is not None:
        file.write_bytes(held)
    with pytest.raises(InputError, match=r"--plain .*plain\.txt: "):
        read_plain_stories(str(file))
