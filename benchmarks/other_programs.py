"""The same model in other programs: our weights as transformers' GPT-2 and as CTranslate2's decoder."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from exporting.fold import folded
from exporting.transformers_folder import describe
from model import GPT2, split_heads


def to_transformers(model: GPT2) -> transformers.GPT2LMHeadModel:
    """In eval mode; no token ends its texts."""
    config = describe(model.config) | dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**config)).eval()
    theirs.load_state_dict({name: torch.from_numpy(weight) for name, weight in folded(model).items()})
    return theirs


def to_ctranslate2(model: GPT2, folder: Path) -> None:
    """Written to `folder`, in float32. Its tokens are called by their ids: "0", "1" ..."""
    from ctranslate2.specs import common_spec, transformer_spec

    c = model.config
    spec = transformer_spec.TransformerDecoderModelSpec.from_config(
        c.num_layers, c.num_heads, pre_norm=True, activation=common_spec.Activation.GELU
    )

    def norm(theirs: Any, ours: Any) -> None:
        theirs.gamma, theirs.beta = ours.weight.detach().numpy(), ours.bias.detach().numpy()

    def linear(theirs: Any, ours: Any) -> None:
        theirs.weight, theirs.bias = ours.weight.detach().numpy(), ours.bias.detach().numpy()

    decoder = spec.decoder
    decoder.scale_embeddings = False
    decoder.embeddings.weight = model.embeddings.token_embedding.weight.detach().numpy()
    decoder.position_encodings.encodings = model.embeddings.pos_embedding.weight.detach().numpy()
    blocks: Any = model.blocks
    for layer, block in zip(decoder.layer, blocks, strict=True):
        norm(layer.self_attention.layer_norm, block.layer_norm1)
        linear(layer.self_attention.linear[0], block.mha.qkv)
        linear(layer.self_attention.linear[1], block.mha.out_proj)
        norm(layer.ffn.layer_norm, block.layer_norm2)
        linear(layer.ffn.linear_0, block.feed_forward.layers[0])
        linear(layer.ffn.linear_1, block.feed_forward.layers[2])
    norm(decoder.layer_norm, model.layer_norm)
    linear(decoder.projection, model.output_layer)
    spec.register_vocabulary([str(token) for token in range(c.vocab_size)])
    spec.config.bos_token = spec.config.unk_token = "0"
    spec.config.eos_token = str(c.vocab_size - 1)
    spec.validate()
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))


class Step(torch.nn.Module):
    """A decode step as ONNX and OpenVINO take it: ids (B, T) and for each layer keys and values of the tokens
    before, (B, H, S, D) -> logits of the last token (B, V), and keys and values with the new ones. `rows`
    (B,) reorders those before, which makes OpenVINO keep them in place."""

    def __init__(self, model: GPT2) -> None:
        super().__init__()
        self.model = model.requires_grad_(False)

    def forward(
        self, ids: torch.Tensor, rows: torch.Tensor | None, held: list[torch.Tensor]
    ) -> list[torch.Tensor]:
        model, now = self.model, []
        before, T = held[0].shape[2], ids.shape[1]
        places = torch.arange(before + T)
        mask = places <= places[before:, None]  # (T, S)
        x = model.embeddings(ids, places[before:])
        blocks: Any = model.blocks
        for layer, block in enumerate(blocks):
            q, k, v = split_heads(block.mha.qkv(block.layer_norm1(x)), model.config.num_heads)
            old = held[2 * layer : 2 * layer + 2]
            if rows is not None:
                old = [each.index_select(0, rows) for each in old]
            k, v = torch.cat([old[0], k], 2), torch.cat([old[1], v], 2)
            now += [k, v]
            attended = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask)
            x = x + block.mha.out_proj(attended.transpose(1, 2).flatten(2))
            x = x + block.feed_forward(block.layer_norm2(x))
        return [model.output_layer(model.layer_norm(x[:, -1])), *now]


def example(model: GPT2) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Of a step's inputs."""
    c = model.config
    shape = 2, c.num_heads, 7, c.embedding_dim // c.num_heads
    held = [torch.zeros(shape) for _ in range(2 * c.num_layers)]
    return torch.zeros(2, 3, dtype=torch.int64), torch.arange(2), held


def to_onnx(model: GPT2, file: Path) -> None:
    """In float32, and beside it, as name-int8.onnx, with weights and activations that are rounded to int8 in
    each product."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    ids, _, held = example(model)
    names = [f"held{i}" for i in range(len(held))]
    torch.onnx.export(
        Step(model),
        (ids, None, held),
        file,
        dynamo=False,
        input_names=["ids", *names],
        output_names=["logits", *(f"now{i}" for i in range(len(held)))],
        dynamic_axes={"ids": {0: "B", 1: "T"}} | {name: {0: "B", 2: "S"} for name in names},
    )
    small = file.with_name(f"{file.stem}-int8.onnx")
    quantize_dynamic(file, small, weight_type=QuantType.QInt8, per_channel=True)


def to_openvino(model: GPT2, file: Path) -> None:
    """In float32, and beside it, as name-int8.xml, with weights in int8; it rounds activations by itself."""
    import nncf
    import openvino
    from openvino import opset13 as ops
    from openvino._offline_transformations import apply_make_stateful_transformation

    ids, rows, held = example(model)
    made = openvino.convert_model(Step(model), example_input=(ids, rows, held))
    for place, each in enumerate(made.inputs):
        each.get_tensor().set_names({"ids" if place == 0 else "rows" if place == 1 else f"held{place - 2}"})
    for place, each in enumerate(made.outputs):
        each.get_tensor().set_names({"logits" if place == 0 else f"now{place - 1}"})
    for each in made.inputs[2:]:
        each.get_node().set_partial_shape(openvino.PartialShape([-1, held[0].shape[1], -1, held[0].shape[3]]))
    apply_make_stateful_transformation(made, {f"held{i}": f"now{i}" for i in range(len(held))})
    batch = ops.gather(ops.shape_of(made.input("ids")), ops.constant([0]), ops.constant(0))
    sizes = [ops.constant([size]) for size in (held[0].shape[1], 0, held[0].shape[3])]
    nothing = ops.broadcast(ops.constant(np.float32(0)), ops.concat([batch, *sizes], 0))
    for each in made.get_ops():
        if each.get_type_name() == "ReadValue":
            each.set_arguments([nothing.output(0)])
    made.validate_nodes_and_infer_types()
    openvino.save_model(made, file, compress_to_fp16=False)
    small = nncf.compress_weights(made, mode=nncf.CompressWeightsMode.INT8_SYM)
    openvino.save_model(small, file.with_name(f"{file.stem}-int8.xml"), compress_to_fp16=False)
