"""A budgeted fake accelerator that really computes (on the CPU): device-placement tests without a GPU.

`fakegpu:0` is torch's PrivateUse1 device. A tensor on it is a wrapper around a CPU tensor; a dispatch mode runs every op
on the wrapped tensors and counts bytes per storage. Over the budget it raises torch.OutOfMemoryError; mixing devices
raises like CUDA does. Unmodified accelerate / diffusers hooks run on it (model, sequential and group offload,
ComponentsManager, LoRA loading, fp8 layerwise casting); outputs match plain CPU to about 1e-6.

    from tests.bench import fakegpu; fakegpu.install(budget=8_000_000)  # BEFORE diffusers, which caches the accelerator
    pipe.enable_model_cpu_offload(device="fakegpu")
    fakegpu.LEDGER.used / .peak / .h2d / .d2h

Limits: private torch hook (`_setup_privateuseone_for_python_backend`, torch >= 2.10), no streams, no pinned memory, no
autograd through it, SDPA takes the math path (attention matrices are counted, so peaks overstate real attention).
Process-wide: run such tests in their own process.
"""

import types
import weakref

import torch
from torch.nn.utils.stateless import _reparametrize_module
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

NAME = "fakegpu"


class Ledger:
    def __init__(self):
        self.budget = self.capacity = 1 << 62  # what is said to be there, and where it really ends
        self.used = self.peak = self.h2d = self.d2h = self.n_h2d = self.n_d2h = 0

    def reset_peak(self):
        self.peak = self.used
        self.h2d = self.d2h = self.n_h2d = self.n_d2h = 0


LEDGER = Ledger()


class Block:
    """one device allocation, shared by every wrapper that views the same CPU storage"""

    __slots__ = ("__weakref__", "n")

    def __init__(self, n):
        self.n = 0
        if LEDGER.used + n > LEDGER.capacity:
            raise torch.OutOfMemoryError(
                f"{NAME} out of memory. Tried to allocate {n} bytes; {LEDGER.used} of {LEDGER.capacity} in use"
            )
        self.n = n
        LEDGER.used += n
        LEDGER.peak = max(LEDGER.peak, LEDGER.used)

    def __del__(self):
        LEDGER.used -= self.n


_blocks = weakref.WeakValueDictionary()


def _block(raw):
    s = raw.untyped_storage()
    key = s.data_ptr() or id(s)
    b = _blocks.get(key)
    if b is None:
        b = _blocks[key] = Block(s.nbytes())
    return b


class FakeGpuTensor(torch.Tensor):
    @staticmethod
    def __new__(cls, raw, requires_grad=False):
        if isinstance(raw, FakeGpuTensor):
            raw = raw.raw
        if raw.device.type == "meta":  # accelerate rebuilds an offloaded parameter as type(old)(meta tensor)
            return torch.nn.Parameter(raw, requires_grad=requires_grad)
        r = torch.Tensor._make_wrapper_subclass(
            cls,
            raw.shape,
            strides=raw.stride(),
            storage_offset=raw.storage_offset(),
            dtype=raw.dtype,
            device=torch.device(NAME, 0),
            requires_grad=False,
        )
        r.raw, r.block = raw, _block(raw)
        return r

    def __init__(self, raw, requires_grad=False):
        pass

    def __repr__(self):
        return f"FakeGpu({self.raw})"

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types_, args=(), kwargs=None):
        return _dispatch(func, args, kwargs or {})


def _is_fake(d):
    return d is not None and torch.device(d).type == NAME


def _dispatch(func, args, kwargs):  # noqa: C901  # one table of cases, as torch hands them over
    dev, wrappers = kwargs.get("device"), []

    def unwrap(x):
        if isinstance(x, FakeGpuTensor):
            wrappers.append(x)
            return x.raw
        return x

    a, k = tree_map(unwrap, args), dict(tree_map(unwrap, kwargs))
    if func is torch.ops.aten._to_copy.default:
        src = isinstance(args[0], FakeGpuTensor)
        dst = _is_fake(dev) if dev is not None else src
        if not src and not dst:
            return func(*a, **k)
        if dst:
            k["device"] = torch.device("cpu")  # _to_copy always copies: a fresh block
        k.pop("pin_memory", None)
        k.pop("non_blocking", None)
        out = func(a[0], **k)
        n = out.numel() * out.element_size()
        if dst and not src:
            LEDGER.h2d += n
            LEDGER.n_h2d += 1
        if src and not dst and out.device.type == "cpu":
            LEDGER.d2h += n
            LEDGER.n_d2h += 1
        return FakeGpuTensor(out) if dst else out
    if func is torch.ops.aten.copy_.default:
        a[0].copy_(a[1])
        s, d, n = isinstance(args[1], FakeGpuTensor), isinstance(args[0], FakeGpuTensor), a[0].nbytes
        LEDGER.h2d += n if d and not s else 0
        LEDGER.d2h += n if s and not d else 0
        return args[0]
    if func is torch.ops.aten._local_scalar_dense.default:
        return func(*a, **k)
    if wrappers:
        for x in tree_leaves((args, kwargs)):
            if isinstance(x, torch.Tensor) and not isinstance(x, FakeGpuTensor) and x.dim() > 0:
                raise RuntimeError(
                    f"Expected all tensors to be on the same device, but found {NAME}:0 and cpu! ({func})"
                )
    on_fake = bool(wrappers) or _is_fake(dev)
    if dev is not None:
        on_fake = _is_fake(dev)
        if on_fake:
            k["device"] = torch.device("cpu")
    out = func(*a, **k)
    if not on_fake:
        return out
    same = {id(w.raw): w for w in wrappers}  # in-place ops give their own wrapper back

    def wrap(x):
        if isinstance(x, torch.Tensor) and not isinstance(x, FakeGpuTensor):
            return same.get(id(x)) if id(x) in same else FakeGpuTensor(x)
        return x

    return tree_map(wrap, out)


