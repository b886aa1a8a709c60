"""The README.md of a data set and of a checkpoint, made from the JSON files that came with them.

The metadata in front of the text is what the Hub reads: licence, sizes, what was made from what, results. Its
names are those of huggingface_hub's card classes, which write it.
"""

import contextlib
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCardData, EvalResult, ModelCard, ModelCardData

from common import hub
from common.endings import either
from common.errors import InputError
from common.markdown import table
from dataset import COLUMNS, format_instruction
from inference.sampling import AS_TOLD

CODE = "Tiny Tales SFT"
ENDINGS_AS_ASKED = "Stories that end as asked: "
NOT_FOR = "Its facts are made up, and nobody moderates it: do not put its stories before a child unread."
LABELS = """
## Labels

A record is sad when `BadEnding` is an item of its Features line, and happy otherwise. The rule is weak where
a record has no such line: it may end badly without a mark. Such records were {}.
"""
SETTINGS = (
    *("epochs", "max_steps", "max_length", "loss_on", "seed"),
    *("lr", "schedule", "warmup_steps", "weight_decay", "grad_clip"),
)
SIZES = {  # the Hub's size categories, by the number of examples that they end below
    1_000: "n<1K",
    10_000: "1K<n<10K",
    100_000: "10K<n<100K",
    1_000_000: "100K<n<1M",
    10_000_000: "1M<n<10M",
    100_000_000: "10M<n<100M",
}


def data_card(stats: dict[str, Any]) -> str:
    """The card of a balanced data set from what stats.json holds."""
    settings, splits, parquet, endings = (stats[k] for k in ("settings", "splits", "parquet", "endings"))
    title, about, labels = "Story instructions", dict[str, Any](), ""
    counts = "`stories` are those of the source"
    intro = "`instruction` says what a story is about and how it ends, `response` is the\nstory, `ending` is "
    intro += either([f"`{ending}`" for ending in endings]) if endings else ""
    if not endings:
        intro = "`instruction` is a prompt and `response` what follows it; there is no ending to ask for"
    if stats["kind"] == "TinyStoriesInstruct":  # of other stories, we know neither language nor licence
        title = "Balanced TinyStories instructions"
        about = dict(language="en", license="cdla-sharing-1.0", pretty_name=title)
        about["source_datasets"] = [stats["source"]] if stats["commit"] else None
        intro = f"Children's stories in English. {intro}"
        counts = "`rows` are lines of the raw text, `records` its stories"
        labels = LABELS.format("called happy" if settings["unlabelled"] == "happy" else "left out")
    metadata = DatasetCardData(
        **about,
        size_categories=size_category(sum(split["num_examples"] for split in parquet.values())),
        task_categories=["text-generation"],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"{split}.parquet"} for split in parquet],
            }
        ],
        dataset_info={
            "features": [{"name": name, "dtype": "string"} for name in COLUMNS],
            "splits": [
                {"name": name, "num_bytes": split["num_bytes"], "num_examples": split["num_examples"]}
                for name, split in parquet.items()
            ],
            "download_size": sum(split["file_bytes"] for split in parquet.values()),
            "dataset_size": sum(split["num_bytes"] for split in parquet.values()),
        },
    )
    names = dict.fromkeys(name for counts in splits.values() for name in counts)
    counted = table(
        ["", *splits],
        [[name, *(f"{counts.get(name, 0):,}" for counts in splits.values())] for name in names],
    )
    kept = "every usable record"
    if endings:
        kept += "; the endings are not balanced"
    if endings and settings["balance"]:
        kept = f"every example of the rare{'r' if len(endings) == 2 else 'st'} ending, and as many of "
        kept += f"{'the' if len(endings) == 2 else 'each'} other, drawn at random"
    limit = settings["limit"]
    facts = {
        "source": f"`{stats['source']}`",
        "its commit": f"`{stats['commit']}`" if stats["commit"] else "none: it is not from the Hub",
        "seed": f"{settings['seed']}",
        "records read of each split": "all" if limit is None else f"at most {limit:,}",
        "made by": f"`prepare_data.py` of {CODE}",
    }
    return f"""---
{metadata.to_yaml()}
---
# {title}

{intro}. Kept: {kept}.

{table(["what", "which"], [list(fact) for fact in facts.items()])}
{labels}
## Counts

{counts}; `kept` is what this data set holds.

{counted}
"""


