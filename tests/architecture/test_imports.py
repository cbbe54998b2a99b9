"""What may be imported where (Import Linter), and what a command may cost before it does anything."""

import subprocess
import sys

import pytest
from importlinter.cli import lint_imports


def test_import_rules_of_the_design_are_kept(capsys):
    assert lint_imports(no_logo=True) == 0, capsys.readouterr().out


def modules_after(code):
    """The top-level modules that a fresh interpreter has loaded after running `code`."""
    show = "print(*{m.partition('.')[0] for m in sys.modules}, file=sys.stderr)"
    script = f"import sys\ntry:\n  {code}\nexcept SystemExit: pass\n{show}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "code",
    [
        "sys.argv = ['timbrel', '--help']; from flows.cli.main import main; main()",
        "from pipeline.plan import plan_extraction; from features.registry import STREAMS, spec_for; "
        "names = [name for name, kind in STREAMS.items() if not kind.needs_model]; "
        "assert len(names) >= 5; [spec_for(name) for name in names]",
        "import storage_schema, training",
        "import training.exported",
    ],
)
def test_help_and_planning_load_no_heavy_library(code):
    loaded = modules_after(code)
    assert "sys" in loaded
    assert not loaded & {"torch", "essentia", "librosa", "prefect", "distributed", "sklearn", "lightning_fabric"}


def test_help_loads_no_store_either():
    loaded = modules_after("sys.argv = ['timbrel', '--help']; from flows.cli.main import main; main()")
    assert "flows" in loaded
    assert not loaded & {"zarr", "polars", "deltalake", "pyarrow", "pydantic"}
