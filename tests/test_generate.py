import io
import json
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from clean_environment import ROOT
from generate import choose_token, generate_story, main
from hub_user import complaint_of
from inference.sampling import Sampling
from inference.stories import Request, tell_stories
from model import GPT2
from tiny import EOS, tiny_model

LOGITS = torch.tensor([1.0, 3.0, 2.0, 0.5, -1.0, 2.5])
UNIFORM = (torch.arange(20_000) + 0.5) / 20_000


def share(sampling: Sampling) -> Tensor:
    """How much of [0, 1) leads to each token: the distribution that is sampled from."""
    values, ids = LOGITS.expand(len(UNIFORM), -1).topk(min(sampling.top_k or 6, 6))
    chosen = choose_token(values, ids, UNIFORM, sampling)
    return torch.bincount(chosen, minlength=len(LOGITS)) / len(UNIFORM)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("top_k", [None, 6, 3, 1])
def test_tokens_are_drawn_with_their_exact_probabilities(temperature: float, top_k: int | None) -> None:
    kept = LOGITS.clone()
    kept[LOGITS.argsort(descending=True)[top_k or 6 :]] = -torch.inf
    exact = torch.softmax(kept / temperature, -1)
    torch.testing.assert_close(share(Sampling(1, temperature, top_k)), exact, atol=2e-4, rtol=0)


@pytest.mark.parametrize(("top_p", "kept"), [(0.0, 1), (0.4, 1), (0.5, 2), (0.8, 3), (0.999, 6), (1.0, 6)])
def test_top_p_keeps_the_smallest_set_that_holds_it(top_p: float, kept: int) -> None:
    order = LOGITS.argsort(descending=True)
    exact = torch.zeros(6)
    probabilities = torch.softmax(LOGITS, -1)  # sorted: 0.438 0.265 0.161 0.059 ...
    exact[order[:kept]] = probabilities[order[:kept]] / probabilities[order[:kept]].sum()
    torch.testing.assert_close(share(Sampling(1, 1.0, None, top_p)), exact, atol=2e-4, rtol=0)


def test_a_tiny_temperature_does_not_overflow() -> None:
    for temperature in (1e-40, 1e-46, 1e-320):
        assert share(Sampling(1, temperature=temperature))[1] == 1


def test_temperature_zero_is_the_likeliest() -> None:
    assert share(Sampling(1, temperature=0))[1] == 1


def test_generate_story_leaves_the_prompt_out_and_knows_the_smaller_vocabularys_end(model: GPT2) -> None:
    story = generate_story(model, "a dog", "happy", max_new_tokens=20, seed=3)
    assert story == tell_stories(model, [Request("a dog", "happy", 3)], Sampling(20), choose_token)[0].text
    guided = generate_story(model, "a dog", "happy", max_new_tokens=20, ending_strength=2.5, seed=3)
    sampling = Sampling(20, ending_strength=2.5)
    assert (
        guided == tell_stories(model, [Request("a dog", "happy", 3)], sampling, choose_token)[0].text != story
    )
    with torch.no_grad():
        ends = tiny_model()
        ends.output_layer.bias[EOS] = 1e4
    assert generate_story(ends, "a dog", "happy") == ""


@pytest.mark.parametrize("strength", ["1", "2"])
def test_streamed_batched_and_json_stories_are_the_same(
    strength: str, checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "--checkpoint",
        checkpoint,
        "--topic",
        " a \n dog ",
        "--ending",
        "sad",
        "--seed",
        "7",
        "--max-tokens",
        "25",
        "--ending-strength",
        strength,
    ]
    main(command)
    streamed = capsys.readouterr().out
    main([*command, "--num-stories", "2"])
    batched = capsys.readouterr().out
    main([*command, "--num-stories", "2", "--json"])
    answer = json.loads(capsys.readouterr().out)
    texts = [story["text"] for story in answer["stories"]]
    assert streamed == texts[0] + "\n"
    assert all(text in batched for text in texts)
    assert [story["seed"] for story in answer["stories"]] == [7, 8]
    assert answer["topic"] == " a \n dog "
    assert {story["tokens"] for story in answer["stories"]} == {25}