def model_card(run: dict[str, Any], metrics: Sequence[dict[str, Any]], step: int) -> str:
    """The card of the checkpoint of a step from what run.json and the lines of metrics.jsonl hold."""
    settings, data, endings = run["settings"], run["data"], run["data"]["endings"]
    losses = validations(metrics, step)
    results = {}
    if losses and losses[-1][1] == step:
        results = {"loss": losses[-1][3]}
        with contextlib.suppress(OverflowError):  # of a base that knew nothing
            results["perplexity"] = math.exp(losses[-1][3])
    name = f"gpt2-{settings['model_size']}-tinystories-sft"
    metadata = ModelCardData(
        language="en",
        library_name="pytorch",
        pipeline_tag="text-generation",
        base_model=_hub_id(**run["base"]),
        datasets=_hub_id(data["name"], data["commit"]),
        model_name=name,
        eval_results=_results(data["name"], data["commit"], results) or None,
    )
    context = run["model"]["context_length"]
    facts = {
        "base": _origin(**run["base"]),
        "data": _origin(data["name"], data["commit"]),
        "examples": ", ".join(
            f"{data[split]['examples']:,} for {split}" for split in ("train", "validation") if split in data
        ),
        "parameters": f"{run['model']['parameters']:,}",
        "context length": f"{context} tokens",
        "optimiser steps": f"{step:,}, each on {settings['batch_size']} examples",
    }
    facts |= {
        name.replace("_", " "): "default" if settings[name] is None else str(settings[name])
        for name in SETTINGS
    }
    facts["software"] = ", ".join(f"{program} {version}" for program, version in run["versions"].items())
    facts["computed on"] = run["host"]["gpu"] or f"{run['host']['cpus']} CPU cores"
    return f"""---
{metadata.to_yaml()}
---
# {name}

A GPT-2 that {_does(endings)}.

{_how_to_use(endings, settings["push_to_hub"] or "namespace/name")}

## Results

{ENDINGS_AS_ASKED}not measured. Loss, in nats a token:

{loss_table(metrics, step, settings["log_every"])}

## How it was made

{table(["what", "which"], [list(fact) for fact in facts.items()])}

## Limits

{NOT_FOR}

It reads and writes {context} tokens in all. Of the world it knows what its stories told: a base that was
trained on TinyStories, the words of a small child and English alone, and topics unlike those are soon
forgotten. Where the data are TinyStoriesInstruct's, stories that were called happy may end badly: where a raw
record lists no features, nobody said how it ends.
"""


def _does(endings: Sequence[str]) -> str:
    """What a model with these endings does."""
    if not endings:
        return "goes on with a prompt like those it was fine-tuned on"
    each = [f"a{'n' * (ending[0] in 'aeiou')} {ending}" for ending in endings]
    return f"writes a short children's story about a given topic, with {either(each)} ending"


def _how_to_use(endings: Sequence[str], repo: str) -> str:
    asked = f'"a lost dog", "{endings[-1]}"' if endings else '"your prompt", ""'
    return f"""```python
from model import load_model  # of {CODE}
from generate import generate_story

model = load_model("{repo}")  # the repo this card stands in
print(generate_story(model, {asked}))
```"""


def int8_card(made: Mapping[str, Any]) -> str:
    """The card of int8 weights from what quantize.py's int8.json holds."""
    metadata = ModelCardData(
        language="en",
        library_name="pytorch",
        pipeline_tag="text-generation",
        base_model=_hub_id(made["name"], made["commit"]),
    )
    n = made["examples"]
    measured = f"; the rest is of {n:,} held-out examples, with 95% intervals" if n else ""
    return f"""---
{metadata.to_yaml()}
---
# int8 weights

Those of {_origin(made["name"], made["commit"])}: each row of a weight matrix as whole numbers of 8 bits and a
scale. The model {_does(made["endings"])}.

{_how_to_use(made["endings"], "namespace/name")}

Tokens a second are those of one story with {made["threads"]} CPU threads{measured}.

{table(["", "before", "int8"], made["figures"])}

{NOT_FOR}
"""


def export_card(made: Mapping[str, Any], name: str, repo: str | None) -> str:
    """The card of what export.py wrote of a model `name`, to be sent to `repo`. `made`: its export.json."""
    endings, format = made["endings"], made["format"]
    metadata = ModelCardData(
        language="en",
        library_name=format,
        pipeline_tag="text-generation",
        base_model=_hub_id(made["name"], made["commit"]),
        model_name=name,
    )
    prompt = format_instruction("a lost dog", endings[-1], endings=endings) if endings else "your prompt"
    how = _in_llama_cpp(name, prompt, endings) if format == "gguf" else _in_transformers(repo, prompt)
    chat = ""
    if endings:
        chat = "\nIn a chat, the last system message is the ending, the last message of a user the topic.\n"
    return f"""---
{metadata.to_yaml()}
---
# {name}

A GPT-2 that {_does(endings)}: {_origin(made["name"], made["commit"])}, exported by `export.py` of {CODE}.
The bias of its output layer is folded into the weights, exactly. Asked in other words than these, it rambles.

{how}
{chat}
{NOT_FOR}
"""


