import json
import os
from pathlib import Path

import pytest

from common.checkpoints import base_checkpoint, finetuned_checkpoint, locate, newest_checkpoint, sha256
from model import GPT2
from tiny import tiny_model


def test_checkpoints_are_found_in_their_places(elsewhere: Path) -> None:
    assert base_checkpoint("30m") == "0rn0/gpt2-30m-tinystories"
    assert finetuned_checkpoint("125m") == "0rn0/gpt2-125m-tinystories-sft"
    run = Path("checkpoints/sft_30M_model")
    for name in ("epoch_2", "epoch_10", "last", "best"):
        (run / name).mkdir(parents=True)
        assert finetuned_checkpoint("30m") != str(run / name)  # as rsync leaves it when it is interrupted
        (run / name / "model.safetensors").touch()
        assert finetuned_checkpoint("30m") == str(run / name)
    Path("checkpoints/pre_trained_gpt2-30m").mkdir()
    assert base_checkpoint("30m") == "checkpoints/pre_trained_gpt2-30m"


def test_the_state_of_a_run_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "training_state.pt").touch()
    with pytest.raises(OSError, match=r"found training_state.pt; of a run, name best/, last/ or epoch_N/"):
        locate(str(tmp_path))
    with pytest.raises(OSError, match="not a checkpoint"):
        locate(str(tmp_path / "training_state.pt"))


def test_the_newest_model_is_taken_in_int8_if_that_is_of_its_weights(
    elsewhere: Path, model: GPT2, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(folder: str, time: int) -> None:
        model.save_pretrained(elsewhere / folder)
        os.utime(elsewhere / folder / "model.safetensors", (time, time))

    def write_int8(folder: str, source: str, time: int) -> None:
        write(folder, time)
        made = {"sha256": sha256(elsewhere / source / "model.safetensors")}
        (elsewhere / folder / "int8.json").write_text(json.dumps(made))

    with pytest.raises(OSError, match=r"quickstart.py or finetune.py, or name one: MODEL=0rn0/"):
        newest_checkpoint()
    write("checkpoints/pre_trained_gpt2-30m", 99)
    for folder, time, chosen in (
        ("quickstart/model/last", 1, "quickstart/model/last"),
        ("checkpoints/sft_30M_model/epoch_9", 2, "checkpoints/sft_30M_model/epoch_9"),
        ("checkpoints/sft_30M_model/epoch_10", 3, "checkpoints/sft_30M_model/epoch_10"),
        ("checkpoints/sft_30M_model/best", 3, "checkpoints/sft_30M_model/best"),
        ("checkpoints/sft_30M_model/int8", 4, "checkpoints/sft_30M_model/best"),  # of what, nobody knows
    ):
        write(folder, time)
        assert newest_checkpoint() == chosen
    write_int8("checkpoints/sft_30M_model/int8", "checkpoints/sft_30M_model/best", 1)
    capsys.readouterr()
    assert newest_checkpoint() == "checkpoints/sft_30M_model/int8"
    assert capsys.readouterr().err == ""
    tiny_model(seed=1).save_pretrained(elsewhere / "checkpoints/sft_30M_model/best")
    os.utime(elsewhere / "checkpoints/sft_30M_model/int8/model.safetensors")  # as a copy makes it: the newest
    chosen = "checkpoints/sft_30M_model/best"
    assert newest_checkpoint() == chosen
    assert f"note: checkpoints/sft_30M_model/int8 is not of {chosen}" in capsys.readouterr().err
    for without_weights in ("checkpoints/cut_off/best", "quickstart/model/best", "checkpoints/cut_off/int8"):
        (elsewhere / without_weights).mkdir(parents=True)
        assert newest_checkpoint() == chosen
