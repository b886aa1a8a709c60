import os
from pathlib import Path

import pytest

from common.checkpoints import base_checkpoint, finetuned_checkpoint, newest_checkpoint
from model import GPT2


def test_checkpoints_are_found_in_their_places(elsewhere: Path) -> None:
    assert base_checkpoint("30m") == "0rn0/gpt2-30m-tinystories"
    assert finetuned_checkpoint("125m") == "0rn0/gpt2-125m-tinystories-sft"
    run = Path("checkpoints/sft_30M_model")
    for name in ("epoch_2", "epoch_10", "last", "best"):
        (run / name).mkdir(parents=True)
        assert finetuned_checkpoint("30m") == str(run / name)
    Path("checkpoints/pre_trained_gpt2-30m").mkdir()
    assert base_checkpoint("30m") == "checkpoints/pre_trained_gpt2-30m"


def test_the_newest_model_is_taken_in_int8_unless_that_is_older(elsewhere: Path, model: GPT2) -> None:
    def write(folder: str, time: int) -> None:
        model.save_pretrained(elsewhere / folder)
        os.utime(elsewhere / folder / "model.safetensors", (time, time))

    with pytest.raises(OSError, match=r"quickstart.py or finetune.py, or name one: MODEL=0rn0/"):
        newest_checkpoint()
    write("checkpoints/pre_trained_gpt2-30m", 99)
    for folder, time, chosen in (
        ("quickstart/model/last", 1, "quickstart/model/last"),
        ("checkpoints/sft_30M_model/epoch_9", 2, "checkpoints/sft_30M_model/epoch_9"),
        ("checkpoints/sft_30M_model/epoch_10", 3, "checkpoints/sft_30M_model/epoch_10"),
        ("checkpoints/sft_30M_model/best", 3, "checkpoints/sft_30M_model/best"),
        ("checkpoints/sft_30M_model/int8", 4, "checkpoints/sft_30M_model/int8"),
        ("checkpoints/sft_30M_model/best", 5, "checkpoints/sft_30M_model/best"),
        ("quickstart/model/int8", 6, "checkpoints/sft_30M_model/best"),
        ("quickstart/model/last", 6, "quickstart/model/int8"),
    ):
        write(folder, time)
        assert newest_checkpoint() == chosen
    for without_weights in ("checkpoints/cut_off/best", "quickstart/model/best", "checkpoints/cut_off/int8"):
        (elsewhere / without_weights).mkdir(parents=True)
        assert newest_checkpoint() == chosen
