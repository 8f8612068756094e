"""The folders depend on each other in one direction, and no module imports itself through others."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

TRAINING = Path(__file__).parent
# A folder imports from itself and from the folders before it. Tests and testbed/ may import from every folder.
FOLDERS = ["data", "models", "conversion", "bundle", "fitting", "quality"]


def module_name(path: Path) -> str:
    parts = path.relative_to(TRAINING).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    module_name(path): path
    for path in TRAINING.rglob("*.py")
    if path.parent != TRAINING and "mutants" not in path.parts
}


def imported(path: Path) -> set[str]:
    """The modules of training/ that a file imports, also inside functions and `if TYPE_CHECKING`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & MODULES.keys()


def test_no_module_imports_itself_through_others() -> None:
    graph = {name: imported(path) - {name} for name, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_imports_from_the_folders_before_it_only(folder: str) -> None:
    later = {*FOLDERS[FOLDERS.index(folder) + 1 :], "testbed"}
    for path in (TRAINING / folder).rglob("*.py"):
        if not path.name.startswith(("test_", "conftest")):
            wrong = {name for name in imported(path) if name.partition(".")[0] in later}
            assert not wrong, f"{path.relative_to(TRAINING)} imports {', '.join(sorted(wrong))}"


def test_a_folder_runs_no_code_when_it_is_imported() -> None:
    """An import in `__init__.py` would be a circle that the check above does not see."""
    assert [path for path in MODULES.values() if path.name == "__init__.py" and path.read_text()] == []
