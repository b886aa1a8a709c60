"""The prompt, the tokenizer, the data, and tokenised examples: what a model reads and is asked to predict.

    examples = InstructionDataset("train", max_length=512)
    batch = custom_collate_fn([examples[0], examples[1]])     # {"input_ids": (B, T), "labels": (B, T)}

Tokenising happens once: the ids are kept in data/tokens/, under a name made from the data's content, prompts
and all, the vocabulary and the maximum length. That folder may be deleted at any time.
"""

import base64
import contextlib
import functools
import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import hub
from common.endings import ENDINGS, Taught, as_endings, either
from common.errors import InputError
from common.files import whole_file
from common.own_stories import LONGEST, Example, split_stories
from common.parquet_file import read_parquet

if TYPE_CHECKING:  # torch, tiktoken and datasets take seconds to import: only where they are used
    import datasets
    import numpy as np
    import pyarrow as pa
    import tiktoken

HERE = Path(__file__).parent
RANKS_FILE = HERE / "assets" / "gpt2.tiktoken"
RANKS_SHA256 = "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"
TOKENS_FOLDER = Path("data/tokens")
LOCAL_DATA = "data/tinystories-instruct-balanced"
PUBLISHED_DATA = "0rn0/tinystories-instruct-balanced"

COLUMNS = ("instruction", "response", "ending")  # of a prepared data set, all text
PROMPT = "Write a story about: {summary}\nWith: {ending} ending\n\n### Story:\n"
VOCAB_SIZE = 50257
NO_ENDINGS = "there is none to ask for: the model was taught prompts and what follows them; leave it out"
IGNORE_INDEX = -100

# How GPT-2 cuts text into pieces before merging bytes: contractions, words and numbers with the blank before
# them, runs of other signs, runs of blanks. Source: Radford et al. 2019, the tokenizer released with it.
SPLIT_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def format_instruction(summary: str, ending: str, *, endings: Sequence[str] = ENDINGS) -> str:
    """The prompt, up to and with the newline after which the story begins.

    `endings` are those of the data set or the model (`GPT2.taught`); where there are none, the summary is the
    prompt as it is, and `ending` must be "". Raises InputError if `ending` is none of them.
    """
    if ending not in (endings or ("",)):
        raise InputError(f"ending {ending!r:.40}: {f'must be {either(endings)}' if endings else NO_ENDINGS}")
    return PROMPT.replace("{ending}", ending).replace("{summary}", summary) if endings else summary


def taught(endings: Sequence[str]) -> Taught:
    """What a model is taught by prompts with these endings: for its endings.json."""
    prompt = format_instruction("{summary}", "{ending}", endings=("{ending}",)) if endings else "{summary}"
    return Taught(tuple(endings), prompt)


def check_prompt(model: Taught) -> None:
    """Raises InputError if a model says that it was taught another prompt than is made here."""
    if model.prompt not in (None, here := taught(model.endings).prompt):
        raise InputError(
            f"--checkpoint: the model was taught the prompt {model.prompt!r}, and dataset.PROMPT now makes "
            f"{here!r}; write the other one there, or train anew"
        )


def other_endings(ending: str, endings: Sequence[str]) -> tuple[str, ...]:
    return tuple(each for each in endings if each != ending)


@functools.cache
def get_tokenizer(vocab_size: int = VOCAB_SIZE) -> "tiktoken.Encoding":
    """GPT-2's byte-pair encoding; the end-of-text token is always id `vocab_size - 1` (`.eot_token`).

    Merges are ordered by rank, so the first `vocab_size - 1` ranks are a valid encoding too. Encode users'
    texts with `encode_ordinary`: it never makes a special token. Raises InputError for a size outside
    257..50257 and OSError if the ranks file is missing or damaged.
    """
    import tiktoken

    if not 257 <= vocab_size <= VOCAB_SIZE:
        raise InputError(f"vocab_size {vocab_size}: the tokenizer offers 257 (the bytes) to {VOCAB_SIZE}")
    content = RANKS_FILE.read_bytes().replace(b"\r\n", b"\n")  # as git may write it on Windows
    if hashlib.sha256(content).hexdigest() != RANKS_SHA256:
        raise OSError(f"{RANKS_FILE}: damaged (another SHA-256); restore it from the repo")
    ranks = {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, content.splitlines())}
    return tiktoken.Encoding(
        name=f"gpt2-{vocab_size}",
        pat_str=SPLIT_PATTERN,
        mergeable_ranks={token: rank for token, rank in ranks.items() if rank < vocab_size - 1},
        special_tokens={"<|endoftext|>": vocab_size - 1},
    )


