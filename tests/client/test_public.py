import subprocess
import sys
from importlib.resources import files

import penstock
from penstock.errors import ANSWERS, FAILURES, below

import errors as farm

HEAVY = {"asyncio", "httpx", "rich", "numpy", "settings", "errors"}
LIGHT = f"import sys, penstock.cli; print(sorted({HEAVY} & set(sys.modules)))"


def test_public_names_are_these_and_no_others() -> None:
    assert sorted(penstock.__all__) == penstock.__all__
    tree = {cls.__name__ for cls in below(penstock.PenstockError)}
    others = {
        "AsyncPenstock",
        "DeadLetter",
        "Delivery",
        "DeliveryAttempt",
        "Fault",
        "FormerError",
        "Job",
        "JobEvent",
        "JobMetrics",
        "MapProgress",
        "Model",
        "ModelQueue",
        "ModelVersion",
        "Penstock",
        "PushedRow",
        "Pusher",
        "QueuePlace",
        "Queues",
        "Replay",
        "ReplayPlan",
        "RowError",
        "Scoring",
        "ScoringEstimate",
        "ScoringFile",
        "ScoringRows",
        "StepMetrics",
        "StoredObject",
        "Submission",
        "Tensor",
        "WebhookEndpoint",
        "push",
    }
    assert set(penstock.__all__) == tree | others | {"__version__"}
    assert all(hasattr(penstock, name) for name in penstock.__all__)


def test_every_problem_code_of_the_farm_has_a_class_here() -> None:
    def leaves(cls: type[farm.PenstockError]) -> set[str]:
        children = cls.__subclasses__()
        return set().union(*map(leaves, children)) if children else {cls.code}

    # No client is answered with what stops a process, or a webhook.
    codes = leaves(farm.PenstockError) - leaves(farm.OperatorError) - leaves(farm.DeliveryError)
    assert codes - set(ANSWERS) == set()
    assert leaves(farm.JobFailure) | {"invalid_input"} <= set(FAILURES)
    assert {ANSWERS[code].status for code in ("queue_full", "not_ready", "unknown_model")} == {429, 409, 404}


def test_the_error_tree_in_the_docstring_names_every_class() -> None:
    doc = penstock.errors.__doc__ or ""
    assert [cls.__name__ for cls in below(penstock.PenstockError) if cls.__name__ not in doc] == []


def test_starting_the_command_loads_neither_http_nor_tables_nor_the_farm() -> None:
    loaded = subprocess.run([sys.executable, "-c", LIGHT], check=True, capture_output=True, text=True).stdout
    assert loaded.strip() == "[]"


def test_the_package_says_that_it_is_typed() -> None:
    assert files("penstock").joinpath("py.typed").is_file()
