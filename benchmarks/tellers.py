"""The same stories from each program: prompts of one length and a number of tokens in, tokens out."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import other_programs
from generate import choose_token
from inference.decoding import stream_tokens
from inference.engine import Engine
from inference.sampling import Sampling
from model import load_model

# Prompts, all of one length, and the number of tokens to tell -> the tokens told of each.
Teller = Callable[[list[list[int]], int, Sampling], Sequence[Sequence[int]]]
NEVER = -1  # the end of text, so that all are as long


def draw(logits: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """(B, V) -> (B, 1), out of the likeliest."""
    values, likeliest = logits.topk(sampling.top_k or 1)
    return likeliest.gather(1, torch.multinomial(torch.softmax(values / sampling.temperature, -1), 1))


def obvious(folder: Path, threads: int) -> Teller:
    """The whole text again for every token."""
    model = other_programs.to_transformers(load_model(folder / "float32"))

    @torch.inference_mode()
    def tell(prompts: list[list[int]], count: int, sampling: Sampling) -> Sequence[Sequence[int]]:
        ids = torch.tensor(prompts)
        for _ in range(count):
            ids = torch.cat([ids, draw(model(ids, use_cache=False).logits[:, -1], sampling)], 1)
        return ids[:, len(prompts[0]) :].tolist()

    return tell


def with_transformers(folder: Path, threads: int) -> Teller:
    model = other_programs.to_transformers(load_model(folder / "float32"))

    def tell(prompts: list[list[int]], count: int, sampling: Sampling) -> Sequence[Sequence[int]]:
        ids = torch.tensor(prompts)
        told = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=count,
            do_sample=True,
            top_k=sampling.top_k,
            temperature=sampling.temperature,
            pad_token_id=0,
        )
        return told[:, ids.shape[1] :].tolist()

    return tell


def with_ctranslate2(folder: Path, threads: int, compute_type: str) -> Teller:
    os.environ.pop("OMP_WAIT_POLICY", None)  # ours
    import ctranslate2

    generator = ctranslate2.Generator(
        str(folder / "ctranslate2"), compute_type=compute_type, inter_threads=1, intra_threads=threads
    )

    def tell(prompts: list[list[int]], count: int, sampling: Sampling) -> Sequence[Sequence[int]]:
        results = generator.generate_batch(
            [[str(token) for token in prompt] for prompt in prompts],
            max_length=count,
            min_length=count,
            sampling_topk=sampling.top_k,
            sampling_temperature=sampling.temperature,
            include_prompt_in_result=False,
        )
        return [result.sequences_ids[0] for result in results]

    return tell


def with_onnxruntime(folder: Path, threads: int, file: str) -> Teller:
    import onnxruntime

    torch.set_num_threads(1)  # it only draws
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(folder / file, options, ["CPUExecutionProvider"])
    caches = [each for each in session.get_inputs() if each.name != "ids"]

    def tell(prompts: list[list[int]], count: int, sampling: Sampling) -> Sequence[Sequence[int]]:
        ids, told = np.array(prompts), []
        held = {
            each.name: np.zeros((len(prompts), each.shape[1], 0, each.shape[3]), np.float32)
            for each in caches
        }
        for _ in range(count):
            logits, *rest = session.run(None, {"ids": ids} | held)
            held = dict(zip(held, rest, strict=True))
            ids = draw(torch.from_numpy(logits), sampling).numpy()
            told.append(ids[:, 0].tolist())
        return list(zip(*told, strict=True))

    return tell


def with_openvino(folder: Path, threads: int, file: str) -> Teller:
    import openvino

    torch.set_num_threads(1)  # it only draws
    how: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    if "int8" not in file:
        how["INFERENCE_PRECISION_HINT"] = "f32"
    request = openvino.Core().compile_model(folder / file, "CPU", how).create_infer_request()

    def tell(prompts: list[list[int]], count: int, sampling: Sampling) -> Sequence[Sequence[int]]:
        request.reset_state()
        ids, told, same = np.array(prompts), [], np.arange(len(prompts))
        for _ in range(count):
            logits = request.infer({"ids": ids, "rows": same})[0]
            ids = draw(torch.from_numpy(logits), sampling).numpy()
            told.append(ids[:, 0].tolist())
        return list(zip(*told, strict=True))

    return tell


def with_llama_cpp(folder: Path, threads: int, file: str) -> Teller:
    import llama_cpp as api

    quiet = api.llama_log_callback(lambda *_: None)
    api.llama_log_set(quiet, None)
    model = api.llama_model_load_from_file(str(folder / file).encode(), api.llama_model_default_params())
    how = api.llama_context_default_params()
    how.n_ctx, how.n_batch, how.n_seq_max = 64 * 512, 2048, 64
    how.n_threads = how.n_threads_batch = threads
    context = api.llama_init_from_model(model, how)
    batch = api.llama_batch_init(2048, 0, 1)

    def read(ids: Sequence[Sequence[int]], start: int) -> list[int]:
        """Each text's next ids, from the position `start` -> the places of the last ones."""
        places: list[int] = []
        for row, text in enumerate(ids):
            for i, token in enumerate(text):
                place = row * len(text) + i
                batch.token[place], batch.pos[place] = token, start + i
                batch.n_seq_id[place], batch.seq_id[place][0] = 1, row
                batch.logits[place] = i == len(text) - 1
            places.append(place)
        batch.n_tokens = len(ids) * len(ids[0])
        if api.llama_decode(context, batch):
            raise RuntimeError("llama_decode failed")
        return places

    def tell(prompts: list[list[int]], count: int, sampling: Sampling) -> Sequence[Sequence[int]]:
        sampler = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
        api.llama_sampler_chain_add(sampler, api.llama_sampler_init_top_k(sampling.top_k or 1))
        api.llama_sampler_chain_add(sampler, api.llama_sampler_init_temp(sampling.temperature))
        api.llama_sampler_chain_add(sampler, api.llama_sampler_init_dist(0))
        api.llama_memory_clear(api.llama_get_memory(context), False)
        places, told = read(prompts, 0), []
        for position in range(len(prompts[0]), len(prompts[0]) + count):
            step = [api.llama_sampler_sample(sampler, context, place) for place in places]
            told.append(step)
            if len(told) < count:
                places = read([[token] for token in step], position)
        api.llama_sampler_free(sampler)
        return list(zip(*told, strict=True))

    return tell