def load_data(name: str | None = None) -> "tuple[datasets.DatasetDict, dict[str, str | None]]":
    """A data set, and what hub.origin says of it: a folder that prepare_data.py wrote, a repo of the Hub
    (`id[@revision]`) with what that holds, or a file of stories (common/own_stories.py) as it is, without
    balance; by default the balanced one here, else the published one.

    A split is `{split}.parquet`, or `{split}-*.parquet` there or in `data/`, as `datasets` writes it to the
    Hub. The files are read themselves: `datasets` would take "a[b]", "a::b" and "json" for something else
    than a folder, and rows from its cache. Raises InputError, with what to do, if the data set cannot be had
    or does not hold text in the expected columns.
    """
    import datasets

    if name is None:
        name = LOCAL_DATA if Path(LOCAL_DATA).exists() else PUBLISHED_DATA
    folder = Path(name)
    data = datasets.DatasetDict()
    if folder.is_file():
        endings, splits = split_stories(folder, topic_of)
        counts = Counter(example.ending for example in splits["train"])
        told = ", ".join(f"{counts[ending]:,} {ending}" for ending in endings) or "with no ending to ask for"
        print(f"{name}: {len(splits['train']):,} stories to train on ({told}), ", end="")
        print(f"{len(splits['validation']):,} about other topics for validation")
        if max(counts.values()) > 2 * min(counts.values()):
            print(f"note: not balanced; prepare_data.py --source {name} makes it so")
        for split, examples in splits.items():
            if examples:
                data[split] = datasets.Dataset(as_table(examples, endings))
        return data, hub.origin(name, folder)
    if not folder.is_dir():
        if not hub.is_name(name):
            raise InputError(
                f"--data {name}: no such folder or file, and not a Hub id; name what prepare_data.py wrote, "
                "or a file of stories"
            )
        try:
            folder = hub.fetch(name, "dataset")
        except InputError as error:
            raise InputError(f"{error}; or make a data set with prepare_data.py") from error
    for split in ("train", "validation"):
        patterns = f"{split}.parquet", f"{split}-*.parquet", f"data/{split}-*.parquet"
        if files := [file for pattern in patterns for file in sorted(folder.glob(pattern))]:
            data[split] = datasets.Dataset(read_parquet(files, COLUMNS, LONGEST, may_be_blank="ending"))
    if "train" not in data:
        raise InputError(f"--data {name}: holds no train.parquet; make a data set with prepare_data.py")
    return data, hub.origin(name, folder)


def topic_of(instruction: str, ending: str) -> str:
    """An instruction is a topic, or a whole prompt for its ending. Raises InputError, with the reason, if it
    is a prompt for another ending, or without a topic."""
    prompt = format_instruction("\0", ending, endings=(ending,))
    before, after = map(str.strip, prompt.split("\0"))
    text = instruction.strip()
    if not before or not text.startswith(before):
        return instruction
    topic = text.removeprefix(before).removesuffix(after)
    if not topic.strip() or not text.endswith(after):
        raise InputError(f"instruction is neither a topic nor a whole prompt for the ending {ending!r}")
    return topic


def as_table(examples: Sequence[Example], endings: Sequence[str]) -> "pa.Table":
    """Rows with COLUMNS, as a prepared data set holds them."""
    import pyarrow as pa

    prompts = [format_instruction(topic, ending, endings=endings) for topic, ending, _ in examples]
    columns = prompts, [example.story for example in examples], [example.ending for example in examples]
    return pa.table(dict(zip(COLUMNS, columns, strict=True)))