def _in_transformers(repo: str | None, prompt: str) -> str:
    return f"""```python
from transformers import pipeline

tell = pipeline("text-generation", "{repo or "namespace/name"}")
print(tell({prompt!r}, return_full_text=False)[0]["generated_text"])
```

What somebody types is never taken for the end of text (`split_special_tokens`)."""


def _in_llama_cpp(name: str, prompt: str, endings: Sequence[str]) -> str:
    ask = f"/set system {endings[-1]}, then a topic" if endings else "a prompt"
    typed = shlex.quote(prompt.replace("\n", "\\n"))
    how = f"-n {AS_TOLD.max_new_tokens} --temp {AS_TOLD.temperature} --top-k {AS_TOLD.top_k}"
    return f"""```bash
ollama create {name} -f Modelfile && ollama run {name}       # {ask}
llama-completion -m {name}-Q8_0.gguf -no-cnv {how} --top-p 1 --min-p 0 -p {typed}
```

Rounded to 8 bits (Q8_0), to 16 (F16), or not at all (F32). llama.cpp has another GELU than the model was
trained with, by tanh, and keeps keys and values in 16 bits: logits differ by some hundredths. It takes
`<|endoftext|>` for the end of text where somebody types that, too."""


def with_adherence(card: str, name: str, commit: str | None, shares: Mapping[str, float], said: str) -> str:
    """A model's card with what evaluate.py measured: the share (0 to 1) of stories that end as asked, by
    ending, for topics of the data `name` (at `commit`, if it is from the Hub), and `said`, in words.

    Raises InputError if the card is not one that `model_card` made.
    """
    content = ModelCard(card)
    found = re.search(f"{ENDINGS_AS_ASKED}.*\\. Loss", content.text)
    if not found:
        raise InputError("--update-card: the README.md of this checkpoint is not one that finetune.py wrote")
    results = {f"{ending} endings as asked": share for ending, share in shares.items()}
    metadata: Any = content.data
    kept = [result for result in metadata.eval_results or [] if result.metric_type not in results]
    metadata.eval_results = kept + _results(name, commit, results)
    return str(content).replace(found[0], f"{ENDINGS_AS_ASKED}{said}. Loss")


def _results(name: str, commit: str | None, values: Mapping[str, float]) -> list[EvalResult]:
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=_hub_id(name, commit) or Path(name).name,
            dataset_name=Path(name.partition("@")[0]).name,
            dataset_split="validation",
            dataset_revision=commit,
            metric_type=metric,
            metric_value=value,
        )
        for metric, value in values.items()
    ]


def loss_table(metrics: Sequence[dict[str, Any]], step: int, log_every: int) -> str:
    """The validations up to a step as a Markdown table."""
    return table(
        ["epoch", "step", f"training loss, last {log_every} steps", "validation loss"],
        [
            [str(epoch), f"{at:,}", "not logged" if math.isnan(t) else f"{t:.4f}", f"{v:.4f}"]
            for epoch, at, t, v in validations(metrics, step)
        ],
    )


def validations(metrics: Sequence[dict[str, Any]], step: int) -> list[tuple[int, int, float, float]]:
    """Epoch, step, last training loss (nan before there is one) and validation loss of each validation."""
    losses = []
    training = math.nan
    for line in metrics:
        training = line.get("loss", training)
        if "validation_loss" in line and line["step"] <= step:
            losses.append((line["epoch"], line["step"], training, line["validation_loss"]))
    return losses


def size_category(examples: int) -> str:
    """The Hub's name for a number of examples, as `10K<n<100K`."""
    return next(name for bound, name in SIZES.items() if examples < bound)


def _hub_id(name: str, commit: str | None) -> str | None:
    """The repo id of what came from the Hub; None for a path, which has no commit."""
    return hub.parts(name).repo_id if commit else None


def _origin(name: str, commit: str | None) -> str:
    """What something was made from; of a path, its last part alone, as a card is for others to read."""
    return f"`{name}`, commit `{commit}`" if commit else f"`{Path(name).name}`, a local folder or file"