def with_pytorch(folder: Path, threads: int) -> Teller:
    model = load_model(folder / "float32")

    def tell(prompts: list[list[int]], count: int, sampling: Sampling) -> Sequence[Sequence[int]]:
        rows = [torch.tensor(prompt) for prompt in prompts]
        how = replace(sampling, max_new_tokens=count)
        steps = stream_tokens(model, rows, range(len(rows)), how, choose_token, NEVER)
        return torch.stack(list(steps), 1).tolist()

    return tell


def with_engine(folder: Path, threads: int, kind: str) -> Teller:
    engine = Engine.from_file(folder / kind / "model.safetensors", threads)

    def tell(prompts: list[list[int]], count: int, sampling: Sampling) -> Sequence[Sequence[int]]:
        how = replace(sampling, max_new_tokens=count)
        return list(zip(*engine.stream_tokens(prompts, range(len(prompts)), how, NEVER), strict=True))

    return tell


# By name: what makes it of a folder of models and a number of threads.
TELLERS: dict[str, Callable[[Path, int], Teller]] = {
    "obvious loop, float32": obvious,
    "transformers, float32": with_transformers,
    "CTranslate2, float32": lambda folder, threads: with_ctranslate2(folder, threads, "float32"),
    "onnxruntime, float32": lambda folder, threads: with_onnxruntime(folder, threads, "model.onnx"),
    "OpenVINO, float32": lambda folder, threads: with_openvino(folder, threads, "openvino.xml"),
    "llama.cpp, float32": lambda folder, threads: with_llama_cpp(folder, threads, "float32.gguf"),
    "PyTorch, float32": with_pytorch,
    "engine, float32": lambda folder, threads: with_engine(folder, threads, "float32"),
    "CTranslate2, int8": lambda folder, threads: with_ctranslate2(folder, threads, "int8"),
    "onnxruntime, int8": lambda folder, threads: with_onnxruntime(folder, threads, "model-int8.onnx"),
    "OpenVINO, int8": lambda folder, threads: with_openvino(folder, threads, "openvino-int8.xml"),
    "llama.cpp, Q8_0": lambda folder, threads: with_llama_cpp(folder, threads, "q8_0.gguf"),
    "engine, int8": lambda folder, threads: with_engine(folder, threads, "int8"),
}
