"""One linear layer in every way that we found: what inference/cpu.py and common/int8.py chose from.

    uv run --group layers python -m benchmarks.linear_layers          # a minute on two cores

30m's output layer and the first one of a feed-forward, for one row (a story) and for 16. Before each call as
much other memory is read as pushes the weight out of the caches, as a model's other layers do. Medians, in
turn.
"""

import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.cli import parse, run, setting
from common.device import choose_compute
from common.int8 import Int8Linear
from inference.cpu import OutputLayer, onednn_linear, pack

Layer = Callable[[Tensor], object]
SHAPES = {"output layer": (384, 50257), "feed-forward": (384, 1536)}


@dataclass(frozen=True)
class Settings:
    rounds: int = setting(30, "turns of each way", at_least=1)


def float32_ways(linear: nn.Linear) -> dict[str, Layer]:
    transposed = linear.weight.t().contiguous()
    packed = pack(linear)
    ways: dict[str, Layer] = {
        "float32, torch's linear (MKL)": linear,
        "float32, weight stored as (in, out)": lambda x: torch.addmm(linear.bias, x, transposed),
        "float32, oneDNN": lambda x: onednn_linear(x, linear.weight, linear.bias),
        "float32, oneDNN, packed": lambda x: onednn_linear(x, *packed),
    }
    output = OutputLayer(linear)
    ways["float32, the 50 largest alone"] = lambda x: output.largest(x[:1], 50)
    return ways


def int8_ways(linear: nn.Linear) -> dict[str, Layer]:
    small = Int8Linear(linear)
    rough, scale = small.weight, small.scale
    half = scale.bfloat16()
    return {
        "int8, ours (_int_mm)": small,
        "int8, written out in float32": lambda x: F.linear(x, small.dequantized(), linear.bias),
        "int8, torch's dynamic linear": torchs_dynamic(linear),
        "int8 weight only, float32": lambda x: torch._weight_int8pack_mm(x, rough, scale) + linear.bias,
        "int8 weight only, bfloat16": lambda x: torch._weight_int8pack_mm(x.bfloat16(), rough, half),
        "int8, torchao": torchaos(linear),
        "int8, onnxruntime": onnxruntimes(small),
    }


def torchs_dynamic(linear: nn.Linear) -> Layer:
    """Deprecated; one scale for all rows of the input, so a story would depend on those beside it."""
    scale = linear.weight.abs().amax(1).double() / 127
    whole = torch.quantize_per_channel(
        linear.weight, scale, torch.zeros(len(scale), dtype=torch.int64), 0, torch.qint8
    )
    packed = torch.ops.quantized.linear_prepack(whole, linear.bias)
    return lambda x: torch.ops.quantized.linear_dynamic(x, packed, False)


def torchaos(linear: nn.Linear) -> Layer:
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    theirs = nn.Sequential(nn.Linear(linear.in_features, linear.out_features))
    theirs[0].load_state_dict(linear.state_dict())
    quantize_(theirs, Int8DynamicActivationInt8WeightConfig())
    return theirs


def onnxruntimes(small: Int8Linear) -> Layer:
    """MatMulInteger behind DynamicQuantizeLinear, as its own quantizer writes it; one scale for all rows."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    constants = {"weight": small.weight.t().contiguous(), "scale": small.scale, "bias": small.bias}
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["whole", "step", "zero"]),
        helper.make_node("MatMulInteger", ["whole", "weight", "zero"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["step", "scale"], ["scales"]),
        helper.make_node("Mul", ["floats", "scales"], ["scaled"]),
        helper.make_node("Add", ["scaled", "bias"], ["y"]),
    ]
    N, K = small.weight.shape
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, K])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, N])],
        [numpy_helper.from_array(value.numpy(), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return lambda x: session.run(None, {"x": x.numpy()})


@torch.inference_mode()
def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    choose_compute("cpu")
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    other = torch.randn(32 * 2**20)  # 128 MB
    cases = [(shape, rows) for shape in SHAPES for rows in (1, 16)]
    milliseconds: dict[str, list[float]] = {}
    for shape, rows in cases:
        linear = nn.Linear(*SHAPES[shape])
        ways = float32_ways(linear) | int8_ways(linear)
        x = torch.randn(rows, linear.in_features)
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(settings.rounds + 1):
            for name, way in ways.items():
                other.sum()
                started = time.perf_counter()
                way(x)
                times[name].append((time.perf_counter() - started) * 1e3)
        for name, taken in times.items():
            milliseconds.setdefault(name, []).append(statistics.median(taken[1:]))
    print(f"{'milliseconds':36}" + "".join(f"{f'{shape}, {rows}':>18}" for shape, rows in cases))
    for name, row in milliseconds.items():
        print(f"{name:36}" + "".join(f"{time:18.3f}" for time in row))


if __name__ == "__main__":
    run(main)
