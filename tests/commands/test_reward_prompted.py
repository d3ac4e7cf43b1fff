"""`robot-learning reward train | evaluate` with a vision-language model on a server, and with one here."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from robot_learning.commands.main import main
from tests.rewards.stub_server import Reply, Stub, said, stub
from tests.training import drawer_world
from tests.training.drawer_world import CLOSED, LENGTH, OPEN, OPENED


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawer_world.collect(tmp_path_factory.mktemp("data") / "drawer", episodes=4)


def see_the_drawer(recorded: Path) -> Any:
    """Replies of somebody who knows how the open drawer differs from the closed one, in the mean picture of each."""
    from robot_learning.data import Dataset

    images = Dataset(recorded).images("observation.images.front", np.arange(4 * LENGTH)).astype(float)
    opened = np.arange(4 * LENGTH) % LENGTH >= OPENED
    means = images[opened].mean(axis=0), images[~opened].mean(axis=0)

    def reply(payload: dict[str, Any]) -> Reply:
        picture, text = payload["messages"][0]["content"]
        data = base64.b64decode(picture["image_url"]["url"].split(",")[1])
        seen = np.asarray(Image.open(io.BytesIO(data))).astype(float)
        far = [float(((seen - mean) ** 2).mean()) for mean in means]
        yes = 0.8 if (far[0] < far[1]) == ("open" in text["text"]) else 0.3
        return said("yes", {"yes": yes, "no": 0.95 - yes})

    return reply


@pytest.fixture
def server(recorded: Path) -> Iterator[Stub]:
    with stub(see_the_drawer(recorded)) as there:
        yield there


def arguments(recorded: Path, model: Path, *more: str) -> list[str]:
    ask = ["--ask", "open_drawer", "close_drawer"]
    return ["reward", "train", "--dataset", str(recorded), "--output", str(model), *ask, "--folds", "2", *more]


def test_train_then_evaluate_on_a_server(
    recorded: Path, server: Stub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "reward"
    flags = ["--backend", "openai", "--model", "any-vlm", "--server.url", server.url, "--server.picture", "png"]
    assert main(arguments(recorded, model, *flags)) == 0
    assert CLOSED in capsys.readouterr().out
    assert {payload["model"] for payload in server.seen} == {"any-vlm"}
    assert main(["reward", "evaluate", str(model), "--dataset", str(recorded), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["questions"][OPEN]["yes"], result["questions"][OPEN]["auc"]) == (12, 1.0)
    assert (model / "evaluation.html").is_file()
    assert "any-vlm" in (model / "README.md").read_text()


def test_a_spent_budget_ends_the_training_with_a_word(
    recorded: Path, server: Stub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--backend", "openai", "--model", "any-vlm", "--server.url", server.url, "--server.budget", "5"]
    assert main(arguments(recorded, tmp_path / "reward", *flags)) == 2
    assert "--server.budget" in capsys.readouterr().err
    assert not (tmp_path / "reward").exists()


def test_a_prompted_backend_needs_a_model(recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(recorded, tmp_path / "reward", "--backend", "openai")) == 2
    assert "--model" in capsys.readouterr().err


def test_train_with_lora_then_evaluate_here(recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("peft")
    from tests.rewards.tiny_vlm import make_tiny_vlm

    tiny, model = make_tiny_vlm(tmp_path / "tiny"), tmp_path / "reward"
    flags = ["--backend", "transformers", "--model", str(tiny), "--lora.rank", "4", "--lora.steps", "3"]
    assert main(arguments(recorded, model, *flags, "--vlm.device", "cpu")) == 0
    assert "rank 4, 12 frames" in (model / "README.md").read_text()
    capsys.readouterr()
    assert main(["reward", "evaluate", str(model), "--dataset", str(recorded), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["questions"][OPEN]["yes"] == 12


def test_train_without_lora_calibrates_only(recorded: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from tests.rewards.tiny_vlm import make_tiny_vlm

    tiny, model = make_tiny_vlm(tmp_path / "tiny"), tmp_path / "reward"
    flags = ["--backend", "transformers", "--model", str(tiny), "--vlm.device", "cpu", "--stride", "2"]
    assert main(arguments(recorded, model, *flags)) == 0
    assert sorted(path.name for path in model.iterdir()) == ["README.md", "config.json"]