def endings_of(data: "datasets.DatasetDict") -> tuple[str, ...]:
    """How the stories of a data set end, sorted; () if it has no endings to ask for. Raises InputError if
    these are too few, too many, or no words, or validation has others than train."""
    found = {split: {*rows.unique("ending")} for split, rows in data.items()}
    try:
        endings = as_endings(found["train"] - {""})
    except InputError as error:
        raise InputError(f"--data: {error}") from error
    for split, others in found.items():
        if unknown := others - {*(endings or ("",))}:
            raise InputError(f"--data: {split} has the ending {min(unknown)!r}, and train has not")
    return endings


def read_topics(rows: "datasets.Dataset", endings: Sequence[str] = ENDINGS) -> list[str]:
    """The topics of a split. Raises InputError where an instruction is no topic's prompt for its ending."""
    prompts = {
        ending: format_instruction("\0", ending, endings=endings).split("\0") for ending in endings or ("",)
    }
    topics = []
    for instruction, ending in zip(rows["instruction"], rows["ending"], strict=True):
        before, after = prompts.get(ending, ("", ""))
        topic = instruction.removeprefix(before).removesuffix(after)
        if not topic.strip() or ending not in prompts or instruction != f"{before}{topic}{after}":
            raise InputError(
                f"--data: instruction {instruction!r:.120} with the ending {ending!r:.20} is no prompt that "
                "dataset.format_instruction makes; prepare the data with prepare_data.py"
            )
        topics.append(topic)
    return topics


def read_examples(rows: "datasets.Dataset", endings: Sequence[str] = ENDINGS) -> list[Example]:
    """The rows of a split. Raises InputError as `read_topics` does."""
    return list(map(Example, read_topics(rows, endings), rows["ending"], rows["response"]))


def fingerprint(rows: "datasets.Dataset") -> str:
    """16 hex digits that change when an instruction or a response does, wherever the rows come from."""
    digest = hashlib.blake2b(digest_size=8)
    for batch in rows.select_columns(["instruction", "response"]).iter(batch_size=10_000):
        for column in ("instruction", "response"):
            digest.update("\0".join(batch[column]).encode() + b"\1")
    return digest.hexdigest()


class InstructionDataset:
    """The examples of a split as token ids, for a torch DataLoader.

    Item i is {"input_ids": 1-D int64, at most `max_length`; "prompt_length": how many of them are the
    instruction; "complete": whether the story was not cut at `max_length`}. The end-of-text token is not
    stored: `custom_collate_fn` adds it.
    """

    def __init__(
        self,
        split: str = "train",
        max_length: int = 512,
        *,
        data: "str | datasets.DatasetDict | None" = None,
        vocab_size: int = VOCAB_SIZE,
        cache_folder: Path = TOKENS_FOLDER,
    ) -> None:
        rows = (load_data(data)[0] if isinstance(data, str | None) else data)[split]
        self.max_length = max_length
        self.fingerprint = fingerprint(rows)
        name = f"{split}-{self.fingerprint}-{vocab_size}-{max_length}.safetensors"
        arrays = _cached(cache_folder / name, lambda: _tokenise(rows, max_length, vocab_size))
        self.tokens = arrays["tokens"]  # (all tokens,) uint16, the examples one after another
        self.starts = arrays["starts"]  # (N + 1,) int64: example i is tokens[starts[i]:starts[i + 1]]
        self.lengths = self.starts[1:] - self.starts[:-1]  # (N,) int64
        self.prompt_lengths = arrays["prompt_lengths"]  # (N,) int64
        self.complete = arrays["complete"]  # (N,) bool

    def __len__(self) -> int:
        return len(self.starts) - 1

    def supervised_tokens(self, loss_on: str = "all") -> "np.ndarray":
        """(N,) int64: how many labels of each example are learnt, as `custom_collate_fn` makes them."""
        prompt = (self.prompt_lengths - 1).clip(min=0) if loss_on == "response" else 0
        return self.lengths - 1 + self.complete - prompt

    def __getitem__(self, i: int) -> dict[str, Any]:
        import torch

        i = range(len(self))[i]  # IndexError past the end, negative numbers from it
        ids = self.tokens[self.starts[i] : self.starts[i + 1]]
        return {
            "input_ids": torch.from_numpy(ids.astype("int64")),
            "prompt_length": int(self.prompt_lengths[i]),
            "complete": bool(self.complete[i]),
        }


