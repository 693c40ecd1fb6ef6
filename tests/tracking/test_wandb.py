import socket

import pytest
import wandb

from diffusion_lit.tracking.wandb import ImagesWandbLogger, upload
from tracking.synthetic import make_run


# wandb and what it imports warn about themselves and leave their service's pipes to the garbage collector.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning:pydantic.*")
def test_offline_writes_files_under_the_identity_and_never_leaves_the_machine(tmp_path, monkeypatch):
    reached = []
    connect = socket.socket.connect

    def watched(self, address):
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            reached.append(address)
            raise OSError("no network in this test")
        return connect(self, address)

    for variable in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(socket.socket, "connect", watched)
    for variable in ("WANDB_DIR", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))

    run = tmp_path / "runs" / "demo"
    logger = ImagesWandbLogger(run, "3f2a9c81b0", "mnist", batch_size=128, tags=["a"], config={"seed": 0})
    logger.log_metrics({"train/loss": 1.0}, step=2)
    logger.log_metrics({"fd": 2.0, "images_seen": 512.0})
    logger.log_metrics({"train/loss": 0.5, "images_seen": 640.0})  # W&B closes a step when the next one begins
    experiment = logger.experiment
    assert (experiment.id, experiment.group, experiment.job_type) == ("3f2a9c81b0", "mnist", "train")
    assert (experiment.tags, experiment.config["seed"]) == (("a",), 0)
    assert experiment.step == 640
    assert dict(experiment.summary).items() >= {"train/loss": 1.0, "fd": 2.0, "images_seen": 512}.items()
    wandb.finish()
    assert list(run.glob("wandb/offline-run-*/run-3f2a9c81b0.wandb"))

    made = make_run(tmp_path / "runs" / "made")
    assert upload(made, offline=True) == 105
    assert list(made.glob("wandb/offline-run-*/*.wandb"))
    assert reached == []
