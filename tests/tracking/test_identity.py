import hashlib
import json

import pytest

from diffusion_lit.tracking.identity import differences, run_identity

CONFIG = {"task_name": "demo", "seed": 0, "model": {"width": 32, "levels": [1, 2]}, "data": {"name": "mnist5k"}}


def test_is_the_hash_of_the_leaves_in_canonical_order():
    leaves = {
        "data.name": '"mnist5k"',
        "model.levels": "[1,2]",
        "model.width": "32",
        "seed": "0",
        "task_name": '"demo"',
    }
    text = json.dumps(leaves, separators=(",", ":"))
    assert run_identity(CONFIG) == hashlib.sha256(text.encode()).hexdigest()[:10]


def test_does_not_depend_on_the_order_of_keys():
    assert run_identity(dict(reversed(CONFIG.items()))) == run_identity(CONFIG)


@pytest.mark.parametrize(
    "irrelevant",
    [
        {"paths": {"run": "/elsewhere"}},
        {"logger": {"wandb": {"offline": False}}},
        {"resume": "auto"},
        {"trainer": {"devices": 4, "strategy": "ddp", "enable_progress_bar": False}},
        {"data": {"name": "mnist5k", "num_workers": 8, "root": "/elsewhere"}},
    ],
)
def test_ignores_what_does_not_change_the_result(irrelevant):
    assert run_identity(CONFIG | irrelevant) == run_identity(CONFIG)


@pytest.mark.parametrize(
    "relevant", [{"seed": 1}, {"model": {"width": 64, "levels": [1, 2]}}, {"trainer": {"precision": "bf16-mixed"}}]
)
def test_changes_with_what_does(relevant):
    assert run_identity(CONFIG | relevant) != run_identity(CONFIG)


def test_differences_name_both_values():
    other = {**CONFIG, "seed": 1, "max_images": 10, "resume": "auto"}
    assert differences(CONFIG, other) == {"max_images": (None, "10"), "seed": ("0", "1")}