def _tokenise(rows: "datasets.Dataset", max_length: int, vocab_size: int) -> dict[str, Any]:
    import numpy as np
    from tqdm import tqdm

    encode = get_tokenizer(vocab_size).encode_ordinary_batch
    threads = os.cpu_count() or 1
    tokens = [np.empty(0, "uint16")]
    lengths: list[int] = []
    prompt_lengths: list[int] = []
    complete: list[bool] = []
    with tqdm(total=len(rows), desc="tokenise", unit=" examples", unit_scale=True) as progress:
        for batch in rows.iter(batch_size=5_000):
            prompts = encode(batch["instruction"], num_threads=threads)
            stories = encode(batch["response"], num_threads=threads)
            for prompt, story in zip(prompts, stories, strict=True):
                ids = (prompt + story)[:max_length]
                tokens.append(np.array(ids, "uint16"))
                lengths.append(len(ids))
                prompt_lengths.append(min(len(prompt), len(ids)))
                complete.append(len(ids) == len(prompt) + len(story))
            progress.update(len(prompts))
    return {
        "tokens": np.concatenate(tokens),
        "starts": np.concatenate([[0], np.cumsum(lengths, dtype="int64")]).astype("int64"),
        "prompt_lengths": np.array(prompt_lengths, "int64"),
        "complete": np.array(complete, "bool"),
    }


def _cached(file: Path, make: Any) -> dict[str, Any]:
    """The arrays in `file`, made and written first if it is not there or damaged."""
    from safetensors import SafetensorError
    from safetensors import numpy as safetensors

    if file.exists():
        with contextlib.suppress(SafetensorError):
            return safetensors.load_file(file)
    arrays = make()
    try:
        with whole_file(file) as path:
            path.write_bytes(safetensors.save(arrays))
    except OSError as error:  # a cache that cannot be written costs time, not the run
        print(f"note: the tokens are not kept for the next start: {error}")
    return arrays


def custom_collate_fn(
    batch: Sequence[dict[str, Any]],
    pad_token_id: int = 50256,
    ignore_index: int = IGNORE_INDEX,
    *,
    loss_on: str = "all",
    multiple: int = 1,
) -> dict[str, Any]:
    """Items of InstructionDataset -> {"input_ids", "labels"}, both (B, T) int64, T the longest of the batch,
    rounded up to a multiple of `multiple`.

    `labels` are the inputs one position on. The end-of-text token (`pad_token_id`) is learnt once after a
    complete story; after a story that was cut, and wherever there is padding, the label is `ignore_index`.
    The mask goes by length, never by value. With `loss_on="response"` the instruction is not learnt either.

    [1, 2, 3] in a batch whose longest has 5 tokens and its end:
        inputs  [1, 2, 3, 50256, 50256]
        labels  [2, 3, 50256, -100, -100]
    """
    import torch

    ids = [item["input_ids"] for item in batch]
    width = -(-max(len(row) for row in ids) // multiple) * multiple
    inputs = torch.full((len(batch), width), pad_token_id, dtype=torch.int64)
    labels = torch.full((len(batch), width), ignore_index, dtype=torch.int64)
    for row, item in enumerate(batch):
        length = len(ids[row])
        inputs[row, :length] = ids[row]
        labels[row, : length - 1] = ids[row][1:]
        if item.get("complete", True):
            labels[row, length - 1] = pad_token_id
        if loss_on == "response":
            labels[row, : max(item["prompt_length"] - 1, 0)] = ignore_index
    return {"input_ids": inputs, "labels": labels}
