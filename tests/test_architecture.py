"""The rules of the house, as tests."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = [ROOT / "app.py", *sorted(path for folder in ("studio", "pipelines") for path in (ROOT / folder).rglob("*.py"))]
LAYERS = [  # each may import from those before it, and from itself
    {"errors"}, {"registry"}, {"knobs"}, {"request"}, {"method", "types", "events", "estimate", "prompts", "styles"}, {"parts", "pictures", "device", "likeness", "distances", "watermark"},
    {"shelf", "subjects"}, {"cutouts", "collages"}, {"shuttle", "stripes", "notes"}, {"resident"}, {"work"}, {"rooms"}, {"memory"}, {"models"}, {"localizing"}, {"adapters", "stock", "plans", "workshop", "exchange", "previews"}, {"energies", "attention_maps", "between", "vocabulary"}, {"samplers", "schedules", "guidance", "accelerators"}, {"painting", "frames", "inversion", "likelihood"}, {"terrain", "verifiers"}, {"searches"}, {"searching"}, {"tiles"}, {"evidence"}, {"needs"}, {"masks", "seams", "gestures"}, {"sheets", "motion"}, {"repainting", "warping"}, {"centring", "grounds", "features", "pulling", "tracking"}, {"beginnings"}, {"mosaic"}, {"upscalers", "personalizers"}, {"study", "pupil", "verdict", "notices"}, {"lessons", "material"}, {"coining", "echoing", "identity", "sparing"}, {"dragging", "likening"}, {"course"}, {"tasks", "grids"},
    {"library", "warming", "training", "calibration", "job", "recipes", "origin", "credentials"}, {"line"}, {"runner", "exports", "replay", "verify", "comparison"}, {"__main__"},
]  # fmt: skip
BANNED = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "handler"}
TREE = {"app.py", "studio", "pipelines", "assets", "tests", "requirements.txt", "README.md", "pyproject.toml", "LICENSE", "CONTRIBUTING.md", "CHANGELOG.md", ".gitignore", ".ci"}  # fmt: skip


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path, at_import_time: bool = False) -> set[str]:
    """Modules a file imports; with `at_import_time`, only those outside functions and TYPE_CHECKING."""
    found: set[str] = set()
    nodes = tree(path).body if at_import_time else list(ast.walk(tree(path)))
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def layer(module: str) -> int:
    name = module.split(".")[1] if "." in module else module
    return next((i for i, names in enumerate(LAYERS) if name in names), -1)


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_keep_their_size(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 40, node.name


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_what_it_is_and_its_public_names_too(path: Path) -> None:
    module = tree(path)
    if module.body:
        assert ast.get_docstring(module), "the module has no docstring"
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


@pytest.mark.parametrize(
    "path",
    [path for path in CODE if path.is_relative_to(ROOT / "pipelines")],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_imports_point_one_way(path: Path) -> None:
    assert not any(name.split(".")[0] in {"gradio", "studio", "app", "fastapi", "starlette"} for name in imported(path))
    own = layer("pipelines." + path.relative_to(ROOT / "pipelines").parts[0].removesuffix(".py"))
    for name in imported(path, at_import_time=True):
        if name.startswith("pipelines."):
            assert layer(name) >= 0, f"{name} has no layer"
            assert layer(name) <= own or own < 0, f"{path.name} imports {name}"


@pytest.mark.parametrize(
    "path",
    [path for path in CODE if path.is_relative_to(ROOT / "studio")],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_the_page_knows_no_torch(path: Path) -> None:
    assert not any(name.split(".")[0] in {"torch", "diffusers", "transformers", "peft"} for name in imported(path))


def test_what_the_page_reads_leaves_torch_alone() -> None:
    reads = "import pipelines.tasks, pipelines.runner, pipelines.library, pipelines.models, pipelines.warming, pipelines.__main__, sys"
    check = f"{reads}; assert not {{'torch', 'diffusers', 'transformers', 'gradio'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT)


def test_no_name_is_banned() -> None:
    for path in CODE:
        assert not BANNED & set(re.split(r"[_/]", str(path.relative_to(ROOT).with_suffix("")))), path
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                assert not re.search(r"(Manager|Handler|Helper|Utils?)$", node.name), node.name
            if isinstance(node, ast.FunctionDef):
                assert not re.match(r"(process_|do_)|.*_v\d$", node.name), node.name


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_that_can_run_what_it_reads(path: Path) -> None:
    """No pickle, no eval, no shell, no remote code, no unchecked TLS."""
    assert not {"pickle", "dill", "cloudpickle", "shelve", "marshal"} & {name.split(".")[0] for name in imported(path)}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in {"eval", "exec", "torch.load", "os.system", "joblib.load"}, (
                ast.unparse(node)
            )
            for word in node.keywords:
                danger = {"shell": True, "trust_remote_code": True, "verify": False, "allow_pickle": True}
                value = word.value.value if isinstance(word.value, ast.Constant) else None
                assert word.arg not in danger or value is not danger[word.arg], ast.unparse(node)


def test_devices_are_named_in_one_file() -> None:
    for path in (
        path
        for path in CODE
        if path.is_relative_to(ROOT / "pipelines")
        and "training" not in path.parts
        and path.name not in {"memory.py", "device.py"}
    ):
        assert not re.search(
            r"\.(cuda|cpu)\(\)|\.to\(\"|empty_cache|enable_\w*_offload|from_pipe|fuse_lora",
            path.read_text(encoding="utf-8"),
        ), path


def test_the_root_holds_what_the_design_says() -> None:
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=True).stdout.split(
        "\n"
    )
    assert {name.split("/")[0] for name in listed if name} <= TREE


def test_no_large_file_and_no_pickle_is_in_the_tree() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout.split("\0")
    files = [ROOT / name for name in listed if name and (ROOT / name).exists()]
    assert not [path for path in files if path.stat().st_size > 16 * 2**20]
    assert not [path for path in files if path.suffix in {".bin", ".ckpt", ".pt", ".pth", ".pkl"}]
    assert sum(path.stat().st_size for path in files if (ROOT / "assets") in path.parents) <= 96 * 2**20
    assert sum(path.stat().st_size for path in files if (ROOT / "assets" / "pocket") in path.parents) <= 48 * 2**20


@pytest.mark.parametrize(
    "table",
    ["samplers", "schedules", "guidance", "energies", "accelerators", "searches", "verifiers", "personalizers", "upscalers", "tasks"],
)  # fmt: skip
def test_the_readme_lists_every_entry_of_every_registry(table: str) -> None:
    from pipelines.__main__ import listed

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for entry in listed()[table]:
        assert f"| `{entry['name']}` | {entry['summary']} |" in readme, (
            f"README.md lacks a row: | `{entry['name']}` | {entry['summary']} |"
        )


@pytest.mark.parametrize("table", ["samplers", "schedules", "guidance", "accelerators"])
def test_every_method_cites_its_source_and_declares_what_its_tests_need(table: str) -> None:
    from pipelines.accelerators import accelerators
    from pipelines.guidance import guidances
    from pipelines.samplers import samplers
    from pipelines.schedules import schedules

    registry = {"samplers": samplers, "schedules": schedules, "guidance": guidances, "accelerators": accelerators}[
        table
    ]
    for name, method in registry.items():
        assert re.search(r"\b(arXiv:|doi:)", method.__doc__ or "") or name == "own", name
        assert hasattr(method, {"samplers": "order", "schedules": "summary"}.get(table, "off")), name
        assert all(field.description for field in method.model_fields.values()), name