class FakeGpuMode(TorchDispatchMode):
    def __torch_dispatch__(self, func, types_, args=(), kwargs=None):
        return _dispatch(func, args, kwargs or {})


def _kernels():
    """ops C++ issues below the Python keys (list indexing, torch.tensor(..., device=))"""
    lib = torch.library.Library("aten", "IMPL")

    def copy_from(src, dst, non_blocking=False):
        (dst.raw if isinstance(dst, FakeGpuTensor) else dst).copy_(src.raw if isinstance(src, FakeGpuTensor) else src)
        return dst

    lib.impl(
        "empty_strided",
        lambda size, stride, dtype=None, layout=None, device=None, pin_memory=None: FakeGpuTensor(
            torch.empty_strided(size, stride, dtype=dtype)
        ),
        "PrivateUse1",
    )
    lib.impl(
        "empty.memory_format",
        lambda size, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None: FakeGpuTensor(
            torch.empty(size, dtype=dtype)
        ),
        "PrivateUse1",
    )
    lib.impl("_copy_from", copy_from, "PrivateUse1")
    lib.impl("_local_scalar_dense", lambda t: t.raw.item(), "PrivateUse1")
    return lib


def _patch_data():
    """let `p.data = t` move a parameter between cpu and the fake device, as between cpu and cuda"""
    base = torch.Tensor.data

    def get(self):
        return FakeGpuTensor(self.raw) if isinstance(self, FakeGpuTensor) else base.__get__(self)

    def put(self, value):
        a, b = isinstance(self, FakeGpuTensor), isinstance(value, FakeGpuTensor)
        if a and b and self.shape == value.shape and self.dtype == value.dtype:
            self.raw, self.block = value.raw, value.block
        elif a or b:
            v = value.detach()
            torch.utils.swap_tensors(
                self,
                torch.nn.Parameter(v, requires_grad=self.requires_grad)
                if isinstance(self, torch.nn.Parameter) or getattr(self, "_is_param", False)
                else v,
            )
        else:
            base.__set__(self, value)

    torch.Tensor.data = property(get, put)


def at_once(*kinds):
    """Have modules of these classes compute in one go on what their tensors wrap: what they work with meanwhile is not
    counted, what moves between them is. It is twenty times as fast."""

    def wrapped(forward):
        def quick(self, *args, **kwargs):
            held = {name: x.raw for name, x in _named(self) if isinstance(x, FakeGpuTensor)}
            if not held:
                return forward(self, *args, **kwargs)
            with _disable_current_modes(), _reparametrize_module(self, held):
                out = forward(self, *_raw(args), **_raw(kwargs))
            return tree_map(lambda x: FakeGpuTensor(x) if isinstance(x, torch.Tensor) else x, out)

        return quick

    for kind in kinds:
        kind.forward = wrapped(kind.forward)


def _named(module):
    return [*module.named_parameters(), *module.named_buffers()]


def _raw(given):
    return tree_map(lambda x: x.raw if isinstance(x, FakeGpuTensor) else x, given)


_keep = []


def install(budget=None):
    if _keep:
        LEDGER.budget = budget or LEDGER.budget
        return
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    m = types.ModuleType("torch." + NAME)
    m.is_available, m.is_initialized, m._is_in_bad_fork = (lambda: True), (lambda: True), (lambda: False)
    m.device_count, m.current_device, m.set_device = (lambda: 1), (lambda: 0), (lambda d: None)
    m.manual_seed_all = m.manual_seed = lambda s: None
    m.mem_get_info = lambda d=None: (LEDGER.budget - LEDGER.used, LEDGER.budget)
    m.memory_allocated = lambda d=None: LEDGER.used
    m.max_memory_allocated = lambda d=None: LEDGER.peak
    m.reset_peak_memory_stats = lambda d=None: LEDGER.reset_peak()
    m.empty_cache, m.synchronize = (lambda: None), (lambda d=None: None)
    _setup_privateuseone_for_python_backend(NAME, backend_module=m)
    torch.__future__.set_swap_module_params_on_conversion(True)  # keep parameter identity across .to()
    LEDGER.budget = budget or LEDGER.budget
    mode = FakeGpuMode()
    _keep.extend([_kernels(), mode])
    _patch_data()
    mode.__enter__()
