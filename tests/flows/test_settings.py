"""The settings file, the retries and prefect.yaml: what is read from text before anything runs."""

import re
from pathlib import Path

import pytest
import yaml

from flows.cli.main import app
from flows.refresh import refresh_flow
from flows.retries import can_pass_again
from flows.settings import cluster_settings
from pipeline.cluster_settings import HERE, ClusterSettings
from storage_schema.errors import ConflictError, ContractError, InputError, StoreError, UnreachableError

SLURM = """
[cluster]
class = "dask_jobqueue.SLURMCluster"
maximum = 64
gpu_streams = ["neural"]

[cluster.arguments]
cores = 1
memory = "4GB"
"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "timbrel.toml"
        path.write_text(text)
        return cluster_settings(None, str(path))

    return read


def test_cluster_table_names_any_class_with_its_arguments(read, tmp_path):
    assert cluster_settings() is HERE
    settings = read(SLURM)
    assert settings == ClusterSettings(
        class_name="dask_jobqueue.SLURMCluster",
        arguments={"cores": 1, "memory": "4GB"},
        maximum=64,
        gpu_streams=("neural",),
    )
    assert (settings.resource_of("neural"), settings.resource_of("pitch")) == ("GPU", None)
    named = cluster_settings("tcp://10.0.0.1:8786", str(tmp_path / "timbrel.toml"))
    assert named == ClusterSettings(scheduler="tcp://10.0.0.1:8786", gpu_streams=("neural",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[cluster", r"timbrel\.toml are not TOML"),
        ("", r"cannot be followed: cluster: Field required"),
        ("[cluster]\n", r"name either a scheduler or a class"),
        ('[cluster]\nscheduler = "tcp://a:1"\nclass = "x.Y"\n', r"name either a scheduler or a class"),
        ('[cluster]\nclass = "x.Y"\n', r"say how many workers: workers = N, or maximum = N"),
        ('[cluster]\nclass = "x.Y"\nmaximum = 2\nminimum = 3\n', r"minimum is 3, above maximum, 2"),
        ('[cluster]\nscheduler = "tcp://a:1"\nworkrs = 2\n', r"cluster\.workrs: Extra inputs are not permitted"),
        (
            '[cluster]\nscheduler = "tcp://a:1"\ngpu_streams = ["smell"]\n',
            r"gpu_streams names smell; choose from",
        ),
    ],
)
def test_settings_that_cannot_be_followed_are_one_sentence(read, text, said):
    with pytest.raises(InputError, match=said):
        read(text)


def test_settings_that_are_not_there_are_one_sentence():
    with pytest.raises(InputError, match=r"the settings /nowhere\.toml cannot be read: No such file"):
        cluster_settings(None, "/nowhere.toml")


class Failed:
    """What Prefect hands to a retry condition."""

    def __init__(self, error):
        self.error = error

    def result(self):
        raise self.error


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ConflictError("somebody else was faster"), True),
        (UnreachableError("the scheduler went away"), True),
        (InputError("no such stream"), False),
        (StoreError("the disk is full"), False),
        (ContractError("a bug"), False),
        (ValueError("a bug"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_only_what_may_pass_a_second_time_is_tried_again(error, passes):
    assert can_pass_again(None, None, Failed(error)) is passes


def test_prefect_yaml_names_the_flow_and_its_parameters_and_lets_no_two_runs_overlap():
    root = Path(__file__).parents[2]
    (deployment,) = yaml.safe_load((root / "prefect.yaml").read_text())["deployments"]
    file, _, name = deployment["entrypoint"].partition(":")
    assert (root / file).exists()
    assert name == "refresh_flow"
    refresh_flow.validate_parameters(deployment["parameters"])
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}


def test_form_of_refresh_describes_and_bounds_every_parameter():
    schema = refresh_flow.parameters.model_dump()
    described = schema["properties"]
    assert set(schema["required"]) == {"store", "root"}
    assert [name for name, field in described.items() if not field.get("description")] == []
    assert "esc50" in str(schema)
    with pytest.raises(Exception, match="workers"):
        refresh_flow.validate_parameters({"store": "s", "root": "r", "workers": 0})


def test_help_of_serve_and_refresh_has_an_example():
    helps = {command.name: command.callback.__doc__ for command in app.registered_commands}
    for name in ("serve", "refresh"):
        assert re.search(rf"Example: timbrel {name} .*--store .*--root ", helps[name])
