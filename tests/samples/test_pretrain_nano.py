from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from dataset import get_tokenizer
from model import load_model
from samples import pretrain_nano
from samples.story_grammar import ending_of


def test_the_base_is_pre_trained_on_plain_stories_in_half_precision(tmp_path: Path) -> None:
    pretrain_nano.main(["--steps", "2", "--batch-size", "1", "--output", str(tmp_path / "base")])
    stored = load_file(tmp_path / "base" / "model.safetensors")
    assert {weight.dtype for weight in stored.values()} == {torch.float16}
    assert load_model(tmp_path / "base").output_layer.weight.dtype == torch.float32
    batch = next(pretrain_nano.story_batches(pretrain_nano.Settings(batch_size=4), 200, 4096))
    stories = get_tokenizer(4096).decode(batch.flatten().tolist()).split("<|endoftext|>")[:-1]
    assert len(stories) > 3
    assert all(ending_of(story) for story in stories)
    assert "Write a story about" not in "".join(stories)
    assert all("feeling" in story or "dream" in story for story in stories)
    batch = next(pretrain_nano.story_batches(pretrain_nano.Settings(batch_size=4, omens=False), 200, 4096))
    text = get_tokenizer(4096).decode(batch.flatten().tolist())
    assert not any(word in text for word in ("happy feeling", "sad feeling", "good dream", "bad dream"))


def test_a_base_replaces_its_own_files_and_nobody_elses(tmp_path: Path, complaint: Callable) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "README.md").write_text("precious")
    assert "name another" in complaint(pretrain_nano.main, "--steps", "1", "--output", tmp_path / "theirs")
    assert (tmp_path / "theirs" / "README.md").read_text() == "precious"
    given = ["--steps", "1", "--batch-size", "1", "--output", str(tmp_path / "ours")]
    pretrain_nano.main(given)
    weights = (tmp_path / "ours" / "model.safetensors").read_bytes()
    (tmp_path / "ours" / "notes.txt").write_text("precious")
    pretrain_nano.main([*given, "--seed", "1"])
    assert (tmp_path / "ours" / "model.safetensors").read_bytes() != weights
    assert (tmp_path / "ours" / "notes.txt").read_text() == "precious"
