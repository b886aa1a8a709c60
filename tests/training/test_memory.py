import pytest
import torch

from training.memory import is_out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_what_torch_raises_where_memory_ends_is_known(error: BaseException) -> None:
    assert is_out_of_memory(error)


def test_a_cpu_without_memory_is_known_and_other_errors_are_not() -> None:
    with pytest.raises(RuntimeError) as too_much:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(too_much.value)
    with pytest.raises(RuntimeError) as unfit:
        torch.ones(2, 3) @ torch.ones(2, 3)
    assert not is_out_of_memory(unfit.value)