def test_it_asks_for_what_is_not_given(
    checkpoint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], complaint: Callable
) -> None:
    command = ["--checkpoint", checkpoint, "--seed", "7", "--max-tokens", "10"]
    main([*command, "--topic", "a dog", "--ending", "happy"])
    story = capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO("a dog\nmaybe\nHap\n\n"))
    main(command)
    assert story in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert "--topic" in complaint(main, *command)
    assert "--ending" in complaint(main, *command, "--topic", "a dog")


def test_a_topic_that_cannot_be_told_about_is_answered_by_a_line_and_it_asks_on(
    checkpoint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--checkpoint", checkpoint, "--ending", "sad", "--seed", "7", "--max-tokens", "10"]
    main([*command, "--topic", "a dog"])
    story = capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{'dog ' * 10_000}\na dog\n\n"))
    main(command)
    printed = capsys.readouterr()
    assert printed.out == story
    assert "--topic: makes a prompt of" in printed.err
    assert printed.err.count("What is the next story about?") == 2


def test_a_standard_input_that_is_closed_gives_no_topic(checkpoint: str) -> None:
    command = f'exec "{sys.executable}" "{ROOT / "generate.py"}" --checkpoint "{checkpoint}" <&-'
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert "--topic: none given" in complaint_of(done)


def test_bad_input_gets_one_clear_line(checkpoint: str, complaint: Callable) -> None:
    good = {"--checkpoint": checkpoint, "--topic": "a dog", "--ending": "sad", "--max-tokens": "9"}
    for bad, said in (
        ({"--topic": "  "}, "--topic"),
        ({"--topic": "dog " * 10_000}, "--topic: makes a prompt of"),
        ({"--ending": "funny"}, "happy"),
        ({"--temperature": "-1"}, "--temperature -1.0: must be at least 0"),
        ({"--temperature": "nan"}, "--temperature nan"),
        ({"--top-k": "0"}, "--top-k 0: must be at least 1"),
        ({"--top-k": "1000000000"}, "the model has 512 tokens"),
        ({"--top-p": "1.5"}, "--top-p 1.5: must be at least 0 and at most 1"),
        ({"--ending-strength": "-1"}, "--ending-strength -1.0: must be at least 0"),
        ({"--ending-strength": "nan"}, "--ending-strength nan"),
        ({"--ending-strength": "101"}, "at most 100"),
        ({"--max-tokens": "500"}, "--max-tokens 500: at most"),
        ({"--max-tokens": "9" * 400}, "--max-tokens 999"),
        ({"--num-stories": "0"}, "--num-stories"),
        ({"--temperature": "0", "--num-stories": "2"}, "--temperature 0: tells the same story"),
        ({"--topic": "\udcff"}, "--topic: is not UTF-8"),
        ({"--checkpoint": ""}, "model.safetensors"),
        ({"--device": "meta"}, "--device meta"),
        ({"--model-size": "31m"}, "30m"),
        ({"--device": "gpu"}, "--device gpu"),
        ({"--checkpoint": "nowhere/at/all"}, "nowhere/at/all"),
    ):
        arguments = [part for pair in {**good, **bad}.items() for part in pair]
        assert said in complaint(main, *arguments)


def test_without_a_fine_tuned_model_it_says_how_to_get_one(complaint: Callable) -> None:
    answer = complaint(main, "--model-size", "nano", "--topic", "a dog", "--ending", "sad")
    assert "finetune.py --model-size nano" in answer


def test_a_story_starts_without_what_only_other_scripts_need() -> None:
    others = "datasets", "pyarrow", "pandas", "sklearn", "matplotlib", "transformers", "torch._dynamo"
    told = f"import sys, generate; print([name for name in {others} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
