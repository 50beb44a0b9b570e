"""What this machine has: cores, installed runtimes, instructions and GPUs."""

from __future__ import annotations

import ctypes
import importlib.util
import math
import os
from pathlib import Path

from service.control_groups import cpu_quota
from service.encoding.session.choice import Device, Machine, Runtime, Wish

_CPU_INFO = Path("/proc/cpuinfo")
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "avx_ne_convert"}
_INT8_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8"}


def look(wish: Wish) -> Machine:
    """What is here, as far as `wish` needs it; a runtime that it excludes is never imported."""
    cuda = wish.device is not Device.CPU and wish.runtime is not Runtime.OPENVINO and _has_cuda()
    runtimes = {
        runtime
        for runtime in (Runtime.ONNXRUNTIME, Runtime.OPENVINO)
        if importlib.util.find_spec(runtime)
    }
    if cuda and wish.runtime is Runtime.TENSORRT and _has_tensorrt():
        runtimes.add(Runtime.TENSORRT)
    capabilities = set()
    asked = wish.runtime in (None, Runtime.OPENVINO) and wish.device is not Device.CUDA
    if asked and Runtime.OPENVINO in runtimes:
        from service.encoding.session.on_openvino import cpu_capabilities

        capabilities = cpu_capabilities()
    return Machine(
        runtimes=frozenset(runtimes),
        # The runtime says it can where it only emulates; the processor's flags are stricter.
        bfloat16="BF16" in capabilities and _has_flag(_BFLOAT16_FLAGS),
        int8="INT8" in capabilities and _has_flag(_INT8_FLAGS),
        cuda=cuda,
    )


def available_cores() -> int:
    """How many cores this process may run on: those it is bound to, or fewer by its quota.

    A part of a core counts only where it is all there is: threads beyond a quota spin while others
    are held back.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.floor(min(bound or 1, cpu_quota())))


def _has_flag(flags: set[str]) -> bool:
    """Whether the processor has one of `flags`; True where it does not tell, as off Linux/x86."""
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return True
    fields = (line.partition(":") for line in lines)
    told = next((set(what.split()) for name, _, what in fields if name.strip() == "flags"), set())
    return not told or bool(told & flags)


def _has_cuda() -> bool:
    """Whether the driver counts a GPU and ONNX Runtime is built for it.

    The driver is asked first: it answers in no time that there is none, and importing the runtime
    takes long.
    """
    if not _gpu_count() or not importlib.util.find_spec("onnxruntime"):
        return False
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def _gpu_count() -> int:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def _has_tensorrt() -> bool:
    import onnxruntime

    if "TensorrtExecutionProvider" not in onnxruntime.get_available_providers():
        return False
    try:
        ctypes.CDLL("libnvinfer.so.10")
    except OSError:
        return False
    return True
